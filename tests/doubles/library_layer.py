# SPDX-License-Identifier: Apache-2.0
"""A plugin of a plugin library in the builder's double: NVIDIA's real registry and creator make the real C++ plugin.

The bindings cannot call the interfaces of a C++ plugin, so what the builder would ask it is asked by the C++ driver of
the tests (`plugin_cases`), of the same library and with the same fields.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aotfactory.core import dtypes, expressions
from aotfactory.core.dimensions import dimension
from aotfactory.core.expressions import Constant, Expr, Operation, SizeTensor, Symbol, operation
from doubles.plugin_layer import BuildError, Points, Tensor, _desc
from doubles.signatures import Double, RefusedError, trt

DRIVER = "PLUGIN_DRIVER"
"""The environment's variable that names the driver."""

handles: dict[str, Any] = {}
"""Of the libraries that the process has loaded."""
made: dict[int, dict[str, Any]] = {}
"""Plugin id, fields and library of each plugin that a creator made, by its identity."""
kept: list[Any] = []


class Creator(Double, real="IPluginCreatorV3One"):
    @classmethod
    def _of(cls, real: Any, plugin: str, library: str) -> Creator:
        creator = cls.__new__(cls)
        creator._real, creator._plugin, creator._library = real, plugin, library
        return creator

    def create_plugin(self, name: str, field_collection: Any, phase: Any) -> Any:
        plugin = self._real.create_plugin(name, field_collection, phase)
        if plugin is not None:
            kept.append(plugin)
            fields = [_field(f) for f in field_collection]
            made[id(plugin)] = {"plugin": self._plugin, "fields": fields, "library": self._library}
        return plugin

    @property
    def field_names(self) -> Any:
        return self._real.field_names


class Registry(Double, real="IPluginRegistry"):
    """A builder's or a runtime's own registry; the one behind it is the process's."""

    def __init__(self) -> None:
        self._real, self._paths = trt.get_plugin_registry(), []  # type: ignore[var-annotated]

    def load_library(self, plugin_path: str) -> Any:
        if not Path(plugin_path).is_file():
            return None
        self._paths.append(plugin_path)
        if plugin_path not in handles:
            handles[plugin_path] = self._real.load_library(plugin_path)
        return handles[plugin_path]

    def get_creator(self, type: str, version: str, plugin_namespace: str = "") -> Any:
        found = self._real.get_creator(type, version, plugin_namespace)
        return None if found is None else Creator._of(found, f"{plugin_namespace}::{type}", self._paths[-1])


def _field(field: Any) -> dict[str, Any]:
    if field.type in (trt.PluginFieldType.CHAR, trt.PluginFieldType.UNKNOWN):
        return {"name": field.name, "type": int(field.type), "values": bytes(field.data).decode()}
    return {"name": field.name, "type": int(field.type), "values": np.asarray(field.data).ravel().tolist()}


class LibraryLayer(Double, real="IPluginV3Layer"):
    def __init__(self, inputs: Sequence[Tensor], plugin: Any, index: int) -> None:
        if id(plugin) not in made:
            raise RefusedError("the plugin is of no library")
        self._inputs, self._made, self._name = list(inputs), made[id(plugin)], f"(Unnamed Layer* {index}) [PluginV3]"
        self._outputs: list[Tensor] = []
        answer = self._ask({})
        if [answer["types_result"], answer["shapes_result"]] != [0, 0]:
            raise RefusedError("the plugin refused its inputs")
        known = {dimension(i, a): d for i, t in enumerate(inputs) for a, d in enumerate(t.exprs or ())}
        for i, (dtype, shape) in enumerate(zip(answer["output_types"], answer["output_shapes"], strict=True)):
            exprs = tuple(_substitute(expressions.from_json(e), known) for e in shape)
            trt_type = getattr(trt.DataType, dtypes.find(dtype).trt)
            self._outputs.append(Tensor.of(f"{self._name}_output_{i}", trt_type, exprs))
        self._aliased = list(answer["aliased"])

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    def get_output(self, index: int) -> Any:
        return self._outputs[index] if 0 <= index < len(self._outputs) else None

    def _aliases(self) -> list[int]:
        return self._aliased

    def _build(self, points: Points, cached: dict[str, int]) -> dict[str, Any]:
        answer = self._ask(points)
        wanted = [dtypes.of_trt(t.dtype).name for t in (*self._inputs, *self._outputs)]
        chosen = next((c for c in answer["combinations"] if c["types"] == wanted and c["configured"] == 0), None)
        if chosen is None:
            raise BuildError(f"could not find any implementation for node {self._name} in the types {wanted}")
        tactic = cached.setdefault(answer["timing_cache_id"], max(chosen["tactics"] or [0]))
        return {"name": self._name, "plugin": self._made["plugin"], "tactic": tactic, "library": self._made["library"]}

    def _ask(self, points: Points) -> dict[str, Any]:
        inputs = []
        for tensor in self._inputs:
            shape = tensor.exprs or ()
            dims = [d.value if isinstance(d, Constant) else -1 for d in shape]
            desc = _desc(tensor.dtype, trt.TensorFormat.LINEAR, shape, points) if points or -1 not in dims else None
            ends = {end: list(getattr(desc, end)) if desc else dims for end in ("min", "opt", "max")}
            inputs.append({"dtype": dtypes.of_trt(tensor.dtype).name, "dims": dims, **ends})
        tensors = (*self._inputs, *self._outputs)
        types = sorted({dtypes.of_trt(t.dtype).name for t in tensors})
        case = {**self._made, "inputs": inputs, "types": types, "formats": [0], "runs": []}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"library": self._made["library"], "registry": None, "cases": [case]}, file)
            file.flush()
            done = subprocess.run([os.environ[DRIVER], file.name], capture_output=True, text=True, check=True)
        answer: dict[str, Any] = json.loads(done.stdout)["cases"][0]
        return answer


def _substitute(expr: Expr, known: Mapping[str, Expr]) -> Expr:
    match expr:
        case Symbol(name):
            return known[name]
        case Operation(op, left, right):
            return operation(op, _substitute(left, known), _substitute(right, known))
        case SizeTensor(index, opt, upper):
            return SizeTensor(index, _substitute(opt, known), _substitute(upper, known))
    return expr
