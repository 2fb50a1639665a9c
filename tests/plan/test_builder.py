# SPDX-License-Identifier: Apache-2.0
"""Plans: built by a double of TensorRT's builder that calls NVIDIA's real plugin objects, and for real by TensorRT."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from doubles.builder import CACHE
from doubles.runtime import full_tensorrt, read_plan
from doubles.samples import SHAPES, SM_90, Sample, compiled, sample
from plan_cases import DYNAMIC, case, chain_model, check_outputs
from plan_in_python import execute
from tensorrt.plugin import _lib

from aotfactory.api import bake as baking
from aotfactory.api.bake import bake
from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.manifest import Bundle
from aotfactory.core.cache import Cache
from aotfactory.core.check import Check
from aotfactory.core.errors import AotError, CheckError, DefinitionError, MissingError, UsageError
from aotfactory.core.expressions import Constant
from aotfactory.core.network import Profile
from aotfactory.executors.inputs import make_input
from aotfactory.plan import builder, kept
from aotfactory.plan import record as provenance
from aotfactory.plan.builder import Plan, build_plan
from aotfactory.plan.options import PlanOptions, require_supported
from aotfactory.plan.plugin_answers import PluginAnswers
from aotfactory.plugins import tensorrt_api
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions

MODES = ("network", "onnx")


@pytest.fixture
def tensorrt(monkeypatch):
    """The double in place of the full TensorRT."""
    full = full_tensorrt()
    monkeypatch.setattr(tensorrt_api, "require_builder", lambda: full)
    return full


def plan_of(item: Sample, **options) -> Plan:
    return build_plan(item.bundle, sha256=item.sha256, options=PlanOptions(arch=SM_90, **options))


def with_variants(item: Sample, variants) -> Sample:
    return dataclasses.replace(item, bundle=dataclasses.replace(item.bundle, variants=tuple(variants)))


# --- the four samples --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SHAPES)
def test_plan_holds_the_kernels_and_launches_of_the_bundle(tensorrt, name, mode):
    item = sample(name)
    plan = plan_of(item, mode=mode)
    layers = read_plan(plan.data)["layers"]
    assert [layer["name"] for layer in layers] == [call.name for call in item.bundle.network.calls]
    assert plan.kernels
    for layer in layers:
        variant = next(v for v in plan.kernels if v.kernel == layer["kernel"])
        assert layer["ptx"] == variant.text
        assert not layer["jit"]
        for i, point in enumerate(("min", "opt", "max")):
            at = {symbol: getattr(r, point) for symbol, r in item.bundle.network.ranges.items()}
            assert {f: v[i] for f, v in layer["launch"].items()} == {
                f: e.evaluate(at) for f, e in variant.launch.items()
            }
            assert [v[i] for v in layer["extra_args"]] == [e.evaluate(at) for e in variant.extra_args]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SHAPES)
def test_every_tactic_can_be_forced(tensorrt, name, mode):
    item = sample(name)
    for tactic in sorted({v.tactic for v in item.bundle.variants}):
        plan = plan_of(item, mode=mode, tactic=tactic)
        assert {v.tactic for v in plan.kernels} == {tactic}
        assert {layer["tactic"] for layer in read_plan(plan.data)["layers"]} == {tactic}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["elementwise_add", "inplace_add", "circ_pad_dynamic", "non_zero"])
def test_jit_plan_takes_the_impl(tensorrt, name, mode):
    item = sample(name)
    Catalog().load_all()
    plan = plan_of(item, mode=mode, jit=True)
    layers = read_plan(plan.data)["layers"]
    assert all(layer["jit"] for layer in layers)
    assert plan.kernels == ()


def test_jit_needs_the_module(tensorrt):
    item = sample("elementwise_add")
    definition = _lib.QDP_REGISTRY.pop("aotfactory::elementwise_add", None)
    try:
        with pytest.raises(UsageError, match="elementwise_add is not loaded"):
            plan_of(item, jit=True)
    finally:
        if definition:
            _lib.QDP_REGISTRY["aotfactory::elementwise_add"] = definition


@pytest.mark.parametrize("mode", MODES)
def test_in_place_chain_sets_the_preview_feature(tensorrt, mode):
    plan = plan_of(sample("inplace_add"), mode=mode)
    assert read_plan(plan.data)["features"] == ["ALIASED_PLUGIN_IO_10_03"]
    assert "ALIASED_PLUGIN_IO_10_03" in plan.flags
    assert "ALIASED_PLUGIN_IO_10_03" not in plan_of(sample("circ_pad"), mode=mode).flags


def test_dynamic_inputs_get_a_profile(tensorrt):
    points = read_plan(plan_of(sample("circ_pad_dynamic")).data)["points"]
    assert points == {"x_0": [1, 2, 8], "x_2": [8, 32, 64], "x_3": [8, 32, 65]}


def test_definitions_are_as_before_afterwards(tensorrt):
    Catalog().load_all()
    definition = _lib.QDP_REGISTRY["aotfactory::circ_pad"]
    before = dict(vars(definition))
    plan_of(sample("circ_pad"))
    assert dict(vars(definition)) == before


NO_TRITON = """
import json, sys
sys.modules["triton"] = None
sys.path[:0] = sys.argv[2:3]
from doubles.runtime import full_tensorrt
from aotfactory.api import bake
from aotfactory.core.arch import Arch
from aotfactory.plan.options import PlanOptions
from aotfactory.plugins import tensorrt_api
from pathlib import Path
from tensorrt.plugin import _lib
tensorrt_api.require_builder = full_tensorrt
for mode in ("network", "onnx"):
    baked = bake.bake(Path(sys.argv[1]), options=PlanOptions(arch=Arch(name='sm_90', capability=90), mode=mode),
                      out=Path(sys.argv[3]))
    assert baked.plan.kernels
print(json.dumps({"loaded": sorted(m for m in sys.modules if m.startswith("aotfactory.kernels")),
                  "registered": sorted(_lib.QDP_REGISTRY), "creators": sorted(_lib.QDP_CREATORS)}))
"""


@pytest.mark.parametrize("name", ["elementwise_add_dynamic", "inplace_add", "circ_pad_dynamic", "non_zero_dynamic"])
def test_bundle_alone_is_enough_without_triton_or_the_plugin_module(name, tmp_path):
    command = [
        sys.executable,
        "-c",
        NO_TRITON,
        str(sample(name).path),
        str(Path(__file__).resolve().parents[1]),
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"loaded": [], "registered": [], "creators": []}


# --- what the bundle lacks -------------------------------------------------------------------------------------------


def test_missing_architecture(tensorrt):
    item = sample("circ_pad")
    with pytest.raises(
        MissingError, match=r"no kernel of circ_pad that runs on sm_80, only for sm_90(.|\n)*--arch sm_80"
    ):
        build_plan(
            item.bundle, sha256="0", options=PlanOptions(arch=dataclasses.replace(SM_90, name="sm_80", capability=80))
        )


def test_older_plain_target_serves_a_newer_gpu(tensorrt):
    newer = dataclasses.replace(SM_90, name="sm_120", capability=120)
    plan = build_plan(sample("circ_pad").bundle, sha256="0", options=PlanOptions(arch=newer))
    assert {v.arch for v in plan.kernels} == {"sm_90"}


def test_hardware_compatible_plan_takes_portable_kernels(tensorrt):
    plan = plan_of(sample("circ_pad", portable=True), hardware_compatibility="ampere+")
    assert {v.arch for v in plan.kernels} == {"portable"}
    assert read_plan(plan.data)["hardware"] == "AMPERE_PLUS"
    with pytest.raises(MissingError, match="runs on portable, only for sm_90"):
        plan_of(sample("circ_pad"), hardware_compatibility="ampere+")


def test_missing_tactic(tensorrt):
    with pytest.raises(UsageError, match="no tactic 9 for sm_90"):
        plan_of(sample("circ_pad"), tactic=9)


@pytest.mark.parametrize("mode", MODES)
def test_missing_combination_is_named(tensorrt, mode, monkeypatch):
    """TensorRT asks for a tactic of `autotune` that the bundle has no kernel for."""
    item = sample("circ_pad")
    from aotfactory.plan.plugin_answers import PluginAnswers

    genuine = PluginAnswers.autotune

    def offers_more(self, *args):
        combinations = genuine(self, *args)
        combinations[0].tactics([1, 2, 7])
        return combinations

    monkeypatch.setattr(PluginAnswers, "autotune", offers_more)
    with pytest.raises(DefinitionError, match=r"circ_pad that the bundle lacks: fp32 linear, fp32 linear, tactic 7"):
        plan_of(item, mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_only_the_bundled_tactics_are_offered(tensorrt, mode):
    item = sample("circ_pad")
    plan = plan_of(with_variants(item, [v for v in item.bundle.variants if v.tactic != 3]), mode=mode)
    assert {v.tactic for v in plan.offered} == {1, 2}


# --- options ---------------------------------------------------------------------------------------------------------


def test_options_reach_the_builder(tensorrt):
    plan = plan_of(
        sample("circ_pad"), version_compatible=True, workspace=1 << 20, optimization_level=5, profiling_verbosity="none"
    )
    made = read_plan(plan.data)
    assert (made["flags"], made["pools"], made["level"]) == (["VERSION_COMPATIBLE"], {"WORKSPACE": 1 << 20}, 5)
    assert plan.layers == ()
    lean = plan_of(sample("circ_pad"), version_compatible=True, exclude_lean_runtime=True)
    assert read_plan(lean.data)["flags"] == ["EXCLUDE_LEAN_RUNTIME", "VERSION_COMPATIBLE"]
    assert lean.flags == ("STRONGLY_TYPED", "VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude_lean_runtime": True}, "--exclude-lean-runtime is for version-compatible plans"),
        ({"hardware_compatibility": "turing"}, "unknown hardware compatibility 'turing'"),
        ({"profiling_verbosity": "all"}, "unknown profiling verbosity 'all'"),
        ({"optimization_level": 6}, "optimization level 6"),
        ({"workspace": -1}, "workspace of -1 bytes"),
        ({"jit": True, "tactic": 1}, "--tactic is for the bundle's kernels"),
        ({"shapes": TargetOptions(shape={"x": (1, 3, 32, 32)})}, "--shape is for ONNX models"),
    ],
)
def test_options_that_contradict_each_other(tensorrt, options, message):
    with pytest.raises(UsageError, match=message):
        plan_of(sample("circ_pad"), **options)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("10.8.0.43", "came with 10.9"),
        ("8.6.1", "came with 10.9"),
        ("10.14.1.48", "has a bug"),
        ("12.0.0.1", "up to 11.x"),
    ],
)
def test_refused_versions(version, reason, monkeypatch):
    with pytest.raises(MissingError, match=reason):
        require_supported(version)
    monkeypatch.setattr(tensorrt_api, "require_builder", lambda: full_tensorrt(version))
    with pytest.raises(MissingError, match=reason):
        plan_of(sample("circ_pad"))


@pytest.mark.parametrize("version", ["10.9.0.34", "10.13.3.9.post1", "10.15.1.29", "11.0.0.1", "11.4.0.106"])
def test_supported_versions(version):
    require_supported(version)


def test_timing_caches_are_kept_apart(tensorrt, tmp_path):
    """Two bundles that TensorRT's own cache keys cannot tell apart: same plugin and types, other attributes."""
    first = sample("elementwise_add")
    second = compiled("elementwise_add", TargetOptions(attributes={"block_size": 256}))
    for item in (first, second, first):
        plan_of(item, timing_cache=tmp_path)
    plan_of(sample("circ_pad"), timing_cache=tmp_path)
    assert plan_of(sample("circ_pad"), timing_cache=tmp_path, tactic=1).kernels[0].tactic == 1
    assert len(list(tmp_path.iterdir())) == 4
    assert all(path.read_bytes().startswith(CACHE) for path in tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"garbage", CACHE + b'{"gpu": "another"}'])
def test_foreign_timing_cache_is_replaced(tensorrt, tmp_path, content):
    plan_of(sample("circ_pad"), timing_cache=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    plan = plan_of(sample("circ_pad"), timing_cache=tmp_path)
    assert "was not accepted" in plan.messages[0]
    assert b'"here"' in path.read_bytes()


def test_timing_cache_that_cannot_be_written_costs_no_plan(tensorrt, tmp_path):
    (tmp_path / "file").write_text("no directory")
    plan = plan_of(sample("circ_pad"), timing_cache=tmp_path / "file")
    assert plan.kernels
    assert re.fullmatch(r"the timing cache .*/file/\w+\.timing was not written: .+", plan.messages[-1])


def test_a_directory_that_cannot_be_written_is_told_before_the_build(tensorrt, tmp_path, monkeypatch):
    monkeypatch.setattr(baking, "build_plan", lambda *arguments, **options: pytest.fail("it was built"))
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(UsageError, match=r"cannot write .*file/circ_pad\.plan: (.|\n)*bake --out"):
        bake(sample("circ_pad").path, options=PlanOptions(arch=SM_90), out=tmp_path / "file")


def test_progress_is_told(tensorrt):
    told = []
    build_plan(sample("inplace_add").bundle, sha256="0", options=PlanOptions(arch=SM_90), progress=told.append)
    assert told == ["Building Engine", "Building Engine 1/2", "Building Engine 2/2"]


@pytest.mark.parametrize("where", ["progress", "plugin"])
def test_ctrl_c_anywhere_in_the_build(tensorrt, monkeypatch, where):
    """TensorRT loses what is raised in a callback of its own, and Python raises wherever it is."""
    told = []

    def interrupted(*args):
        signal.raise_signal(signal.SIGINT)
        return genuine(*args)

    genuine = PluginAnswers.aot_impl if where == "plugin" else told.append
    if where == "plugin":
        monkeypatch.setattr(PluginAnswers, "aot_impl", interrupted)
    progress = told.append if where == "plugin" else interrupted
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build_plan(sample("inplace_add").bundle, sha256="0", options=PlanOptions(arch=SM_90), progress=progress)
    assert told[-1] == "Building Engine 1/2"  # where it was stopped
    assert signal.getsignal(signal.SIGINT) is before


def test_builder_that_is_not_there():
    if tensorrt_api.load().kind == "full":
        pytest.skip("this machine has the builder")
    with pytest.raises(MissingError, match="TensorRT's builder is not on this machine"):
        plan_of(sample("circ_pad"))


def test_what_tensorrt_says_is_in_the_error(tensorrt, monkeypatch):
    monkeypatch.setattr(builder, "add_calls", lambda *arguments: {})
    with pytest.raises(CheckError, match=r"could not build the plan(.|\n)*at least one output"):
        plan_of(sample("circ_pad"))


# --- several calls ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_", [TargetOptions(shape={"x": (2, 3, 8, 8)}), TargetOptions(**DYNAMIC)], ids=["static", "dynamic"]
)
@pytest.mark.parametrize("first", [False, True])
def test_users_model(tensorrt, tmp_path, request_, first):
    """Each call gets its own kernel, though plugin and attributes are the same: the shapes tell them apart."""
    path = chain_model(tmp_path / "model.onnx", ["N", 3, "H", "W"], first=first)
    item = compiled(str(path), request_)
    # The bundle has no input x where another node comes first, and so not what --shape made of its dimensions.
    plan = plan_of(item, model=path, shapes=request_)
    x = (
        Profile.static((2, 3, 8, 8))
        if request_.shape
        else Profile(min=(1, 3, 8, 8), opt=(2, 3, 9, 9), max=(4, 3, 16, 16))
    )
    assert (plan.inputs, plan.outputs) == ({"x": x}, ("y",))
    if not (first and request_.shape):  # what is dynamic has its name and range in the bundle
        assert plan_of(item, model=path).inputs == {"x": x}
    layers = read_plan(plan.data)["layers"]
    for layer, call in zip(layers, item.bundle.network.calls, strict=True):
        variant = next(v for v in plan.kernels if v.kernel == layer["kernel"])
        assert variant.call == call.name
        for i, point in enumerate(("min", "opt", "max")):
            at = {symbol: getattr(r, point) for symbol, r in item.bundle.network.ranges.items()}
            assert [v[i] for v in layer["extra_args"]] == [e.evaluate(at) for e in variant.extra_args]
            assert layer["launch"]["grid_x"][i] == variant.launch["grid_x"].evaluate(at)


@pytest.mark.parametrize("mode", MODES)
def test_float_attributes(tensorrt, mode):
    """1e-6 is no float32, and that is what TensorRT's ONNX parser hands on."""
    item = compiled("rms_norm", TargetOptions())
    plan = plan_of(item, mode=mode)
    assert [v.plugin for v in plan.kernels] == ["aotfactory::rms_norm"] * len(plan.kernels)
    assert len(read_plan(plan.data)["layers"]) == 1


def test_users_model_that_changed(tensorrt, tmp_path):
    path = chain_model(tmp_path / "model.onnx", [2, 3, 8, 8])
    item = compiled(str(path), TargetOptions())
    chain_model(path, [2, 3, 8, 8], pads=((1, 1, 1, 1), (2, 2, 2, 2)))
    with pytest.raises(UsageError, match=r"attribute pads is \[2, 2, 2, 2\] in the model; the bundle was compiled for"):
        plan_of(item, model=path)
    chain_model(path, [2, 3, 9, 9])
    with pytest.raises(UsageError, match="input x: dimension 2 is 8 in the bundle, 9 in the model"):
        plan_of(item, model=path)
    chain_model(path, [2, 3, "H", "W"])
    with pytest.raises(
        UsageError, match=r"dimension 3 is 8 in the bundle, 7 in --shape(.|\n)*compile the bundle again"
    ):
        plan_of(item, model=path, shapes=TargetOptions(shape={None: (2, 3, 8, 7)}))
    chain_model(path, [3, 8, 8])
    with pytest.raises(UsageError, match="input x has 3 dimensions in the model"):
        plan_of(item, model=path)
    between = compiled(str(chain_model(path, [2, 3, 8, 8], first=True)), TargetOptions())
    chain_model(path, [2, 3, 9, 9], first=True)
    with pytest.raises((DefinitionError, CheckError), match="no call has inputs of these shapes"):
        plan_of(between, model=path)


@pytest.mark.parametrize("names", [("/pad/circ_pad", "/pad/circ_pad"), ("", "")], ids=["paths", "none"])
def test_users_model_whose_nodes_have_such_names(tensorrt, tmp_path, names):
    path = chain_model(tmp_path / "model.onnx", [2, 3, 8, 8])
    model = onnx.load(path)
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    onnx.save(model, path)
    assert len(plan_of(compiled(str(path), TargetOptions()), model=path).kernels) == 2


def test_users_model_with_functions(tensorrt, tmp_path):
    path = chain_model(tmp_path / "model.onnx", [2, 3, 8, 8])
    model = onnx.load(path)
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("own", 1)]
    body = onnx.helper.make_function("own", "Twice", ["x"], ["y"], model.graph.node, opsets)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Twice", ["x"], ["y"], domain="own")], "m", model.graph.input, model.graph.output
    )
    onnx.save(onnx.helper.make_model(graph, functions=[body], opset_imports=opsets), path)
    assert len(plan_of(compiled(str(path), TargetOptions()), model=path).kernels) == 2


def test_users_weights_stay_where_they_are(tensorrt, tmp_path):
    """TensorRT's parser reads them itself; with them, a model may be larger than what it can be given at once."""
    path = chain_model(tmp_path / "model.onnx", [2, 3, 8, 8])
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(9, np.float32), "w"))
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    item = compiled(str(path), TargetOptions())
    (tmp_path / "weights").unlink()
    assert len(plan_of(item, model=path).kernels) == 2


def test_users_model_that_moved(tensorrt, tmp_path):
    path = chain_model(tmp_path / "model.onnx", [2, 3, 8, 8])
    item = compiled(str(path), TargetOptions())
    moved = path.rename(tmp_path / "moved.onnx")
    with pytest.raises(
        UsageError, match=r"cannot read .*model\.onnx: No such file(.|\n)*say where the model is: --model PATH"
    ):
        plan_of(item)
    record = bake(item.path, options=PlanOptions(arch=SM_90, model=moved), out=tmp_path).record
    assert record["options"]["mode"] == "onnx"
    assert record["model"] == {"path": str(moved), "sha256": hashlib.sha256(moved.read_bytes()).hexdigest()}
    assert record["inputs"] == {"x": {"min": (2, 3, 8, 8), "opt": (2, 3, 8, 8), "max": (2, 3, 8, 8)}}
    assert record["outputs"] == ["y"]


def test_open_dimension_of_another_input(tensorrt, tmp_path):
    x, y, z = (gs.Variable(n, np.float32) for n in "xyz")
    x.shape, z.shape = [2, 3, 8, 8], ["B", 4]
    w = gs.Variable("w", np.float32)
    nodes = [
        gs.Node("circ_pad", "pad", {"pads": np.array([1, 1], np.int32), "plugin_namespace": "aotfactory"}, [x], [y]),
        gs.Node("Relu", inputs=[z], outputs=[w]),
    ]
    path = tmp_path / "model.onnx"
    onnx.save(gs.export_onnx(gs.Graph(nodes, [x, z], [y, w], opset=17), do_type_check=False), path)
    item = compiled(str(path), TargetOptions(shape={"z": (2, 4)}))
    with pytest.raises(UsageError, match=r"input z: dimension 0 is open(.|\n)*--shape z="):
        plan_of(item, model=path)
    with pytest.raises(UsageError, match=r"--shape: .*model\.onnx has no input 'a'"):
        plan_of(item, model=path, shapes=TargetOptions(shape={"a": (1,)}))
    shapes = TargetOptions(min_shape={"z": (1, 4)}, opt_shape={"z": (2, 4)}, max_shape={"z": (3, 4)})
    assert read_plan(plan_of(item, model=path, shapes=shapes).data)["points"] == {"z_0": [1, 2, 3]}


def test_input_of_unknown_rank(tensorrt, tmp_path):
    path = chain_model(tmp_path / "model.onnx", [2, 3, 8, 8])
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    item = compiled(str(path), TargetOptions(shape={"x": (2, 3, 8, 8)}))
    assert plan_of(item, model=path).inputs == {"x": Profile.static((2, 3, 8, 8))}


# --- the written plan ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["elementwise_add", "inplace_add", "circ_pad", "non_zero"])
def test_bake_writes_plan_and_record(tensorrt, tmp_path, name, mode):
    item = sample(name)
    baked = bake(item.path, options=PlanOptions(arch=SM_90, mode=mode), out=tmp_path)
    assert baked.path == tmp_path / f"{name}.plan"
    assert baked.path.read_bytes() == baked.plan.data
    record = provenance.read(baked.path)
    assert record == json.loads(json.dumps(baked.record))
    assert record["plan"]["sha256"] == baked.plan.sha256
    assert record["bundle"]["sha256"] == item.sha256
    assert record["options"]["mode"] == mode
    assert {t["TacticValue"] for t in record["tactics"]} == {f"0x{v.tactic:x}" for v in baked.plan.kernels}
    assert {k["id"] for k in record["kernels"] if k["in_plan"]} == {v.id for v in baked.plan.kernels}
    assert provenance.problems(baked.path) == []


def test_a_plan_is_kept_and_found_again(tensorrt, tmp_path, monkeypatch):
    """For the same bundle, options, GPU, driver and TensorRT; with anything else it is built."""
    built = []
    build = baking.build_plan
    monkeypatch.setattr(baking, "build_plan", lambda *a, **k: built.append(1) or build(*a, **k))
    cache, item = Cache(tmp_path / "cache"), sample("circ_pad")

    def made(name="circ_pad", expected=0, **options):
        before = len(built)
        baked = bake(sample(name).path, options=PlanOptions(arch=SM_90, **options), out=tmp_path / "out", cache=cache)
        assert len(built) - before == expected
        assert provenance.problems(baked.path) == []
        return baked

    first, second = made(expected=1), made()
    assert (second.plan, second.record) == (first.plan, first.record)
    assert (tmp_path / "out/circ_pad.plan").read_bytes() == first.plan.data
    for options in ({"tactic": 1}, {"workspace": 2**20}, {"optimization_level": 2}, {"mode": "onnx"}):
        made(expected=1, **options)
        made(**options)
    made("circ_pad_dynamic", expected=1)
    made(timing_cache=tmp_path / "timing")  # it changes how long the search takes
    assert kept.key_for(item.bundle, "ab", PlanOptions(arch=SM_90, jit=True), "11.4") is None


@pytest.mark.parametrize("change", ["gpu", "driver", "tensorrt", "source"])
def test_a_plan_of_another_machine_is_built_anew(change, monkeypatch):
    bundle, options = sample("circ_pad").bundle, PlanOptions(arch=SM_90)
    before = kept.key_for(bundle, "ab", options, "11.4.0.106")
    assert (
        before == kept.key_for(bundle, "ab", options, "11.4.0.106") != kept.key_for(bundle, "ac", options, "11.4.0.106")
    )
    version = "11.4.0.107" if change == "tensorrt" else "11.4.0.106"
    monkeypatch.setattr(kept.cuda, "gpu_name", lambda: "another" if change == "gpu" else None)
    monkeypatch.setattr(kept.cuda, "driver_release", lambda: "580.1" if change == "driver" else None)
    if change == "source":
        monkeypatch.setattr(kept, "fingerprint", lambda: {"aotfactory": "another"})
    assert kept.key_for(bundle, "ab", options, version) != before


def test_a_plan_of_a_model_is_that_of_its_weights(tmp_path):
    weights = onnx.numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    graph = onnx.helper.make_graph([], "g", [], [], [weights])
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    before = list(kept._model_files(path))
    assert len(before) == 2
    (tmp_path / "w.bin").write_bytes(np.zeros((2, 2), np.float32).tobytes())
    assert list(kept._model_files(path)) != before


def test_a_kept_plan_that_is_damaged_is_built_anew(tensorrt, tmp_path):
    cache, item = Cache(tmp_path / "cache"), sample("circ_pad")
    options = PlanOptions(arch=SM_90)
    baked = bake(item.path, options=options, out=tmp_path, cache=cache)
    key = kept.key_for(item.bundle, item.sha256, options, tensorrt_api.load().version)
    for head in (b"", b"[]", b"{}", b'{"arch": {"name": "x"}}', b"[" * 100_000, b'{"arch": 1, "kernels": ["no"]}'):
        cache.put("plan", key, head + b"\nplan")
        assert kept.find(cache, key, item.bundle) is None
    assert bake(item.path, options=options, out=tmp_path, cache=cache).plan.data == baked.plan.data
    assert kept.find(cache, key, item.bundle) is not None


def test_plan_and_record_that_disagree(tensorrt, tmp_path):
    item = sample("circ_pad")
    path = bake(item.path, options=PlanOptions(arch=SM_90), out=tmp_path).path
    provenance.add_checks(path, [Check(name="trtexec", subject="circ_pad.plan", status="passed", detail="ran")])
    assert provenance.read(path)["checks"][0]["status"] == "passed"
    assert provenance.problems(path) == []
    path.write_bytes(path.read_bytes() + b" ")
    assert "is not the plan of this record" in provenance.problems(path)[0]


def test_bundle_that_is_another_since(tensorrt, tmp_path):
    directory = tmp_path / "circ_pad.aot"
    bundles.write(sample("circ_pad").bundle, directory)
    path = bake(directory, options=PlanOptions(arch=SM_90)).path
    assert path == tmp_path / "circ_pad.plan"
    assert provenance.problems(path) == []
    bundles.write(sample("circ_pad_dynamic").bundle, directory)
    assert "no longer the bundle" in provenance.problems(path)[0]


def test_the_bundle_is_found_from_any_directory(tensorrt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundles.write(sample("circ_pad").bundle, Path("here/circ_pad.aot"))
    path = bake(Path("here/circ_pad.aot"), options=PlanOptions(arch=SM_90)).path.resolve()
    bundles.write(sample("circ_pad_dynamic").bundle, Path("elsewhere/here/circ_pad.aot"))
    monkeypatch.chdir("elsewhere")
    assert provenance.problems(path) == []
    bundles.write(sample("circ_pad_dynamic").bundle, tmp_path / "here" / "circ_pad.aot")
    assert "no longer the bundle" in provenance.problems(path)[0]


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (None, UsageError, "has no record"),
        ("{", DefinitionError, "damaged record"),
        ("[]", DefinitionError, "object"),
        ('{"schema": "aotfactory.plan/1"}', DefinitionError, "lacks 'name', 'target', 'plan'"),
        ('{"schema": "aotfactory.plan/1", "plan": 3}', DefinitionError, "lacks 'name'"),
    ],
)
def test_unreadable_record(tmp_path, content, kind, message):
    plan = tmp_path / "x.plan"
    plan.write_bytes(b"plan")
    if content is not None:
        provenance.record_path(plan).write_text(content)
    with pytest.raises(kind, match=message):
        provenance.problems(plan)


def test_record_that_cannot_be_read(tmp_path):
    plan = tmp_path / "x.plan"
    plan.write_bytes(b"plan")
    provenance.record_path(plan).mkdir()
    with pytest.raises(UsageError, match=r"cannot read .*x\.plan\.json: is not a regular file"):
        provenance.problems(plan)


def test_failed_bake_leaves_the_old_plan(tensorrt, tmp_path):
    item = sample("circ_pad")
    path = bake(item.path, options=PlanOptions(arch=SM_90), out=tmp_path).path
    before = path.read_bytes(), provenance.record_path(path).read_bytes()
    with pytest.raises(AotError):
        bake(item.path, options=PlanOptions(arch=SM_90, tactic=9), out=tmp_path)
    assert (path.read_bytes(), provenance.record_path(path).read_bytes()) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["circ_pad.plan", "circ_pad.plan.json"]


# --- for real --------------------------------------------------------------------------------------------------------


@pytest.mark.tensorrt
@pytest.mark.gpu
@pytest.mark.parametrize("jit", [False, True], ids=["aot", "jit"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SHAPES)
def test_tensorrt_builds_the_samples(name, mode, jit, tmp_path):
    item = sample(name, portable=True)
    baked = bake(item.path, options=PlanOptions(mode=mode, jit=jit), out=tmp_path)
    assert provenance.problems(baked.path) == []
    assert jit or {v.call for v in baked.plan.kernels} == {c.name for c in item.bundle.network.calls}


@pytest.mark.tensorrt
@pytest.mark.gpu
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SHAPES)
def test_every_tactic_is_built_saved_loaded_and_right(name, mode, tmp_path):
    _, inputs, references = case(name, "max")
    item = sample(name, portable=True)
    for tactic in sorted({v.tactic for v in item.bundle.variants}):
        baked = bake(item.path, options=PlanOptions(mode=mode, tactic=tactic), out=tmp_path)
        assert {v.tactic for v in baked.plan.kernels} == {tactic}
        check_outputs(execute(baked.path.read_bytes(), inputs), references)


@pytest.mark.tensorrt
@pytest.mark.gpu
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SHAPES)
def test_jit_plans_are_right(name, mode, tmp_path):
    """In this process, which has the plugins: their `impl` runs in Python, by torch."""
    pytest.importorskip("torch")
    _, inputs, references = case(name, "min")
    path = bake(sample(name, portable=True).path, options=PlanOptions(mode=mode, jit=True), out=tmp_path).path
    check_outputs(execute(path.read_bytes(), inputs), references)


@pytest.mark.tensorrt
@pytest.mark.gpu
def test_users_model_is_right(tmp_path):
    """At shapes that are neither end of the profile nor its opt."""
    model = chain_model(tmp_path / "model.onnx", ["N", 3, "H", "W"], first=True)
    item = compiled(str(model), TargetOptions(**DYNAMIC), portable=True)
    path = bake(item.path, options=PlanOptions(mode="onnx", shapes=TargetOptions(**DYNAMIC))).path
    x = make_input("x", "fp32", (3, 3, 11, 13))
    y = np.pad(np.maximum(x, 0), ((0, 0), (0, 0), (1, 1), (1, 1)), "wrap")
    check_outputs(execute(path.read_bytes(), {"x": x}), {"y": np.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1)), "wrap")})


@pytest.mark.tensorrt
@pytest.mark.gpu
def test_tensorrt_builds_version_compatible_plans(tmp_path):
    options = PlanOptions(version_compatible=True, exclude_lean_runtime=True)
    assert bake(sample("circ_pad_dynamic", portable=True).path, options=options, out=tmp_path).plan.data


def test_options_and_documentation_agree():
    documented = inspect.getdoc(PlanOptions)
    assert all(f"{field.name}" in documented for field in dataclasses.fields(PlanOptions))


def test_rebased_expressions_of_all_samples_are_exact():
    from aotfactory.core.dimensions import dimension, over_inputs

    for name in SHAPES:
        bundle: Bundle = sample(name).bundle
        for call in bundle.network.calls:
            shapes = [bundle.network.tensor(n).shape for n in call.inputs]
            for variant in (v for v in bundle.variants if v.call == call.name):
                for expr in (*variant.launch.values(), *variant.extra_args):
                    for point in ("min", "opt", "max"):
                        at = {s: getattr(r, point) for s, r in bundle.network.ranges.items()}
                        dims = {
                            dimension(i, axis): d.evaluate(at)
                            for i, shape in enumerate(shapes)
                            for axis, d in enumerate(shape)
                            if not isinstance(d, Constant)
                        }
                        assert over_inputs(expr, shapes).evaluate(dims) == expr.evaluate(at)
