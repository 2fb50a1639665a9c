# SPDX-License-Identifier: Apache-2.0
"""Doubles of the runtime, the engine and its inspector, and the module that offers all doubles."""

from __future__ import annotations

import json
from typing import Any

from aotfactory.plugins import tensorrt_api
from aotfactory.plugins.tensorrt_api import TensorRT
from doubles.builder import MAGIC, Builder
from doubles.library_layer import Registry
from doubles.parser import OnnxParser
from doubles.signatures import Double, trt


class Inspector(Double, real="EngineInspector"):
    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan

    def get_engine_information(self, format: Any) -> str:
        assert format == trt.LayerInformationFormat.JSON
        detailed = self._plan["verbosity"] == "DETAILED"
        layers: list[Any] = [
            {"Name": layer["name"], "LayerType": "PluginV3", "TacticValue": f"0x{layer['tactic']:x}"}
            if detailed
            else layer["name"]
            for layer in self._plan["layers"]
        ]
        return json.dumps({"Layers": [] if self._plan["verbosity"] == "NONE" else layers, "Bindings": []})


class Engine(Double, real="ICudaEngine"):
    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan

    @property
    def num_io_tensors(self) -> int:
        return len(self._plan["tensors"])

    def get_tensor_name(self, index: int) -> str:
        name: str = self._plan["tensors"][index]["name"]
        return name

    def get_tensor_dtype(self, name: str) -> Any:
        found = next(t for t in self._plan["tensors"] if t["name"] == name)
        return getattr(trt.DataType, found["dtype"])

    def create_engine_inspector(self) -> Any:
        return Inspector(self._plan)


class Runtime(Double, real="Runtime"):
    def __init__(self, logger: Any) -> None:
        self._logger, self._allowed, self._registry = logger, False, Registry()

    @property
    def engine_host_code_allowed(self) -> bool:
        return self._allowed

    @engine_host_code_allowed.setter
    def engine_host_code_allowed(self, value: bool) -> None:
        self._allowed = value

    def get_plugin_registry(self) -> Any:
        return self._registry

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        data = bytes(serialized_engine)
        if not data.startswith(MAGIC):
            self._logger.log(trt.ILogger.ERROR, "stdArchiveReader.h: magicTag mismatch")
            return None
        plan = read_plan(data)
        lean = "VERSION_COMPATIBLE" in plan["flags"] and "EXCLUDE_LEAN_RUNTIME" not in plan["flags"]
        if lean and not self._allowed:
            self._logger.log(trt.ILogger.ERROR, "IRuntime::getEngineHostCodeAllowed() must be true")
            return None
        needed = {layer["library"] for layer in plan["layers"] if "library" in layer}
        if missing := needed - {*self._registry._paths, *plan.get("libraries", [])}:
            self._logger.log(trt.ILogger.ERROR, f"Cannot deserialize plugin: no creator in {missing}")
            return None
        return Engine(plan)


def read_plan(data: bytes) -> dict[str, Any]:
    """What is in a plan of the builder's double."""
    plan: dict[str, Any] = json.loads(data[len(MAGIC) :])
    return plan


class Module:
    """The module ``tensorrt``: NVIDIA's, but for what this machine has not."""

    Builder, OnnxParser, Runtime = Builder, OnnxParser, Runtime

    def __init__(self, version: str) -> None:
        self.__version__ = version

    def __getattr__(self, name: str) -> Any:
        return getattr(trt, name)


def full_tensorrt(version: str = "") -> TensorRT:
    """What `tensorrt_api.require_builder` gives where the full TensorRT is."""
    real = tensorrt_api.load()
    version = version or real.version
    return TensorRT(kind="full", version=version, trt=Module(version), trtp=real.trtp)
