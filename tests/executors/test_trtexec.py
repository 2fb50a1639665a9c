# SPDX-License-Identifier: Apache-2.0
"""The trtexec executor, against a script that writes what trtexec 10 and 11 write; and for real."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from doubles.samples import SHAPES, Sample, sample
from forked import DOUBLES
from plan_cases import case, check_outputs

from aotfactory.api.bake import bake
from aotfactory.core.errors import CheckError, MissingError, UsageError
from aotfactory.core.recipe import Tolerance
from aotfactory.executors import compare as comparison
from aotfactory.executors.inputs import Array
from aotfactory.executors.trtexec import output
from aotfactory.executors.trtexec.command import TrtexecOptions, TrtexecResult, cut_outputs, find_trtexec, run_trtexec
from aotfactory.plan.options import PlanOptions
from aotfactory.plan.plan_file import PlanFile

VERSIONS = [101303, 110000, 110400]


def compare(result: TrtexecResult, references: dict[str, Array], tolerance: Tolerance | None = None) -> list[str]:
    wrong = {n: comparison.mismatch(result.outputs[n], r, tolerance or Tolerance()) for n, r in references.items()}
    return [text for text in wrong.values() if text]


@pytest.fixture
def fake(tmp_path):
    """Makes a trtexec that gives these outputs."""

    def make(item: Sample, inputs, outputs, version=110400, **spec) -> Path:
        tensors = {t.name: t for t in item.bundle.network.tensors}
        files = {}
        for name, array in outputs.items():
            files[name] = str(tmp_path / f"fake-{name}.npy")
            np.save(files[name], array)
        content = {
            "version": version,
            "inputs": [{"name": n, "dtype": tensors[n].dtype, "shape": list(a.shape)} for n, a in inputs.items()],
            "outputs": [{"name": n, "dtype": tensors[n].dtype, "file": f} for n, f in files.items()],
            **spec,
        }
        (tmp_path / "spec.json").write_text(json.dumps(content))
        program = tmp_path / "trtexec"
        command = shlex.join([*DOUBLES.command("doubles.fake_trtexec"), f"{tmp_path}/spec.json"])
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
        return program

    return make


@pytest.fixture
def plan(tmp_path) -> Path:
    path = tmp_path / "it.plan"
    path.write_bytes(b"plan")
    return path


def run(plan, item, inputs, program, **options):
    extra = {k: options.pop(k) for k in ("references", "tolerance", "version", "log") if k in options}
    return run_trtexec(
        plan, item.bundle.network, inputs=inputs, options=TrtexecOptions(program=program, **options), **extra
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["elementwise_add", "circ_pad_dynamic", "inplace_add", "non_zero"])
def test_outputs_are_exact(fake, plan, name, version):
    item, inputs, references = case(name, "max" if "dynamic" in name else "opt")
    spec = {"dds": "indices"} if name == "non_zero" else {}
    program = fake(item, inputs, references, version, **spec)
    result = run(plan, item, inputs, program, version=(version // 10000, version // 100 % 100))
    assert result.verdict.passed
    assert result.verdict.version == (version // 10000, version // 100 % 100, version % 100)
    # What depends on data is not whole in trtexec's raw files.
    missing = {"indices"} if name == "non_zero" else set()
    assert references.keys() - result.outputs.keys() == missing
    references = {n: r for n, r in references.items() if n not in missing}
    assert compare(result, references) == []
    first = next(iter(references))
    wrong = {**references, first: references[first] + np.ones((), references[first].dtype)}
    assert "elements differ" in compare(result, wrong)[0]
    shapes = [a for a in result.command if a.startswith("--shapes=")]
    assert shapes == (["--shapes=x:8x3x64x65"] if "dynamic" in name else [])


def test_performance_and_exports(fake, plan):
    item, inputs, references = case("circ_pad")
    result = run(plan, item, inputs, fake(item, inputs, references), profile=True, iterations=7, warmup=50)
    performance = result.performance
    assert performance.throughput == 4012.5
    assert (performance.latency.min, performance.latency.percentiles[99]) == (1.0, 3.3)
    assert (performance.gpu_compute.median, performance.d2h.max) == (8.0, 17.5)
    assert (performance.host_walltime, performance.total_gpu_compute) == (3.001, 2.9)
    assert result.times[0]["computeMs"] == 0.25
    assert result.layers[0]["name"] == "circ_pad"
    assert {"--iterations=7", "--warmUp=50", "--dumpProfile"} <= set(result.command)
    assert "=== Performance summary ===" in result.log.read_text()
    assert result.log == plan.with_name("it.trtexec.log")


def test_trtexec_11_compares_too(fake, plan):
    item, inputs, references = case("elementwise_add")
    tolerance = Tolerance(atol=1e-3)
    program = fake(item, inputs, references)
    result = run(plan, item, inputs, program, references=references, tolerance=tolerance)
    assert result.compared
    wrong = {"y": references["y"] + np.float32(0.5)}
    with pytest.raises(CheckError, match=r"trtexec failed: Accuracy validation FAILED"):
        run(plan, item, inputs, program, references=wrong, tolerance=tolerance)
    old = run(plan, item, inputs, fake(item, inputs, references, 101303), references=wrong, version=(10, 13))
    assert not old.compared


@pytest.mark.parametrize("version", VERSIONS)
def test_in_place_plans_run_once_and_are_not_compared_by_trtexec(fake, plan, version):
    item, inputs, references = case("inplace_add")
    program = fake(item, inputs, references, version, compute="inplace_add", in_place=True)
    options = {"version": (version // 10000, version // 100 % 100), "iterations": 100}
    result = run(plan, item, inputs, program, references=references, tolerance=Tolerance(atol=1), **options)
    assert {"--duration=0", "--warmUp=0"} <= set(result.command)
    assert compare(result, references, Tolerance(atol=1e-5)) == []
    assert not result.compared


def test_trtexec_11_0_has_no_comparison(fake, plan):
    item, inputs, references = case("elementwise_add")
    program = fake(item, inputs, references, 110000)
    result = run(plan, item, inputs, program, references=references, tolerance=Tolerance(), version=(11, 0))
    assert compare(result, references) == []
    assert not result.compared


def test_inputs_arrive(fake, plan):
    item, inputs, references = case("elementwise_add")
    program = fake(item, inputs, references, add_to_first=5)
    result = run(plan, item, inputs, program)
    np.testing.assert_array_equal(result.outputs["y"], inputs["x"] + 5)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("crash", "trtexec died of signal 11"),
        ("silent", "ended without a verdict"),
        ("unreadable", r"cannot read it.plan: Engine deserialization failed"),
        ("failed", "trtexec failed: Error occurred during inference"),
        ("no summary", "passed without a performance summary"),
        ("half a summary", "performance summary is incomplete"),
    ],
)
def test_faults_become_one_error_with_the_log_kept(fake, plan, fault, message):
    item, inputs, references = case("circ_pad")
    with pytest.raises(CheckError, match=message):
        run(plan, item, inputs, fake(item, inputs, references, fault=fault))
    assert plan.with_name("it.trtexec.log").is_file()


def test_time_limit(fake, plan):
    item, inputs, references = case("circ_pad")
    with pytest.raises(CheckError, match=r"did not finish in 3 s"):
        run(plan, item, inputs, fake(item, inputs, references, fault="hang"), timeout=3)
    assert "&&&& RUNNING TensorRT.trtexec" in plan.with_name("it.trtexec.log").read_text()


def test_unknown_option(fake, plan):
    item, inputs, references = case("circ_pad")
    with pytest.raises(CheckError, match="Unknown option: --noSuch"):
        run(plan, item, inputs, fake(item, inputs, references), extra=["--noSuch"])


def test_input_of_another_type_is_refused_before_the_call(fake, plan):
    """trtexec takes a float32 file for a float16 input: it has twice the bytes, which it allows, and misreads."""
    item, inputs, references = case("circ_pad")
    program = fake(item, inputs, references)
    wide = {"x": inputs["x"].astype(np.float64)}
    with pytest.raises(UsageError, match="input x is float64, the tensor float32"):
        run(plan, item, wide, program)
    with pytest.raises(UsageError, match="no input for x"):
        run(plan, item, {}, program)
    assert not plan.with_name("it.trtexec.log").exists()


def test_names_that_trtexec_cannot_take(fake, plan):
    item, inputs, references = case("circ_pad")
    network = item.bundle.network
    tensors = tuple(dataclasses.replace(t, name="a:0") if t.name == "x" else t for t in network.tensors)
    with pytest.raises(MissingError, match="cannot be told of a tensor called 'a:0'"):
        run_trtexec(
            plan,
            dataclasses.replace(network, tensors=tensors),
            inputs={"a:0": inputs["x"]},
            options=TrtexecOptions(program=fake(item, inputs, references)),
        )


def test_raw_files_that_do_not_fit(fake, plan):
    item, inputs, references = case("circ_pad")
    with pytest.raises(CheckError, match=r"raw file y\.output\.34\.34\.FP32\.raw"):
        run(plan, item, inputs, fake(item, inputs, {"y": references["y"][0, 0]}))
    with pytest.raises(CheckError, match="wrote 0 raw files of output y"):
        run(plan, item, inputs, fake(item, inputs, {"x": inputs["x"]}))


# --- finding it ------------------------------------------------------------------------------------------------------


def test_trtexec_is_found(monkeypatch, tmp_path):
    monkeypatch.delenv("TENSORRT_ROOT", raising=False)
    monkeypatch.setattr("aotfactory.executors.trtexec.command.ROOTS", (str(tmp_path / "packages"),))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    with pytest.raises(MissingError, match="trtexec is not on this machine"):
        find_trtexec()
    for place in ("packages/bin", "path", "root/bin"):
        program = tmp_path / place / "trtexec"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        if place == "root/bin":
            monkeypatch.setenv("TENSORRT_ROOT", str(tmp_path / "root"))
        assert find_trtexec() == program
    assert find_trtexec(tmp_path / "path" / "trtexec") == tmp_path / "path" / "trtexec"
    with pytest.raises(MissingError, match="is not an executable"):
        find_trtexec(tmp_path)


# --- what it writes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "[07/01/2025-13:08:53] [I] "])
def test_summary_of_10_x_with_fewer_percentiles(prefix):
    lines = [
        "=== Performance summary ===",
        "Throughput: 6.02e+03 qps",
        "Latency: min = 0.16 ms, max = 0.31 ms, mean = 0.17 ms, median = 0.17 ms, percentile(99%) = 0.2 ms",
        "Enqueue Time: min = 0.02 ms, max = 0.1 ms, mean = 0.03 ms, median = 0.03 ms",
        "GPU Compute Time: min = 0.1 ms, max = 0.2 ms, mean = 0.12 ms, median = 0.12 ms",
        "Total Host Walltime: 3.0 s",
        "Total GPU Compute Time: 1.9 s",
    ]
    found = output.performance("\n".join(prefix + line for line in lines))
    assert (found.throughput, found.latency.percentiles, found.h2d) == (6020.0, {99.0: 0.2}, None)


def test_no_summary():
    assert output.performance("&&&& PASSED TensorRT.trtexec [TensorRT v110400] [b106] # trtexec") is None


def test_statistics_that_cannot_be_read():
    text = "=== Performance summary ===\nLatency: min = x ms, median = 3 ms"
    with pytest.raises(CheckError, match="cannot be read"):
        output.performance(text)


@pytest.mark.parametrize("content", ["[", "{}", "[1]", "[]"])
def test_exports_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "times.json"
    path.write_text(content)
    with pytest.raises(CheckError, match="trtexec's export is not"):
        output.exported_times(path)


def test_bf16_outputs_have_their_type(fake, plan):
    item, inputs, _ = case("circ_pad")
    tensors = tuple(
        dataclasses.replace(t, dtype="bf16") if t.role == "output" else t for t in item.bundle.network.tensors
    )
    network = dataclasses.replace(item.bundle.network, tensors=tensors)
    item = dataclasses.replace(item, bundle=dataclasses.replace(item.bundle, network=network))
    y = np.arange(3468, dtype=np.float32).reshape(1, 3, 34, 34).astype(ml_dtypes.bfloat16)
    result = run(plan, item, inputs, fake(item, inputs, {"y": y}))
    assert result.outputs["y"].dtype == ml_dtypes.bfloat16
    assert compare(result, {"y": y}) == []


# --- for real --------------------------------------------------------------------------------------------------------


@pytest.mark.tensorrt
@pytest.mark.gpu
@pytest.mark.parametrize("point", ["min", "opt", "max"])
@pytest.mark.parametrize("name", SHAPES)
def test_plans_run_in_trtexec(name, point, tmp_path):
    _, inputs, references = case(name, point)
    portable = sample(name, portable=True)
    plan = PlanFile.read(bake(portable.path, options=PlanOptions(), out=tmp_path).path)
    outputs = plan.in_trtexec(TrtexecOptions(iterations=10, duration=0), inputs=inputs, references=references).outputs
    check_outputs(outputs, {n: r for n, r in references.items() if n not in cut_outputs(plan.network)})
