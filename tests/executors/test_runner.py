# SPDX-License-Identifier: Apache-2.0
"""The C++ runner: built where TENSORRT_ROOT has NVIDIA's headers, run where there is a GPU."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import plan_in_python
import pytest
from doubles.samples import SHAPES, sample
from plan_cases import case, check_outputs

from aotfactory.api.bake import bake
from aotfactory.core import check as checks
from aotfactory.core import cuda
from aotfactory.core.errors import CheckError, DefinitionError, MissingError, UsageError
from aotfactory.executors.native.cmake import LIMITS, SOURCES
from aotfactory.executors.native.program import Timing
from aotfactory.executors.native.runner import RunnerOptions, build_runner, run_runner
from aotfactory.plan.options import PlanOptions
from aotfactory.plan.plan_file import PlanFile

pytestmark = pytest.mark.launcher


@pytest.fixture(scope="session")
def runner() -> Path:
    return build_runner()


def lean_library() -> Path:
    import tensorrt_lean_libs

    return next(Path(next(iter(tensorrt_lean_libs.__path__))).glob("libnvinfer_lean.so.*"))


@pytest.fixture
def damaged(tmp_path) -> Path:
    path = tmp_path / "damaged.plan"
    path.write_bytes(b"this is no plan" * 100)
    return path


# --- on any machine, with a program in place of the runner -----------------------------------------------------------


@pytest.fixture
def fake(tmp_path):
    """A runner that says this."""

    def make(report, code=0, files=()) -> RunnerOptions:
        for name, array in dict(files).items():
            np.save(tmp_path / f"{name}.npy", array)
        text = report if isinstance(report, str) else json.dumps(report)
        (tmp_path / "said.json").write_text(text)
        program = tmp_path / "runner"
        last = "kill -SEGV $$" if code == 139 else f"exit {code}"
        program.write_text(f"#!/bin/sh\necho last words >&2\ncat {tmp_path}/said.json\n{last}\n")
        program.chmod(0o755)
        return RunnerOptions(program=program)

    return make


def report(tmp_path, status="passed", checks=()):
    y = {"name": "y", "dtype": "bf16", "shape": [3], "file": str(tmp_path / "y.npy")}
    libraries = ["/lib/libcuda.so.1", "/lib/libnvinfer.so.11"]
    return {
        "schema": "aotfactory.run/1",
        "status": status,
        "checks": list(checks),
        "inputs": [],
        "outputs": [y],
        "libraries": libraries,
    }


def test_result(fake, tmp_path):
    options = fake(report(tmp_path), files={"y": np.array([1, 2, 3], np.uint16)})
    result = run_runner(tmp_path / "x.plan", options=options, shapes={"x": (1, 2), "s": ()})
    assert result.outputs["y"].dtype.name == "bfloat16"
    assert result.messages == "last words\n"
    assert result.inputs == {}
    assert list(result.command[-4:]) == ["--shape", "x=1x2", "--shape", "s=scalar"]


def test_options_reach_the_runner(fake, tmp_path):
    options = fake(report(tmp_path), files={"y": np.zeros(3, np.uint16)})
    options = RunnerOptions(
        program=options.program, lean=True, library=Path("l.so"), host_code=True, tight=True, timing=Timing(graph=True)
    )
    command = run_runner(tmp_path / "x.plan", options=options, inputs={"x": np.zeros(2)}).command
    assert {"--lean", "--host-code", "--tight", "--library", "l.so", "--timing", "--graph"} <= set(command)
    assert any(text.startswith("x=") and text.endswith("input_0.npy") for text in command)


def test_failed_check(fake, tmp_path):
    checks = [{"name": "guard", "subject": "y", "status": "failed", "detail": "8 bytes behind it changed"}]
    options = fake(report(tmp_path, "failed", checks), code=1, files={"y": np.zeros(3, np.uint16)})
    with pytest.raises(CheckError, match="guard of y: 8 bytes behind"):
        run_runner(tmp_path / "x.plan", options=options)
    assert run_runner(tmp_path / "x.plan", options=options, check=False).failures


@pytest.mark.parametrize(
    ("said", "code", "kind", "message"),
    [
        (
            {"schema": "aotfactory.run/1", "status": "error", "error": "bad plan", "exit_code": 1},
            1,
            CheckError,
            "bad plan",
        ),
        (
            {"schema": "aotfactory.run/1", "status": "error", "error": "no input", "exit_code": 2},
            2,
            UsageError,
            "no input",
        ),
        (
            {"schema": "aotfactory.run/1", "status": "error", "error": "no GPU", "exit_code": 3},
            3,
            MissingError,
            "no GPU",
        ),
        (
            {"schema": "aotfactory.run/1", "status": "error", "error": "odd", "exit_code": 4},
            4,
            DefinitionError,
            "odd",
        ),
        ({"schema": "other"}, 0, CheckError, "something other than"),
        ("", 7, CheckError, r"gave exit code 7(.|\n)*last words"),
        ("", 139, CheckError, "died of SIGSEGV"),
    ],
)
def test_errors(fake, tmp_path, said, code, kind, message):
    with pytest.raises(kind, match=message):
        run_runner(tmp_path / "x.plan", options=fake(said, code))


def test_missing_headers_are_the_reason(tmp_path, monkeypatch):
    monkeypatch.delenv("AOTFACTORY_RUNNER", raising=False)
    monkeypatch.setenv("CMAKE_FIND_ROOT_PATH", str(tmp_path))
    if any(Path(p, "NvInferRuntime.h").exists() for p in ("/usr/include", "/usr/include/x86_64-linux-gnu")):
        pytest.skip("TensorRT's headers are installed")
    with pytest.raises(MissingError, match=r"could not be configured(.|\n)*NvInferRuntime\.h not found"):
        build_runner(tensorrt_root=tmp_path, cache=tmp_path / "cache")


# --- the runner's checks, on a made-up plan and the fake driver ------------------------------------------------------


@pytest.fixture(scope="session")
def plan_run(tmp_path_factory, fake_driver):
    """Runs the made-up plan with a fault; gives the fields of what plan_run_check prints."""
    folder = tmp_path_factory.mktemp("plan_run")
    program, header = folder / "plan_run_check", folder / "common" / "limits.h"
    script = ["cmake", f"-DJSON={LIMITS}", f"-DHEADER={header}", "-P", SOURCES / "limits.cmake"]
    subprocess.run(script, check=True)
    parts = ["runner/run", "cuda/checked_run", "cuda/buffers", "cuda/cuda_driver", "common/dtype", "common/error"]
    sources = [Path(__file__).parents[1] / "cpp" / "plan_run_check.cpp", *(SOURCES / f"{part}.cpp" for part in parts)]
    subprocess.run(["c++", "-std=c++17", "-I", SOURCES, "-I", folder, "-o", program, *sources, "-ldl"], check=True)

    def run(fault: str) -> list[list[str]]:
        env = {"LD_LIBRARY_PATH": str(fake_driver)}
        done = subprocess.run([program, fault], env=env, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1, 2), done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    return run


def test_a_good_plan_passes_every_check(plan_run):
    assert plan_run("none") == [
        ["input", "x", "passed", ""],
        ["written", "y", "passed", ""],
        ["written", "p", "passed", ""],
        ["repeatable", "y", "passed", ""],
        ["repeatable", "p", "passed", ""],
        ["launch", "plan", "passed", ""],
        ["guard", "plan", "passed", ""],
        ["output", "y", "(4, 8)", "23.5"],
        ["output", "p", "(24)", "23.5"],
    ]


@pytest.mark.parametrize(
    ("fault", "check", "subject", "detail"),
    [
        ("store_behind", "guard", "y", "4 bytes changed behind the tensor, the nearest 0 bytes behind its end"),
        ("store_before", "guard", "y", "4 bytes changed before the tensor"),
        ("grown_behind", "guard", "p", "4 bytes changed behind the tensor"),
        ("change_input", "input", "x", "the run changed 1 elements, the first at flat index 3"),
        ("unwritten", "written", "p", "never written: 2 elements, the first at flat index 22"),
        (
            "read_poison",
            "repeatable",
            "y",
            "depends on memory that holds no input: 1 elements, the first at flat index 0",
        ),
        ("refused", "launch", "plan", "TensorRT could not run the plan: words of TensorRT"),
        ("refused_later", "launch", "plan", "TensorRT could not run the plan: words of TensorRT"),
        ("no_memory", "launch", "plan", "no usable shape or memory for 'p'"),
        ("wrong_shape", "launch", "plan", "no usable shape or memory for 'p'"),
        ("huge", "launch", "plan", "p: could not allocate"),
    ],
)
def test_faults_are_found(plan_run, fault, check, subject, detail):
    failed = [line for line in plan_run(fault) if line[2] == "failed"]
    assert [line[:2] for line in failed] == [[check, subject]]
    assert detail in failed[0][3]


@pytest.mark.parametrize(("fault", "tensor"), [("vary", "y"), ("vary_size", "p")])
def test_what_varies_from_run_to_run_is_skipped(plan_run, fault, tensor):
    lines = plan_run(fault)
    assert ["repeatable", tensor, "skipped", "results vary from run to run"] in lines
    assert not [line for line in lines if line[2] == "failed"]


def test_an_input_changed_in_place_is_compared_too(plan_run):
    lines = plan_run("in_place")
    assert ["repeatable", "x", "passed", ""] in lines
    assert ["output", "z", "(4, 8)", "23.5"] in lines
    assert not [line for line in lines if line[0] == "input" or line[2] == "failed"]


def test_tight_leaves_memory_to_compute_sanitizer(plan_run):
    skipped = {line[0] for line in plan_run("tight") if line[2] == "skipped"}
    assert skipped == {"guard", "written", "repeatable"}


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [("unbound", "1", "does not take the address of 'x': words of"), ("too_large", "2", "'y' of shape .* is larger")],
)
def test_plans_that_cannot_be_prepared(plan_run, fault, code, message):
    ((kind, found, text, _),) = plan_run(fault)
    assert (kind, found) == ("error", code)
    assert re.search(message, text)


# --- compiled against NVIDIA's headers -------------------------------------------------------------------------------


@pytest.mark.runner
def test_it_compiles_and_has_help(runner):
    done = subprocess.run([runner, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--lean" in done.stdout
    linked = subprocess.run(["ldd", runner], capture_output=True, text=True, check=False).stdout
    assert "python" not in linked
    assert "nvinfer" not in linked


@pytest.mark.runner
@pytest.mark.parametrize("arguments", [["/no/such.plan"], [], ["--at", "most", "x"], [__file__, "--save-inputs"]])
def test_usage_errors(runner, arguments):
    done = subprocess.run([runner, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout)["exit_code"] == 2


@pytest.mark.runner
def test_no_gpu_is_said(runner, damaged):
    if cuda.cuda_device_count():
        pytest.skip("this machine has a GPU")
    with pytest.raises(MissingError, match=r"libcuda|no.*GPU|device"):
        run_runner(damaged, options=RunnerOptions(program=runner, lean=True))


@pytest.mark.runner
@pytest.mark.gpu
def test_damaged_plan_gives_nvidias_words(runner, damaged):
    """NVIDIA's real lean runtime reads it; nothing of Python is in that process."""
    options = RunnerOptions(program=runner, library=lean_library())
    with pytest.raises(CheckError, match=r"cannot load the plan: .*[Mm]agic"):
        run_runner(damaged, options=options)
    command = [runner, damaged, "--library", lean_library()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    libraries = json.loads(done.stdout)["libraries"]
    assert any("nvinfer_lean" in path for path in libraries)
    assert not any("python" in Path(path).name.lower() for path in libraries)


@pytest.mark.runner
@pytest.mark.gpu
def test_library_that_is_no_runtime(runner, damaged):
    with pytest.raises(MissingError, match="is not a TensorRT runtime"):
        run_runner(damaged, options=RunnerOptions(program=runner, library=Path("libm.so.6")))
    with pytest.raises(MissingError, match="--library PATH"):
        run_runner(damaged, options=RunnerOptions(program=runner, library=Path("libnone.so")))


# --- for real --------------------------------------------------------------------------------------------------------


def check_run(result, references):
    assert result.failures == []
    assert checks.python_free("plan", result.report["libraries"], tensorrt=True).status == "passed"
    check_outputs(result.outputs, references)


@pytest.mark.runner
@pytest.mark.tensorrt
@pytest.mark.gpu
@pytest.mark.parametrize("point", ["min", "opt", "max"])
@pytest.mark.parametrize("name", SHAPES)
def test_plans_run_without_python(runner, name, point, tmp_path):
    _, inputs, references = case(name, point)
    plan = PlanFile.read(bake(sample(name, portable=True).path, options=PlanOptions(), out=tmp_path).path)
    options = RunnerOptions(program=runner, timing=Timing(iterations=5, repeat=2, graph=True))
    check_run(plan.in_runner(options, inputs=inputs), references)


@pytest.mark.runner
@pytest.mark.tensorrt
@pytest.mark.gpu
@pytest.mark.parametrize("name", ["circ_pad_dynamic", "inplace_add", "non_zero"])
def test_version_compatible_plans_run_in_the_lean_runtime(runner, name, tmp_path):
    _, inputs, references = case(name)
    options = PlanOptions(version_compatible=True, exclude_lean_runtime=True)
    plan = PlanFile.read(bake(sample(name, portable=True).path, options=options, out=tmp_path).path)
    check_run(plan.in_runner(RunnerOptions(program=runner, lean=True), inputs=inputs), references)


@pytest.mark.tensorrt
@pytest.mark.gpu
@pytest.mark.parametrize("name", SHAPES)
def test_plans_run_where_triton_and_the_plugins_cannot_be_imported(name, tmp_path):
    _, inputs, references = case(name)
    path = bake(sample(name, portable=True).path, options=PlanOptions(), out=tmp_path).path
    np.savez(tmp_path / "inputs.npz", **inputs)
    forbidden = ["triton", "torch", "aotfactory", "kernels"]
    files = [path, tmp_path / "inputs.npz", tmp_path / "outputs.npz"]
    subprocess.run([sys.executable, plan_in_python.__file__, *files, *forbidden], check=True)
    check_outputs(np.load(files[2]), references)
