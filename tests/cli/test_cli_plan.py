# SPDX-License-Identifier: Apache-2.0
"""The commands that make and run a plan, with doubles in place of TensorRT, trtexec and the runner."""

from __future__ import annotations

import json
import shutil

import ml_dtypes
import numpy as np
import onnx
import pytest
from commands import Run
from doubles import plan_programs
from doubles.runtime import full_tensorrt
from doubles.samples import SM_90, sample
from plan_cases import chain_model

from aotfactory.core import cuda
from aotfactory.core.errors import UsageError
from aotfactory.executors.inputs import make_input
from aotfactory.executors.npy import load_npy
from aotfactory.executors.trtexec.command import TrtexecResult
from aotfactory.executors.trtexec.output import Verdict
from aotfactory.executors.trtexec.report import trtexec_report
from aotfactory.plan import builder
from aotfactory.plan.plan_file import PlanFile
from aotfactory.plugins import tensorrt_api


@pytest.fixture(autouse=True)
def _a_machine_with_everything(request, monkeypatch):
    if request.node.get_closest_marker("tensorrt"):
        return  # it is one
    full = full_tensorrt()
    monkeypatch.setattr(tensorrt_api, "require_builder", lambda: full)
    monkeypatch.setattr(tensorrt_api, "load", lambda: full)
    monkeypatch.setattr(cuda, "cuda_device_count", lambda: 1)
    monkeypatch.setattr(builder, "native_arch", lambda: SM_90)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    def make(name: str, **options):
        made = plan_programs.make(name, tmp_path, **options)
        monkeypatch.setenv("AOTFACTORY_RUNNER", str(made.runner))
        return made

    return make


# --- baking ----------------------------------------------------------------------------------------------------------


QUICK = ("--check-time", "0.1")
"""What the kernels compute is not the question here."""


class TestBake:
    @pytest.fixture
    def model(self, tmp_path, monkeypatch):
        """circ_pad twice after another node, so that the bundle does not know the model's input."""
        monkeypatch.chdir(tmp_path)
        return chain_model(tmp_path / "model.onnx", ["N", 3, "H", "W"], first=True)

    def test_build_passes_shapes_and_model_on(self, run: Run, model):
        command = ["build", "model.onnx", "--arch", "sm_90", "--engine", "tensorrt", "--format", "json", *QUICK]
        done = run(*command, "--shape", "2x3x8x8")
        assert done.code == 0, done.err
        assert json.loads(done.out)["engine"]["kind"] == "plan"
        record = json.loads(model.with_name("engines").joinpath("model.plan.json").read_text())
        assert record["inputs"] == {"x": {p: [2, 3, 8, 8] for p in ("min", "opt", "max")}}
        assert record["model"]["path"] == "model.onnx"
        assert record["options"]["mode"] == "onnx"

    def test_bake_takes_shapes(self, run: Run, model):
        assert run("compile", "model.onnx", "--arch", "sm_90", *QUICK, "--shape", "x=2x3x8x8").code == 0
        done = run("bake", "engines/model.aot")
        assert done.code == 2
        assert "dimension 0 is open, and the bundle does not say what it is\n  hint: give --shape x=" in done.err
        done = run("bake", "engines/model.aot", "--shape", "z=1x2")
        assert (done.code, "has no input 'z'" in done.err) == (2, True)
        done = run("bake", "engines/model.aot", "--shape", "2x3x8x8", "--format", "json")
        assert (done.code, json.loads(done.out)["inputs"]["x"]["max"]) == (0, [2, 3, 8, 8])

    def test_bake_takes_the_profile_of_an_input_that_no_plugin_reads(self, run: Run, model):
        graph = onnx.load(model)
        z, w = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["B", 4]) for n in "zw")
        graph.graph.input.append(z)
        graph.graph.output.append(w)
        graph.graph.node.append(onnx.helper.make_node("Relu", ["z"], ["w"]))
        onnx.save(graph, model)
        shapes = ["--shape", "x=2x3x8x8", "--shape", "z=2x4"]
        assert run("compile", "model.onnx", "--arch", "sm_90", *QUICK, *shapes).code == 0
        profile = ["--min-shape", "z=1x4", "--opt-shape", "z=2x4", "--max-shape", "z=3x4"]
        done = run("bake", "engines/model.aot", "--shape", "x=2x3x8x8", *profile, "--format", "json")
        assert json.loads(done.out)["inputs"]["z"] == {"min": [1, 4], "opt": [2, 4], "max": [3, 4]}

    def test_a_model_that_moved(self, run: Run, model):
        assert run("compile", "model.onnx", "--arch", "sm_90", *QUICK, "--shape", "2x3x8x8").code == 0
        model.rename(model.with_name("moved.onnx"))
        done = run("bake", "engines/model.aot", "--shape", "2x3x8x8")
        assert done.code == 2
        assert "cannot read model.onnx: No such file" in done.err
        assert "hint: say where the model is: --model PATH" in done.err
        assert run("bake", "engines/model.aot", "--shape", "2x3x8x8", "--model", "moved.onnx").code == 0

    def test_shapes_are_for_models(self, run: Run, tmp_path):
        shutil.copytree(sample("circ_pad").path, tmp_path / "circ_pad.aot")
        done = run("bake", str(tmp_path / "circ_pad.aot"), "--shape", "1x3x32x32")
        assert (done.code, "--shape is for ONNX models" in done.err) == (2, True)


# --- validate --------------------------------------------------------------------------------------------------------


class TestValidate:
    def test_a_right_plan(self, run: Run, programs):
        made = programs("circ_pad")
        done = run("validate", str(made.plan), "--trtexec", str(made.trtexec), "--format", "json")
        assert done.code == 0, done.err
        report = json.loads(done.out)
        assert (report["schema"], report["path"]) == ("aotfactory.validate/1", str(made.plan))
        assert {c["name"]: c["status"] for c in report["checks"]} == {
            "trtexec": "passed",
            "runner": "passed",
            "python-free": "passed",
        }
        assert report["checks"] == made.record["checks"]

    def test_a_wrong_plan(self, run: Run, programs):
        made = programs("circ_pad")
        made.set(made.runner, spoil="nan")
        done = run("validate", str(made.plan), "--executor", "runner", "--lean")
        assert done.code == 1
        assert "runner circ_pad.plan: FAILED\n" in done.out
        assert "trtexec" not in done.out
        assert all("--lean" in call["arguments"] for call in made.calls)

    def test_tensorrt_root(self, run: Run, programs, tmp_path):
        made = programs("circ_pad")
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "trtexec").symlink_to(made.trtexec)
        done = run("validate", str(made.plan), "--executor", "trtexec", "--tensorrt-root", str(tmp_path))
        assert (done.code, "trtexec circ_pad.plan: ok\n" in done.out) == (0, True)


# --- run -------------------------------------------------------------------------------------------------------------


class TestRun:
    def test_runner(self, run: Run, programs, tmp_path):
        made = programs("circ_pad_dynamic")
        x = np.arange(3 * 9 * 9, dtype=np.float32).reshape(1, 3, 9, 9)
        np.save(tmp_path / "x.npy", x)
        out = tmp_path / "out"
        done = run("run", str(made.plan), "--input", f"x={tmp_path / 'x.npy'}", "--output-dir", str(out))
        assert done.code == 0, done.err
        assert done.out == "  y: float32 1x3x11x11\n"
        np.testing.assert_array_equal(np.load(out / "y.npy"), np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "wrap"))
        assert [path.name for path in out.iterdir()] == ["y.npy"]

    def test_random_data_of_a_shape(self, run: Run, programs):
        made = programs("circ_pad_dynamic")
        done = run("run", str(made.plan), "--shape", "1x3x9x10", "--seed", "7", "--lean", "--format", "json")
        report = json.loads(done.out)
        assert (report["schema"], report["outputs"][0]["shape"]) == ("aotfactory.run/1", [1, 3, 11, 12])
        assert "file" not in report["outputs"][0]  # it is gone
        (call,) = made.calls
        assert {"--seed", "7", "--shape", "x=1x3x9x10", "--lean"} <= set(call["arguments"])

    def test_a_failed_check(self, run: Run, programs):
        made = programs("circ_pad")
        made.set(made.runner, checks=[{"name": "guard", "subject": "y", "status": "failed", "detail": "8 bytes"}])
        done = run("run", str(made.plan))
        assert (done.code, "failed guard of y: 8 bytes" in done.out) == (1, True)

    def test_trtexec(self, run: Run, programs, tmp_path):
        made = programs("circ_pad_dynamic")
        out = tmp_path / "out"
        command = ["run", str(made.plan), "--executor", "trtexec", "--trtexec", str(made.trtexec), "--seed", "3"]
        done = run(*command, "--shape", "x=1x3x9x10", "--output-dir", str(out), "--format", "json")
        assert done.code == 0, done.err
        report = json.loads(done.out)
        assert (report["schema"], report["status"], report["version"]) == ("aotfactory.trtexec/1", "passed", "11.4.0")
        (y,) = report["outputs"]
        assert (y["name"], y["dtype"], y["shape"], y["file"]) == ("y", "fp32", [1, 3, 11, 12], str(out / "y.npy"))
        assert report["performance"]["throughput"] == 4012.5
        x = make_input("x", "fp32", (1, 3, 9, 10), seed=3)
        np.testing.assert_array_equal(np.load(y["file"]), np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "wrap"))
        assert "y: float32 2x3x34x34" in run(*command).out  # the profile's opt

    def test_an_input_file_for_trtexec(self, run: Run, programs, tmp_path):
        made = programs("circ_pad")
        command = ["run", str(made.plan), "--executor", "trtexec", "--trtexec", str(made.trtexec), "--input"]
        np.save(tmp_path / "x.npy", np.zeros((1, 3, 32, 32), np.float32))
        assert run(*command, f"x={tmp_path / 'x.npy'}").code == 0
        np.save(tmp_path / "x.npy", np.zeros((1, 3, 32, 32)))
        done = run(*command, f"x={tmp_path / 'x.npy'}")
        assert (done.code, "of NumPy type '<f8', the input is fp32" in done.err) == (2, True)
        np.save(tmp_path / "x.npy", np.zeros((2, 3, 32, 32), np.float32))  # twice the bytes: trtexec would take them
        done = run(*command, f"x={tmp_path / 'x.npy'}")
        assert (done.code, "input x is 2x3x32x32, the tensor 1x3x32x32" in done.err) == (2, True)
        done = run(*command, "z=z.npy")
        assert (done.code, "has no input 'z'\n  hint: its inputs: x" in done.err) == (2, True)
        done = run(*command, "x=nowhere.npy")
        assert (done.code, "nowhere.npy cannot be read" in done.err) == (2, True)

    def test_trtexec_without_what_it_cuts(self, run: Run, programs):
        made = programs("non_zero")
        done = run("run", str(made.plan), "--executor", "trtexec", "--trtexec", str(made.trtexec))
        assert (done.code, done.out) == (0, "  number: int64 scalar\n")
        assert "indices is left out" in done.err


def test_names_of_onnx_tensors_make_files_of_the_directory(tmp_path):
    verdict = Verdict(passed=True, version=(11, 4, 0))
    outputs = {"a/b:0": np.zeros(2, np.float32), "../c": np.zeros((), ml_dtypes.bfloat16)}
    result = TrtexecResult(verdict=verdict, performance=None, outputs=outputs, times=[])
    found = trtexec_report(result, tmp_path / "out")["outputs"]
    assert [path.name for path in sorted(tmp_path.rglob("*.npy"))] == ["..%2Fc.npy", "a%2Fb%3A0.npy"]
    assert [(t["name"], t["dtype"], t["shape"]) for t in found] == [("a/b:0", "fp32", [2]), ("../c", "bf16", [])]
    with pytest.raises(UsageError, match="cannot write"):
        trtexec_report(result, tmp_path / "out" / "..%2Fc.npy")


def test_bf16_files_have_their_type(tmp_path):
    array = np.array([1, 2.5], ml_dtypes.bfloat16)
    np.save(tmp_path / "x.npy", array)
    read = load_npy(tmp_path / "x.npy", "bf16")
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    with pytest.raises(UsageError, match="cannot be read"):
        load_npy(tmp_path, "bf16")


# --- bench -----------------------------------------------------------------------------------------------------------


class TestBench:
    def test_text(self, run: Run, programs):
        made = programs("circ_pad_dynamic")
        done = run("bench", str(made.plan), "--shape", "8x3x64x64", "--iterations", "7")
        assert done.code == 0, done.err
        assert [line.split() for line in done.out.splitlines()] == [
            ["microseconds", "p5", "p95", "GB/s"],
            ["stream", "2.00", "1.50", "2.50", "512"],
            ["CUDA", "graph", "1.75", "1.50", "2.50", "600"],
        ]
        (call,) = made.calls
        assert {"--timing", "--graph", "--iterations", "7", "x=8x3x64x64"} <= set(call["arguments"])

    def test_json(self, run: Run, programs):
        report = json.loads(run("bench", str(programs("circ_pad").plan), "--format", "json").out)
        assert (report["schema"], report["timing"]["graph_us"]["median"]) == ("aotfactory.run/1", 1.75)


# --- what does not go together ---------------------------------------------------------------------------------------

PLAN, BUNDLE = "PLAN", "BUNDLE"
WRONG = {
    "no plan": (["run", "nowhere.plan"], "no such plan: nowhere.plan"),
    "no plan to validate": (["validate", "nowhere.plan"], "no such plan: nowhere.plan"),
    "no plan to time": (["bench", "nowhere.plan"], "no such plan: nowhere.plan"),
    "tactic": (["run", PLAN, "--tactic", "1"], "a plan has the tactics that TensorRT chose\n  hint: aotfactory bake"),
    "tactic to time": (["bench", PLAN, "--tactic", "1"], "--tactic is for bundles"),
    "dry run": (["run", PLAN, "--dry-run"], "--dry-run is for bundles: TensorRT launches a plan's kernels"),
    "shape of nothing": (["run", PLAN, "--shape", "z=1"], "circ_pad.plan has no input 'z'\n  hint: its inputs: x"),
    "launcher": (["run", PLAN, "--executor", "launcher"], "executor launcher does not run a plan"),
    "interpreter": (["validate", PLAN, "--executor", "interpreter"], "executor interpreter does not run a plan"),
    "runner": (["validate", BUNDLE, "--executor", "runner"], "executor runner does not run a bundle"),
    "trtexec": (["run", BUNDLE, "--executor", "trtexec"], "executor trtexec does not run a bundle"),
    "lean": (["run", BUNDLE, "--lean"], "--lean is for plans"),
    "root": (["bench", BUNDLE, "--tensorrt-root", "/opt"], "--tensorrt-root is for plans"),
    "program": (["validate", BUNDLE, "--trtexec", "trtexec"], "--trtexec is for plans"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage(run: Run, programs, name):
    arguments, message = WRONG[name]
    made = programs("circ_pad")
    paths = {PLAN: str(made.plan), BUNDLE: str(sample("circ_pad").path)}
    done = run(*(paths.get(a, a) for a in arguments))
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert made.calls == []


@pytest.mark.parametrize("command", ["run", "validate", "bench"])
def test_a_plan_of_another_record(run: Run, programs, command):
    made = programs("circ_pad")
    made.plan.write_bytes(b"another")
    done = run(command, str(made.plan))
    assert (done.code, done.out) == (1, "")
    assert "is not the plan of this record" in done.err


def test_inspect_a_damaged_record(run: Run, programs):
    made = programs("circ_pad")
    beside = made.plan.with_name("circ_pad.plan.json")
    beside.write_text(json.dumps({k: v for k, v in made.record.items() if k != "gpu"}))
    done = run("inspect", str(made.plan))
    assert (done.code, done.out) == (5, "")
    assert f"{beside}: lacks 'gpu'\n  hint: bake the plan again" in done.err


def test_inputs_of_the_profile(programs):
    plan = PlanFile.read(programs("circ_pad_dynamic").plan)
    assert plan.make_inputs({}, {})["x"].shape == (2, 3, 32, 32)


# --- for real --------------------------------------------------------------------------------------------------------


@pytest.mark.runner
@pytest.mark.tensorrt
@pytest.mark.gpu
def test_from_a_recipe_to_a_plan_that_runs(run: Run, tmp_path):
    done = run("build", "circ_pad", "--shape", "1x3x32x32", "--engine", "tensorrt", "--out", str(tmp_path))
    assert done.code == 0, done.err
    plan = str(tmp_path / "circ_pad.plan")
    for command in (["inspect"], ["validate"], ["run"], ["run", "--executor", "trtexec"], ["bench"]):
        done = run(*command, plan)
        assert done.code == 0, done.err
