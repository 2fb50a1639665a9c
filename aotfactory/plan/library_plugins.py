# SPDX-License-Identifier: Apache-2.0
"""Plugins of a plugin library, as TensorRT's registry hands them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aotfactory.core.errors import BuilderError
from aotfactory.core.network import Call

_FIELDS = {"int": "INT64", "float": "FLOAT64", "bool": "INT8", "int8": "INT8", "bool_": "INT8", "int16": "INT16"}
_FIELDS |= {"int32": "INT32", "int64": "INT64", "float16": "FLOAT16", "float32": "FLOAT32", "float64": "FLOAT64"}


def load(registry: Any, path: Path) -> None:
    """Load a plugin library into a registry of TensorRT's.

    Raises:
        BuilderError: TensorRT refused it.
    """
    if registry.load_library(str(path)) is None:
        raise BuilderError(
            f"TensorRT does not load the plugin library {path}",
            hint="is it for this major version, and are the same plugins not loaded from Python?",
        )


def library_plugin(trt: Any, registry: Any, call: Call) -> Any:
    """The library's plugin for a call.

    Raises:
        BuilderError: The library has no such plugin, or no kernels for the attributes; TensorRT's log says why.
    """
    namespace, name = call.id_parts
    creator = registry.get_creator(name, "1", namespace)
    if creator is None:
        raise BuilderError(f"the plugin library has no {call.plugin}", hint="make it of this bundle")
    fields = trt.PluginFieldCollection([_field(trt, n, v) for n, v in call.attributes.items()])
    plugin = creator.create_plugin(call.name, fields, trt.TensorRTPhase.BUILD)
    if plugin is None:
        raise BuilderError(f"the plugin library does not create {call.plugin} for {call.name}")
    return plugin


def _field(trt: Any, name: str, value: Any) -> Any:
    kind = trt.PluginFieldType
    if isinstance(value, str | bytes):
        text = value.encode() if isinstance(value, str) else value
        return trt.PluginField(name, text, kind.CHAR if isinstance(value, str) else kind.UNKNOWN)
    if isinstance(value, np.ndarray):
        if value.dtype == np.float16:  # the bindings take no such array
            return trt.PluginField(name, value.tobytes(), kind.UNKNOWN)
        return trt.PluginField(name, value, getattr(kind, _FIELDS[value.dtype.type.__name__]))
    array = np.array([value], np.int8 if isinstance(value, bool) else None)
    return trt.PluginField(name, array, getattr(kind, _FIELDS[type(value).__name__]))
