# SPDX-License-Identifier: Apache-2.0
"""Every call to TensorRT: documented, there in both major versions, and refused by the double where it is misused."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from doubles.builder import Builder, Network, Profile
from doubles.parser import OnnxParser
from doubles.plugin_layer import LaunchParams, PluginLayer, SymExprs
from doubles.runtime import Runtime, full_tensorrt
from doubles.samples import SM_90, sample
from doubles.signatures import USED, Double, RefusedError, documented, trt

import aotfactory
from aotfactory.core.errors import AotError, CheckError
from aotfactory.plan.builder import build_plan
from aotfactory.plan.bundled_kernels import bundled_kernels
from aotfactory.plan.log import make_logger
from aotfactory.plan.options import HARDWARE, VERBOSITY, PlanOptions
from aotfactory.plan.tensorrt_network import add_calls, parse_model
from aotfactory.plugins import tensorrt_api
from aotfactory.plugins.catalog import Catalog

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "tensorrt.md"
OTHER_BINDINGS = "AOTFACTORY_OTHER_BINDINGS"
"""A directory that holds `tensorrt_bindings` of another version, as unpacked from its wheel."""


def table(heading: str) -> list[list[str]]:
    """The code cells of each row of the table under a heading of the document."""
    section = DOCUMENT.read_text().split(f"### {heading}\n")[1].split("\n#")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return [re.findall(r"`([^`]+)`", row) for row in rows]


def _like(signature: str) -> str:
    """pybind11 calls what it takes a list for by another name since 3."""
    return signature.replace("Sequence[", "list[")


def mismatches(bindings) -> list[str]:
    """What the documented calls and members are not like in some bindings."""
    wrong = []
    for call, signature in [*table("Calls"), *(table("Calls with a plugin library") or [])]:
        owner, name = call.split(".")
        kinds = getattr(getattr(bindings, owner, None), "__mro__", ())
        member = next((vars(kind)[name] for kind in kinds if name in vars(kind)), None)
        if member is None:
            wrong.append(f"{call} does not exist")
        elif _like(signature) not in map(_like, documented(member)):
            wrong.append(f"{call} is {documented(member)}, not {signature}")
    for (name,) in table("Enumerations"):
        owner, member = name.split(".")
        if not hasattr(getattr(bindings, owner, None), member):
            wrong.append(f"{name} does not exist")
    return wrong


def test_documented_calls_exist_in_the_installed_bindings():
    assert mismatches(trt) == []


def test_a_wrong_signature_is_noticed(monkeypatch):
    rows = [["Builder.create_network", "create_network(flags: str) -> INetworkDefinition"], ["Builder.build", "x"]]
    tables = {"Calls": rows, "Enumerations": [["BuilderFlag.FP5"]]}
    monkeypatch.setattr(sys.modules[__name__], "table", tables.get)
    assert [re.sub(r" is .*", " is", text) for text in mismatches(trt)] == [
        "Builder.create_network is",
        "Builder.build does not exist",
        "BuilderFlag.FP5 does not exist",
    ]


WITH_STUBS = """
import json, re, sys
from pathlib import Path
bindings, tests = Path(sys.argv[1]), Path(sys.argv[2])
sys.path[:0] = [str(tests), str(tests / "plan")]
from aotfactory.plugins.stubs import load_stubs
extension = next((bindings / "tensorrt_bindings").glob("tensorrt*.so")).read_bytes()
major = int(re.search(rb"libnvinfer[.]so[.]([0-9]+)", extension)[1])
load_stubs(major)
import test_tensorrt_calls as calls
for name in [m for m in sys.modules if m.split(".")[0] in ("tensorrt", "tensorrt_bindings")]:
    del sys.modules[name]
sys.path.insert(0, str(bindings))
sys.modules["tensorrt_libs"] = None
import tensorrt_bindings
print(json.dumps([tensorrt_bindings.__version__, calls.mismatches(tensorrt_bindings)]))
"""


def test_documented_calls_exist_in_other_bindings():
    """Set AOTFACTORY_OTHER_BINDINGS to the unpacked wheel of `tensorrt-cu13-bindings==10.13.*`."""
    other = os.environ.get(OTHER_BINDINGS)
    if not other:
        pytest.skip(f"{OTHER_BINDINGS} is not set")
    command = [sys.executable, "-c", WITH_STUBS, other, str(Path(__file__).resolve().parents[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    version, wrong = json.loads(done.stdout.splitlines()[-1])
    assert version.split(".")[0] != trt.__version__.split(".")[0]
    assert wrong == []


def test_every_call_that_is_made_is_documented(monkeypatch, tmp_path):
    monkeypatch.setattr(tensorrt_api, "require_builder", full_tensorrt)
    item = sample("circ_pad_dynamic", portable=True)
    USED.clear()
    for mode in ("network", "onnx"):
        options = PlanOptions(
            arch=SM_90,
            mode=mode,
            version_compatible=True,
            hardware_compatibility="ampere+",
            workspace=1 << 20,
            optimization_level=1,
            timing_cache=tmp_path,
        )
        build_plan(item.bundle, sha256=item.sha256, options=options)
    build_plan(sample("inplace_add").bundle, sha256="0", options=PlanOptions(arch=SM_90))
    parser = _Refusing(OnnxParser(Network(0), make_logger(trt)))
    circ_pad = sample("circ_pad").bundle
    with bundled_kernels(circ_pad, arch=SM_90), pytest.raises(CheckError, match="refused the model"):
        parse_model(parser, circ_pad.network, PlanOptions())
    made = {name for name in USED if not name.startswith("KernelLaunchParams")}
    inherited = {"ITensor.name", *(f"ILogger.{n}" for n in ("__init__", "log"))}
    inherited |= {f"IProgressMonitor.{n}" for n in ("__init__", "phase_start", "step_complete", "phase_finish")}
    assert {call for call, _ in table("Calls")} == made | inherited


class _Refusing:
    """A parser whose every model is garbage."""

    def __init__(self, parser):
        self.parser = parser

    def parse(self, model, path):
        return self.parser.parse(b"garbage", path=path)

    def __getattr__(self, name):
        return getattr(self.parser, name)


def test_every_enumeration_member_in_the_code_is_documented():
    found = set()
    for path in Path(aotfactory.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            # trt.BuilderFlag.REFIT, also where trt is an attribute of something
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                owner = node.value.value
                name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
                if name == "trt" and node.attr.isupper():
                    found.add(f"{node.value.attr}.{node.attr}")
    found |= {f"HardwareCompatibilityLevel.{name}" for name in HARDWARE.values()}
    found |= {f"ProfilingVerbosity.{name}" for name in VERBOSITY.values()}
    assert {name for (name,) in table("Enumerations")} == found


def test_only_the_engine_uses_the_builder():
    users = [
        path.name
        for path in Path(aotfactory.__file__).parent.rglob("*.py")
        if re.search(r"\btrt\.Builder\(", path.read_text())
    ]
    assert users == ["builder.py"]


# --- misuse ----------------------------------------------------------------------------------------------------------

TYPED = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


class Workbench:
    """A network of one circular padding in the double, still to be broken."""

    def __init__(self, flags=TYPED, shape=(1, 3, 32, 32)):
        self.logger = make_logger(trt)
        self.builder = Builder(self.logger)
        self.config = self.builder.create_builder_config()
        self.network = self.builder.create_network(flags)
        self.x = self.network.add_input("x", trt.DataType.FLOAT, shape)
        self.pads = np.array([1, 1, 1, 1], np.int32)

    def add(self, name="circ_pad", namespace="aotfactory", **keywords):
        from tensorrt.plugin import op

        attributes = {"circ_pad": {"pads": self.pads}, "inplace_add": {"delta": 1}}[name]
        layer = self.network.add_plugin(getattr(getattr(op, namespace), name)(self.x, **attributes), **keywords)
        self.network.mark_output(layer.get_output(0))
        return layer

    def refusal(self) -> str:
        """Build; what the builder says against it."""
        assert self.builder.build_serialized_network(self.network, self.config) is None
        return " ".join(self.logger.errors)


@pytest.fixture
def bench():
    Catalog().load_all()
    with bundled_kernels(sample("circ_pad").bundle, arch=SM_90):
        yield Workbench()


CALLS = {
    "unknown method": (lambda b: b.builder.build_engine(b.network), "Builder.build_engine does not exist"),
    "method that the double lacks": (lambda b: b.network.add_relu, "does not exist"),
    "method gone in 11": (lambda b: b.config.set_calibration_profile, "IBuilderConfig.set_calibration_profile"),
    "flag as a number": (lambda b: b.config.set_flag(4), "set_flag"),
    "flag of another kind": (lambda b: b.config.set_flag(trt.MemoryPoolType.WORKSPACE), "set_flag"),
    "unknown network flag": (lambda b: b.builder.create_network(1 << 20), "unknown network flags"),
    "unknown keyword": (lambda b: b.network.add_input("z", trt.DataType.FLOAT, (1,), name2=1), "add_input"),
    "missing argument": (lambda b: b.network.add_input("z", trt.DataType.FLOAT), "missing a required argument"),
    "data type of NumPy": (lambda b: b.network.add_input("z", np.float32, (1,)), "add_input"),
    "shape of strings": (lambda b: b.network.add_input("z", trt.DataType.FLOAT, ("N", 3)), "add_input"),
    "plugin that cannot be called": (lambda b: b.network.add_plugin("circ_pad", aot=True), "add_plugin"),
    "aot as a number": (lambda b: b.network.add_plugin(lambda request: None, aot=1), "add_plugin"),
    "aot misspelt": (lambda b: b.network.add_plugin(lambda request: None, AOT=True), "add_plugin"),
    "output that is no tensor": (lambda b: b.network.mark_output("y"), "mark_output"),
    "read-only property": (lambda b: setattr(b.network, "num_inputs", 2), "num_inputs|no setter"),
    "attribute that does not exist": (lambda b: setattr(b.config, "max_workspace_size", 1), "no attribute"),
    "name that is no string": (lambda b: setattr(b.network, "name", 3), "INetworkDefinition.name"),
    "verbosity as a string": (lambda b: setattr(b.config, "profiling_verbosity", "DETAILED"), "profiling_verbosity"),
    "profile out of order": (lambda b: Profile().set_shape("x", (2,), (1,), (3,)), "min <= opt <= max"),
    "logger that is none": (lambda b: Builder(print), "__init__"),
    "network of another class": (lambda b: b.builder.build_serialized_network(b.config, b.network), "build_serialized"),
    "cache as text": (lambda b: b.config.create_timing_cache("x"), "create_timing_cache"),
    "plan as a path": (lambda b: Runtime(b.logger).deserialize_cuda_engine("x.plan"), "deserialize_cuda_engine"),
    "launch parameter as a number": (lambda b: setattr(LaunchParams(), "grid_x", 7), "KernelLaunchParams.grid_x"),
    "launch parameter that does not exist": (lambda b: setattr(LaunchParams(), "cluster_x", 7), "cluster_x"),
    "extra argument out of range": (lambda b: SymExprs().__setitem__(0, 1), "ISymExprs"),
    "plugin of another kind": (lambda b: PluginLayer([], object(), 0), "no IPluginV3"),
}


@pytest.mark.parametrize("name", CALLS)
def test_misuse_of_a_call(bench, name):
    action, message = CALLS[name]
    with pytest.raises((RefusedError, AttributeError), match=message):
        action(bench)


def test_wrong_namespace(bench):
    with pytest.raises(AttributeError, match="elsewhere"):
        bench.add(namespace="elsewhere")


def test_both_implementations_and_no_preference(bench, capfd):
    with pytest.raises(ValueError, match="has both AOT and JIT implementations"):
        bench.add()


def test_preference_by_network_flag():
    Catalog().load_all()
    with bundled_kernels(sample("circ_pad").bundle, arch=SM_90):
        for kind, is_aot in (("AOT", True), ("JIT", False)):
            flag = getattr(trt.NetworkDefinitionCreationFlag, f"PREFER_{kind}_PYTHON_PLUGINS")
            layer = Workbench(flags=TYPED | 1 << int(flag)).add()
            assert layer._aot is is_aot


def test_network_that_is_not_strongly_typed():
    Catalog().load_all()
    # What the flag is worth without the shift that makes a bit of it.
    unshifted = Workbench(flags=int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    unshifted.network.mark_output(unshifted.x)
    assert "not strongly typed" in unshifted.refusal()


def test_no_output(bench):
    assert "at least one output" in bench.refusal()


def test_lean_runtime_excluded_from_a_plan_that_has_none(bench):
    bench.add(aot=True)
    bench.config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    assert "needs kVERSION_COMPATIBLE" in bench.refusal()


def test_alias_without_the_preview_feature():
    Catalog().load_all()
    with bundled_kernels(sample("inplace_add").bundle, arch=SM_90):
        bench = Workbench(shape=(10, 3, 32, 32))
        bench.add("inplace_add", aot=True)
        assert "kALIASED_PLUGIN_IO_10_03 is not enabled" in bench.refusal()


def test_dynamic_input_without_profile():
    item = sample("circ_pad_dynamic")
    with bundled_kernels(item.bundle, arch=SM_90):
        bench = Workbench(shape=(-1, 3, -1, -1))
        bench.add(aot=True)
        assert "no optimization profile for x" in bench.refusal()
        profile = Profile()
        profile.set_shape("x", (1, 4, 8, 8), (1, 4, 8, 8), (1, 4, 8, 8))
        bench.config.add_optimization_profile(profile)
        assert "differs from its static dimension 1" in bench.refusal()


def test_two_outputs_of_one_name(bench):
    for _ in range(2):
        bench.add(aot=True).get_output(0).name = "y"
    assert "have one name" in bench.refusal()


def test_kernel_under_a_key_that_was_not_compiled(bench):
    layer = bench.add(aot=True)
    plugin = layer._plugin
    plugin.set_tactic(5)
    desc = trt.PluginTensorDesc()
    with pytest.raises(AssertionError, match="not in kernel_map"):
        plugin.get_kernel([desc], [desc])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: {"text": v.text.replace(v.kernel, "other")}, "has no entry"),
        (lambda v: {"extra_args": (*v.extra_args, v.launch["grid_x"])}, "parameters, TensorRT passes"),
        (lambda v: {"text": v.text, "dtypes": ("fp16", "fp16")}, "could not find any implementation"),
    ],
)
def test_kernel_that_does_not_fit(change, message):
    bundle = sample("circ_pad").bundle
    variants = tuple(dataclasses.replace(v, **change(v)) for v in bundle.variants)
    with bundled_kernels(dataclasses.replace(bundle, variants=variants), arch=SM_90):
        bench = Workbench()
        bench.add(aot=True)
        assert message in bench.refusal()


ONNX = {
    "namespace missing": ({"pads": np.array([1, 1, 1, 1], np.int32), "aot": 1}, "Plugin not found"),
    "namespace wrong": ({"plugin_namespace": "elsewhere", "aot": 1}, "Plugin not found"),
    "version wrong": ({"plugin_namespace": "aotfactory", "plugin_version": "2", "aot": 1}, "Plugin not found"),
    "aot missing": ({"plugin_namespace": "aotfactory"}, "both AOT and JIT"),
    "aot as text": ({"plugin_namespace": "aotfactory", "aot": "1"}, "aot of pad is not an integer"),
    "attribute as int64": (
        {"plugin_namespace": "aotfactory", "aot": 1, "pads": np.array([1, 1, 1, 1], np.int64)},
        "unsupported in plugin fields",
    ),
}


@pytest.mark.parametrize("name", ONNX)
def test_misuse_of_the_parser(bench, name):
    attributes, message = ONNX[name]
    attributes = {"pads": np.array([1, 1, 1, 1], np.int32), **attributes}
    made = [
        onnx.helper.make_attribute(k, onnx.numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v)
        for k, v in attributes.items()
    ]
    node = onnx.helper.make_node("circ_pad", ["x"], ["y"], name="pad")
    node.attribute.extend(made)
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 32, 32])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]))
    bench.network = bench.builder.create_network(TYPED)
    parser = OnnxParser(bench.network, bench.logger)
    assert not parser.parse(model.SerializeToString())
    assert message in parser.get_error(0).desc()


def test_damaged_plan(bench):
    assert Runtime(bench.logger).deserialize_cuda_engine(b"garbage") is None
    assert "magicTag mismatch" in bench.logger.errors[0]


def test_doubles_cannot_invent_calls():
    with pytest.raises(TypeError, match="NVIDIA's Builder has not"):
        type("Invented", (Double,), {"make_coffee": lambda self: None}, real="Builder")
    invented = property(lambda self: 0, lambda self, value: None)
    with pytest.raises(TypeError, match="is not a property that can be set"):
        type("Invented", (Double,), {"num_inputs": invented}, real="INetworkDefinition")


def test_doubles_return_what_nvidias_return():
    class Wrong(Double, real="IBuilderConfig"):
        def add_optimization_profile(self, profile):
            return "first"

    with pytest.raises(TypeError, match="returned 'first', not int"):
        Wrong().add_optimization_profile(Profile())


def test_add_calls_that_are_refused():
    class Refusing(Network, real="INetworkDefinition"):
        def add_plugin(self, *args, **keywords):
            return None

    real = tensorrt_api.load()
    item = sample("circ_pad")
    with bundled_kernels(item.bundle, arch=SM_90), pytest.raises(AotError, match="refused the call circ_pad"):
        add_calls(trt, real.trtp, Refusing(TYPED), item.bundle.network, PlanOptions())
