# SPDX-License-Identifier: Apache-2.0
"""Validation of plans: trtexec and the runner against the references, with programs in their place."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from doubles import plan_programs
from doubles.plan_programs import Programs
from doubles.runtime import full_tensorrt
from doubles.samples import SHAPES, SM_90, compiled, sample
from plan_cases import DYNAMIC, chain_model

from aotfactory.api import validate, validate_plan
from aotfactory.api.bake import bake
from aotfactory.core import cuda
from aotfactory.core.check import Check
from aotfactory.core.errors import CheckError, DefinitionError, UsageError
from aotfactory.core.network import Profile
from aotfactory.core.network_json import network_to_json
from aotfactory.executors import cases as run_cases
from aotfactory.executors import executor, reference
from aotfactory.executors.native.runner import RunnerOptions
from aotfactory.executors.trtexec.command import TrtexecOptions
from aotfactory.plan import record as provenance
from aotfactory.plan.options import PlanOptions
from aotfactory.plan.plan_file import PlanFile
from aotfactory.plugins import tensorrt_api
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions

ALL_PASSED = {"trtexec": "passed", "runner": "passed", "python-free": "passed"}


@pytest.fixture(autouse=True)
def _a_machine_with_everything(request, monkeypatch):
    if request.node.get_closest_marker("tensorrt"):
        return  # it is one
    full = full_tensorrt()
    monkeypatch.setattr(tensorrt_api, "require_builder", lambda: full)
    monkeypatch.setattr(cuda, "cuda_device_count", lambda: 1)
    monkeypatch.delenv("AOTFACTORY_RUNNER", raising=False)


@pytest.fixture
def programs(tmp_path):
    return lambda name, **options: plan_programs.make(name, tmp_path, **options)


def run(made: Programs, *executors: str, **options) -> dict[str, Check]:
    """The checks by name."""
    found = validate_plan.validate_plan(
        made.plan,
        executors=executors,
        trtexec=TrtexecOptions(program=made.trtexec),
        runner=RunnerOptions(program=made.runner, **options),
    )
    assert {check.subject for check in found} == {made.plan.name}
    return {check.name: check for check in found}


def statuses(found: dict[str, Check]) -> dict[str, str]:
    return {name: check.status for name, check in found.items()}


# --- against the references ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("circ_pad_dynamic", "small, opt, max, inside, even, large, equal, min"),
        ("inplace_add", "static"),
        ("non_zero_dynamic", "small, opt, max, inside, even, large, equal, min"),
    ],
)
def test_a_right_plan_passes(programs, name, at):
    found = run(made := programs(name))
    assert statuses(found) == ALL_PASSED, found
    assert found["runner"].detail == f"against the reference, at {at}"
    cut = "; without indices: trtexec writes no output whole whose shape depends on data" if "zero" in name else ""
    assert found["trtexec"].detail == found["runner"].detail + cut
    assert {c["name"]: c["status"] for c in made.record["checks"]} == ALL_PASSED


PLACES = {"8x3x64x65": "8x3x64x65, random", "nan": "2x3x11x13, adversarial"}


@pytest.mark.parametrize(("trtexec", "runner"), [("8x3x64x65", "nan"), ("nan", "8x3x64x65")])
def test_one_wrong_element_fails_its_executor_alone(programs, trtexec, runner):
    """Each is wrong at a place of its own, and is blamed for that one only."""
    made = programs("circ_pad_dynamic")
    made.set(made.trtexec, spoil=trtexec)
    made.set(made.runner, spoil=runner)
    found = run(made)
    assert statuses(found) == {"trtexec": "failed", "runner": "failed", "python-free": "passed"}
    if trtexec != "nan":  # trtexec compares too, and is the first to say so
        assert found["trtexec"].detail.startswith("trtexec failed: Accuracy validation FAILED")
        assert f"{made.plan.stem}.trtexec.log" in found["trtexec"].detail
    else:
        assert re.match(r"y of circ_pad: 1 of \d+ elements differ", found["trtexec"].detail)
    assert re.match(r"y of circ_pad: 1 of \d+ elements differ", found["runner"].detail)
    assert found["trtexec"].detail.endswith(f"; at x {PLACES[trtexec]} data")
    assert found["runner"].detail.endswith(f"; at x {PLACES[runner]} data")


@pytest.mark.parametrize("wrong", ["trtexec", "runner"])
def test_the_other_executor_still_passes(programs, wrong):
    made = programs("circ_pad")
    made.set(getattr(made, wrong), spoil="nan")
    assert statuses(run(made)) == {**ALL_PASSED, wrong: "failed"}


def test_trtexecs_own_comparison_is_left_out_where_there_is_nan(programs, monkeypatch):
    compared = []
    genuine = PlanFile.in_trtexec

    def noted(*args, **keywords):
        result = genuine(*args, **keywords)
        compared.append(result.compared)
        return result

    monkeypatch.setattr(PlanFile, "in_trtexec", noted)
    assert statuses(run(programs("circ_pad"), "trtexec")) == {"trtexec": "passed"}
    assert compared == [True, False]


def test_without_a_recipe_it_says_what_was_checked(programs, monkeypatch):
    monkeypatch.setattr(reference, "outputs", lambda *arguments: {})
    found = run(programs("circ_pad"))
    assert found["trtexec"].detail == "execution only: the plugins have no recipe, at static"
    assert found["runner"].detail == "memory accesses only: the plugins have no recipe, at static"


def test_what_is_too_large_for_the_reference_is_skipped(programs, monkeypatch):
    monkeypatch.setattr(run_cases, "LARGEST", 100)
    found = run(programs("circ_pad"))
    assert statuses(found) == {"trtexec": "skipped", "runner": "skipped", "python-free": "passed"}
    assert "too many for the reference" in found["runner"].detail


def test_tolerances_are_those_of_the_recipes():
    network = sample("circ_pad").bundle.network
    recipe = Catalog().find("circ_pad")
    loose = dataclasses.replace(recipe, tolerance={"fp32": run_cases.reference.Tolerance(atol=1)})
    for given in (recipe, loose):
        found = reference.tolerances(network, lambda plugin, given=given: given)
        assert found == {"y": given.tolerance.get("fp32", reference.Tolerance())}
    assert reference.tolerances(network, lambda plugin: None) == {}
    chain = sample("inplace_add").bundle.network
    assert reference.tolerances(chain, lambda plugin: recipe).keys() == {"y_1", "y"}


def test_where_every_input_has_types_of_its_own_the_tolerance_is_by_the_outputs_type():
    network = sample("circ_pad").bundle.network
    halves = tuple(dataclasses.replace(t, dtype="fp16") if t.role == "output" else t for t in network.tensors)
    network = dataclasses.replace(network, tensors=halves)
    recipe = Catalog().find("circ_pad")
    typed = dataclasses.replace(
        recipe,
        inputs=tuple(dataclasses.replace(item, dtypes=("fp32",)) for item in recipe.inputs),
        tolerance={"fp32": reference.Tolerance(atol=1), "fp16": reference.Tolerance(atol=2)},
    )
    (call,) = network.calls
    assert reference.tolerance(network, typed, call, "y") == ("fp16", reference.Tolerance(atol=2))
    first = dataclasses.replace(typed, tolerance={"fp32": reference.Tolerance(atol=1)})
    assert reference.tolerance(network, first, call, "y") == ("fp32", reference.Tolerance(atol=1))
    untyped = dataclasses.replace(recipe, tolerance=typed.tolerance, dtypes=("fp32", "fp16"))
    assert reference.tolerance(network, untyped, call, "y") == ("fp32", reference.Tolerance(atol=1))
    quantized = dataclasses.replace(untyped, dtypes=("fp32",))  # no network of it has fp16: that is the output's own
    assert reference.tolerance(network, quantized, call, "y") == ("fp16", reference.Tolerance(atol=2))


# --- a model with other nodes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "at"), [(TargetOptions(**DYNAMIC), "min, opt, max"), (TargetOptions(shape={"x": (2, 3, 8, 8)}), "min")]
)
def test_a_model_with_other_nodes_is_run_on_random_data(programs, tmp_path, request_, at):
    model = chain_model(tmp_path / "model.onnx", ["N", 3, "H", "W"], first=True)
    item = compiled(str(model), request_)
    made = dataclasses.replace(
        programs("circ_pad_dynamic"),
        plan=bake(item.path, options=PlanOptions(arch=SM_90, shapes=request_), out=tmp_path).path,
    )
    found = run(made)
    assert statuses(found) == {**ALL_PASSED, "trtexec": "skipped"}
    assert "the model has nodes besides the plugins'" in found["trtexec"].detail
    assert found["runner"].detail.startswith("memory accesses only: the model has nodes besides")
    assert found["runner"].detail.endswith(f"; at {at}")
    asked = [c["arguments"][c["arguments"].index("--at") + 1] for c in made.calls]
    assert asked == [*at.split(", "), "opt"]
    with pytest.raises(UsageError, match=r"has inputs or outputs of other nodes (.|\n)*--executor runner"):
        PlanFile.read(made.plan).in_trtexec(TrtexecOptions(), inputs={})


# --- what the machine or the plan lacks ------------------------------------------------------------------------------


def test_without_a_gpu_nothing_is_run(programs, monkeypatch):
    monkeypatch.setattr(cuda, "cuda_device_count", lambda: 0)
    found = run(made := programs("circ_pad"))
    assert set(statuses(found).values()) == {"skipped"}
    assert {c.detail for c in found.values()} == {executor.NO_GPU}
    assert made.calls == []


def test_a_plan_that_takes_python_is_not_run(programs):
    Catalog().load_all()
    made = programs("circ_pad", jit=True)
    found = run(made)
    assert set(statuses(found).values()) == {"skipped"}
    assert {c.detail for c in found.values()} == {"it was built with --jit: its plugins run in Python"}
    with pytest.raises(UsageError, match=r"its plugins run in Python(.|\n)*without --jit"):
        PlanFile.read(made.plan).in_runner(RunnerOptions())


def test_the_runner_is_built_for_the_given_tensorrt(programs, monkeypatch, tmp_path):
    made = programs("circ_pad")
    roots = []

    def build(*, tensorrt_root):
        roots.append(tensorrt_root)
        return made.runner

    for place in ("aotfactory.plan.in_runner", "aotfactory.executors.native.runner"):
        monkeypatch.setattr(f"{place}.build_runner", build)
    options = RunnerOptions(tensorrt_root=tmp_path)
    found = validate_plan.validate_plan(made.plan, executors=["runner"], runner=options)
    assert [c.status for c in found] == ["passed", "passed"]
    assert set(roots) == {tmp_path}


def test_missing_trtexec_is_the_reason(programs, monkeypatch, tmp_path):
    made = programs("circ_pad")
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path / "nowhere"))
        without.delenv("TENSORRT_ROOT", raising=False)
        without.setattr("aotfactory.executors.trtexec.command.ROOTS", ())
        (check,) = validate_plan.validate_plan(made.plan, executors=["trtexec"])
    assert (check.status, check.detail) == ("skipped", "trtexec is not on this machine")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "trtexec").symlink_to(made.trtexec)
    root = TrtexecOptions(root=tmp_path)
    (check,) = validate_plan.validate_plan(made.plan, executors=["trtexec"], trtexec=root)
    assert check.status == "passed"


@pytest.mark.launcher
def test_missing_headers_are_the_reason(programs, monkeypatch, tmp_path):
    monkeypatch.setenv("CMAKE_FIND_ROOT_PATH", str(tmp_path))
    monkeypatch.setenv("CMAKE_FIND_ROOT_PATH_MODE_INCLUDE", "ONLY")
    options = RunnerOptions(tensorrt_root=tmp_path / "nowhere")
    found = validate_plan.validate_plan(programs("circ_pad").plan, executors=["runner"], runner=options)
    assert [(c.name, c.status) for c in found] == [("runner", "skipped"), ("python-free", "skipped")]
    assert "NvInferRuntime.h not found" in found[0].detail
    assert "\n" not in found[0].detail


@pytest.mark.parametrize(("exit_code", "status"), [(1, "failed"), (2, "failed"), (3, "skipped")])
def test_what_the_runner_says_becomes_the_check(programs, exit_code, status):
    made = programs("circ_pad")
    made.set(made.runner, error="TensorRT cannot load the plan: wrong magic", exit_code=exit_code)
    found = run(made)
    assert statuses(found) == {"trtexec": "passed", "runner": status, "python-free": status}
    assert found["runner"].detail.startswith("TensorRT cannot load the plan: wrong magic; at x 1x3x32x32")


@pytest.mark.runner
def test_what_the_real_runner_finds_missing_is_skipped(programs):
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has a driver")
    found = validate_plan.validate_plan(programs("circ_pad").plan, executors=["runner"])
    assert [(c.name, c.status) for c in found] == [("runner", "skipped"), ("python-free", "skipped")]
    assert all("no CUDA driver on this machine" in c.detail for c in found)


@pytest.mark.parametrize(("fault", "message"), [("crash", "died of signal 11"), ("unreadable", "cannot read circ_pad")])
def test_what_trtexec_does_becomes_the_check(programs, fault, message):
    made = programs("circ_pad")
    made.set(made.trtexec, fault=fault)
    found = run(made)
    assert statuses(found) == {**ALL_PASSED, "trtexec": "failed"}
    assert message in found["trtexec"].detail
    assert "circ_pad.trtexec.log" in found["trtexec"].detail


# --- the process -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ((), "empty environment"),
        (("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"), "no variables but LD_LIBRARY_PATH and CUDA_VISIBLE_DEVICES"),
    ],
)
def test_python_free_is_run_with_next_to_no_environment(programs, monkeypatch, variables, said):
    for name in ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "0") if name in variables else monkeypatch.delenv(name, raising=False)
    made = programs("circ_pad")
    assert run(made)["python-free"].detail == f"{said}; loaded: libcuda.so.1, libnvinfer.so.11"
    assert [c["environment"] for c in made.calls if "PATH" not in c["environment"]] == [sorted(variables)]


@pytest.mark.parametrize("library", ["libpython3.12.so.1.0", "libtriton.so", "libtorch_cuda.so"])
def test_python_in_the_process_fails(programs, library):
    made = programs("circ_pad")
    made.set(made.runner, libraries=["libnvinfer.so.11", library])
    found = run(made, "runner")
    assert statuses(found) == {"runner": "passed", "python-free": "failed"}
    assert found["python-free"].detail == f"the process has {library} loaded"


def test_a_plan_that_brings_its_runtime_may_use_it(programs):
    made = programs("circ_pad", version_compatible=True)
    assert statuses(run(made)) == ALL_PASSED
    assert all("--host-code" in call["arguments"] for call in made.calls)
    log = made.plan.with_suffix(".trtexec.log").read_text()
    assert "--versionCompatible" in log


def test_a_plan_without_runtime_is_run_in_the_lean_one(programs):
    made = programs("circ_pad", version_compatible=True, exclude_lean_runtime=True)
    assert statuses(run(made, lean=True)) == ALL_PASSED
    assert all("--lean" in c["arguments"] and "--host-code" not in c["arguments"] for c in made.calls)


# --- the record ------------------------------------------------------------------------------------------------------


def test_checks_replace_earlier_ones(programs, monkeypatch):
    made = programs("circ_pad")
    made.set(made.runner, spoil="finite")
    run(made)
    assert {c["name"]: c["status"] for c in made.record["checks"]} == {**ALL_PASSED, "runner": "failed"}
    made.set(made.runner, spoil="")
    run(made, "runner")
    assert {c["name"]: c["status"] for c in made.record["checks"]} == ALL_PASSED
    assert len(made.record["checks"]) == 3
    monkeypatch.setattr(cuda, "cuda_device_count", lambda: 0)
    assert set(statuses(run(made)).values()) == {"skipped"}
    assert {c["name"]: c["status"] for c in made.record["checks"]} == ALL_PASSED  # what was seen elsewhere holds
    other = Check(name="runner", subject="another.plan", status="skipped", detail="why")
    provenance.add_checks(made.plan, [other])
    assert len(made.record["checks"]) == 4


def test_a_record_without_news_is_not_written(programs, monkeypatch):
    made = programs("circ_pad")
    run(made)
    monkeypatch.setattr(provenance, "replace_file", pytest.fail)
    run(made)


def test_a_record_that_cannot_be_written(programs, monkeypatch):
    def refuse(path, data):
        raise PermissionError(13, "Permission denied")

    made = programs("circ_pad")
    monkeypatch.setattr(provenance, "replace_file", refuse)
    with pytest.raises(UsageError, match=r"cannot write .*circ_pad\.plan\.json: Permission denied"):
        run(made, "runner")


def test_plan_and_record_that_disagree(programs):
    made = programs("circ_pad")
    made.plan.write_bytes(b"another")
    with pytest.raises(CheckError, match=r"is not the plan of this record(.|\n)*bake the plan again"):
        run(made)
    assert made.calls == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("inputs"),
        lambda record: record.pop("network"),
        lambda record: record["options"].pop("jit"),
        lambda record: record["versions"].update(tensorrt="unknown"),
        lambda record: record["inputs"].update(x=3),
    ],
)
def test_a_damaged_record(programs, damage):
    made = programs("circ_pad")
    record = made.record
    damage(record)
    provenance.record_path(made.plan).write_text(json.dumps(record))
    with pytest.raises(DefinitionError, match=r"circ_pad\.plan\.json(.|\n)*bake the plan again"):
        run(made)


@pytest.mark.parametrize("name", SHAPES)
def test_the_record_knows_the_network(programs, name):
    made = programs(name)
    plan = PlanFile.read(made.plan)
    network = sample(name).bundle.network
    assert network_to_json(plan.network) == network_to_json(network)
    assert (plan.network.name, plan.network.target) == (network.name, network.target)
    assert plan.whole
    assert (plan.needs_python, plan.brings_runtime) == ("", False)
    assert plan.version[0] == int(made.record["versions"]["tensorrt"].split(".")[0])
    if name == "circ_pad_dynamic":
        assert plan.inputs == {"x": Profile(min=(1, 3, 8, 8), opt=(2, 3, 32, 32), max=(8, 3, 64, 65))}


def test_executors_are_for_plans_or_for_bundles(programs):
    with pytest.raises(UsageError, match=r"executor launcher does not run a plan(.|\n)*use trtexec or runner"):
        run(programs("circ_pad"), "launcher")
    with pytest.raises(UsageError, match=r"executor runner does not run a bundle(.|\n)*use interpreter or launcher"):
        validate.validate(sample("circ_pad").path, executors=["runner"])


# --- for real --------------------------------------------------------------------------------------------------------


@pytest.mark.runner
@pytest.mark.tensorrt
@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["network", "onnx"])
@pytest.mark.parametrize("name", SHAPES)
def test_plans_are_valid(name, mode, tmp_path):
    """By trtexec and the runner, at the profile's points and between, with random data, NaN and the like."""
    path = bake(sample(name, portable=True).path, options=PlanOptions(mode=mode), out=tmp_path).path
    found = validate_plan.validate_plan(path)
    assert {c.name: c.status for c in found} == ALL_PASSED, found
    assert all("against the reference" in c.detail for c in found if c.name != "python-free")
