# SPDX-License-Identifier: Apache-2.0
"""`aotfactory library`: made, refused, and loaded by NVIDIA's own plugin registry."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import launcher_bundles as hand
import pytest
from commands import Run

from aotfactory.api.library import library
from aotfactory.core.errors import MissingError, UsageError

ATTRIBUTES: dict[str, Any] = {
    "pads": {"type": "int32[]", "value": [1, 1]},
    "scale": {"type": "float", "value": 0.1},
    "mode": {"type": "str", "value": "circular"},
    "flag": {"type": "bool", "value": True},
    "half": {"type": "float16[]", "value": [0.5, "inf"]},
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    content = hand.manifest()
    content["calls"][0]["attributes"] = ATTRIBUTES
    return hand.write(tmp_path / "sample.aot", hand.own_names(content))


class TestErrors:
    def test_headers_are_missing(self, directory: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CMAKE_FIND_ROOT_PATH", str(directory))
        monkeypatch.setenv("AOTFACTORY_CACHE", str(directory.parent / "cache"))
        if any(Path(p, "NvInferRuntime.h").exists() for p in ("/usr/include", "/usr/include/x86_64-linux-gnu")):
            pytest.skip("TensorRT's headers are installed")
        output = directory.parent / "libsample.so"
        result = run("library", str(directory), "-o", str(output), "--tensorrt-root", str(directory.parent))
        assert result.code == 3
        assert "NvInferRuntime.h not found" in result.err
        assert "set TENSORRT_ROOT" in result.err
        assert not output.exists()

    def test_compiler_is_missing(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(directory))
        monkeypatch.delenv("CXX", raising=False)
        with pytest.raises(MissingError, match="cmake is needed to build the plugin"):
            library([directory], directory.parent / "libsample.so")

    def test_name(self, directory: Path) -> None:
        with pytest.raises(UsageError, match="is not a name for a library"):
            library([directory], directory.parent / "sample.plan")

    def test_no_bundle(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is not a bundle"):
            library([tmp_path], tmp_path / "libsample.so")


# What NVIDIA's registry finds in a library; in a process of its own, for a registry lives as long as the process.
REGISTRY = """
import json, sys
import numpy as np
from aotfactory.plugins import tensorrt_api
trt = tensorrt_api.load().trt

registry = trt.get_plugin_registry()
registry.load_library(sys.argv[1])
creator = registry.get_creator("copy", "1", "test")
kinds = {"int32": "INT32", "float64": "FLOAT64", "float32": "FLOAT32", "int8": "INT8", "int64": "INT64",
         "float16": "FLOAT16"}

def field(name, value):
    if isinstance(value, str):
        return trt.PluginField(name, value.encode(), trt.PluginFieldType.CHAR)
    array = np.array(value[1], value[0])
    if value[0] == "float16":
        return trt.PluginField(name, array.tobytes(), trt.PluginFieldType.UNKNOWN)
    return trt.PluginField(name, array, getattr(trt.PluginFieldType, kinds[value[0]]))

def create(values):
    fields = trt.PluginFieldCollection([field(n, v) for n, v in values.items()])
    return creator.create_plugin("layer", fields, trt.TensorRTPhase.BUILD)

found = {"fields": {f.name: f.type.name for f in creator.field_names}, "created": []}
for values in json.loads(sys.argv[2]):
    plugin = create(values)
    if plugin is None:
        found["created"].append(None)
        continue
    build = plugin.get_capability_interface(trt.PluginCapabilityType.BUILD)
    core = plugin.get_capability_interface(trt.PluginCapabilityType.CORE)
    found["created"].append({
        "interface": type(build).__name__, "outputs": build.num_outputs, "id": build.timing_cache_id,
        "metadata": build.metadata_string, "name": core.plugin_name, "namespace": core.plugin_namespace,
    })
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    content = hand.manifest()
    content["calls"][0]["attributes"] = ATTRIBUTES
    bundle = hand.write(folder / "sample.aot", hand.own_names(content))
    return library([bundle], folder / "libsample.so").path


def python(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


GOOD: dict[str, Any] = {
    "pads": ["int32", [1, 1]],
    "scale": ["float64", [0.1]],
    "mode": "circular",
    "flag": ["int8", [1]],
    "half": ["float16", [0.5, float("inf")]],
}
"""Values as TensorRT's network API passes them: types, or texts."""


@pytest.mark.plugin_library
class TestRegistry:
    @staticmethod
    def ask(made: Path, *values: dict[str, Any]) -> tuple[dict[str, Any], str]:
        done = python(REGISTRY, made, json.dumps(values))
        return json.loads(done.stdout.splitlines()[-1]), done.stderr + done.stdout

    def test_creator(self, made: Path) -> None:
        found, _ = self.ask(made, GOOD)
        assert found["fields"] == {
            "pads": "INT32", "scale": "FLOAT64", "mode": "CHAR", "flag": "INT8", "half": "FLOAT16"
        }  # fmt: skip
        (plugin,) = found["created"]
        assert (plugin["namespace"], plugin["name"], plugin["outputs"]) == ("test", "copy", 1)
        assert plugin["interface"] in ("IPluginV3OneBuildV2", "IPluginV3OneBuild")
        assert len(plugin["id"]) == 64
        assert "pads=" in plugin["metadata"]

    def test_attributes_arrive_as_the_onnx_parser_passes_them(self, made: Path) -> None:
        """Integers in 32 bits, floats in float32, texts with a zero byte, float16 as such."""
        passed = {**GOOD, "scale": ["float32", [0.1]], "mode": "circular\0", "flag": ["int32", [1]]}
        found, _ = self.ask(made, passed)
        assert found["created"][0] is not None

    @pytest.mark.parametrize(
        "wrong",
        [
            {"pads": ["int32", [1, 2]]},
            {"pads": ["int32", [1]]},
            {"pads": ["float32", [1, 1]]},
            {"scale": ["float64", [0.2]]},
            {"mode": "zeros"},
            {"flag": ["int8", [0]]},
            {"half": ["float16", [0.5, 0.5]]},
            {"pads": None},
        ],
    )
    def test_other_attributes_have_no_kernels(self, made: Path, wrong: dict[str, Any]) -> None:
        values = {n: v for n, v in {**GOOD, **wrong}.items() if v is not None}
        found, said = self.ask(made, values)
        assert found["created"] == [None]
        assert "test::copy: no kernels for these attributes: the library was made for" in said
        assert "pads=" in said

    def test_no_python_and_no_tensorrt_is_linked(self, made: Path) -> None:
        linked = subprocess.run(["ldd", made], capture_output=True, text=True, check=True).stdout
        assert not [name for name in ("python", "nvinfer", "cuda", "stdc++") if name in linked]

    def test_hosts_that_only_open_it_find_the_plugins(self, made: Path) -> None:
        """DeepStream, ONNX Runtime and Triton's server use dlopen; loadLibrary after that must work all the same."""
        script = """
import ctypes, sys
from aotfactory.plugins import tensorrt_api
registry = tensorrt_api.load().trt.get_plugin_registry()
found = lambda: registry.get_creator("copy", "1", "test") is not None
seen = [found()]
library = ctypes.CDLL(sys.argv[1])
seen.append(found())
handle = registry.load_library(sys.argv[1])
seen.append(found())
registry.deregister_library(handle)
seen.append(found())
print(seen)
"""
        done = python(script, made)
        assert done.stdout.splitlines()[-1] == "[False, True, True, False]"
        assert not done.stderr
