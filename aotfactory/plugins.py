# SPDX-License-Identifier: Apache-2.0
"""The plugins that loaded modules have registered: found by id, checked, and given their attributes."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aotfactory import tensorrt_api
from aotfactory.errors import DefinitionError, UsageError
from aotfactory.mistakes import explained
from aotfactory.modules import load as load

tensorrt_api.load()
from tensorrt.plugin import _lib  # noqa: E402


@dataclass(frozen=True)
class Plugin:
    """A registered plugin.

    Attributes:
        id: ``namespace::name``.
        definition: NVIDIA's `PluginDef`: the functions, and the names and types of inputs and attributes.
    """

    id: str
    definition: Any

    @property
    def inputs(self) -> list[str]:
        """Names of the input tensors."""
        return list(self.definition.input_tensor_names)

    @property
    def attributes(self) -> dict[str, Any]:
        """Name and annotated type of each attribute."""
        return dict(self.definition.input_attrs)

    def function(self, kind: str) -> Callable[..., Any] | None:
        """The function of a kind: ``register``, ``autotune``, ``aot_impl`` or ``impl``; None where there is none."""
        function: Callable[..., Any] | None = getattr(self.definition, f"{kind}_func")
        return function

    def where(self, kind: str) -> str:
        """File and line of one of the plugin's functions."""
        return f"{self.file(kind)}:{self._code(kind).co_firstlineno}"

    def file(self, kind: str) -> Path:
        """File of one of the plugin's functions."""
        return Path(self._code(kind).co_filename)

    def _code(self, kind: str) -> Any:
        function = self.function(kind) or self.function("register")
        return inspect.unwrap(function).__code__  # type: ignore[arg-type]


def registered() -> list[str]:
    """Ids of the plugins that are registered."""
    return sorted(_lib.QDP_REGISTRY)


def registration(plugin_id: str) -> str:
    """File and line of a plugin's register function."""
    return Plugin(plugin_id, _lib.QDP_REGISTRY[plugin_id]).where("register")


def find(plugin_id: str) -> Plugin:
    """The registered plugin of this id, fit for ahead-of-time compilation.

    Raises:
        UsageError: No module that was loaded registers it.
        DefinitionError: It has no `aot_impl`, or one that TensorRT could not call.
    """
    known = ", ".join(registered()) or "none"
    if plugin_id not in _lib.QDP_REGISTRY:
        raise UsageError(
            f"no plugin {plugin_id!r} is registered", hint=f"registered are {known}; --plugins PATH loads a module"
        )
    plugin = Plugin(plugin_id, _lib.QDP_REGISTRY[plugin_id])
    if not plugin.inputs:
        raise DefinitionError(
            f"plugin {plugin_id} has no input",
            where=plugin.where("register"),
            hint="TensorRT's plugins have at least one: begin with inp0: trtp.TensorDesc",
        )
    if plugin.function("aot_impl") is None:
        raise DefinitionError(
            f"plugin {plugin_id} has no aot_impl",
            where=plugin.where("register"),
            hint=f'add @trtp.aot_impl("{plugin_id}"); if a function of the module registers it: --plugins PATH:FUNC',
        )
    if list(plugin.definition.aot_impl_attr_names) != list(plugin.attributes):
        raise DefinitionError(
            f"aot_impl of {plugin_id} takes the attributes ({', '.join(plugin.definition.aot_impl_attr_names)}), "
            f"but TensorRT calls it with all of register's: ({', '.join(plugin.attributes)})",
            where=plugin.where("aot_impl"),
            hint="give the aot_impl every attribute, in register's order",
        )
    return plugin


def attribute_values(plugin: Plugin, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every attribute of the plugin in its annotated type, from Python values or command-line text (``1,1,1,1``).

    Raises:
        UsageError: An attribute is unknown, missing, or of the wrong type.
    """
    unknown = [name for name in given if name not in plugin.attributes]
    missing = [name for name in plugin.attributes if name not in given]
    if unknown or missing:
        problem = f"has no attribute {', '.join(unknown)}" if unknown else f"needs the attribute {', '.join(missing)}"
        expected = ", ".join(f"{n}: {type_name(t)}" for n, t in plugin.attributes.items()) or "none"
        raise UsageError(f"{plugin.id} {problem}", hint=f"its attributes are {expected}; set one by --attr NAME=VALUE")
    return {name: _convert(plugin, name, kind, given[name]) for name, kind in plugin.attributes.items()}


def type_name(kind: Any) -> str:
    """``int32[]`` for an array attribute, ``int`` for a plain one."""
    element = _element_type(kind)
    return kind.__name__ if element is None else f"{element.name}[]"


def _element_type(kind: Any) -> np.dtype[Any] | None:
    """The element type of an array attribute (annotated `npt.NDArray[np.int32]`); None for a plain one."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is np.ndarray:  # what NDArray[...] is up to NumPy 2.4: ndarray[shape, dtype[element]]
        arguments = typing.get_args(arguments[1])
    elif origin is not npt.NDArray:
        return None
    element: np.dtype[Any] = np.dtype(arguments[0])
    return element


def _convert(plugin: Plugin, name: str, kind: Any, value: Any) -> Any:
    try:
        dtype = _element_type(kind)
        return _array(dtype, value) if dtype is not None else _scalar(kind, value)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise UsageError(
            f"attribute {name} of {plugin.id} is {type_name(kind)}, not {value!r}",
            hint=f"for example --attr {name}={'1,1,1,1' if type_name(kind).endswith('[]') else EXAMPLES[kind]}",
        ) from error


EXAMPLES = {int: "1", float: "0.5", str: "text", bool: "true", bytes: "text"}


def _array(dtype: np.dtype[Any], value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, str):
        value = [v.strip() for v in value.split(",")] if value.strip() else []
    items = value if isinstance(value, list | tuple | np.ndarray) else [value]
    if dtype.kind == "b":
        return np.array([_scalar(bool, v) for v in items], dtype)
    if dtype.kind == "f":
        return np.array([_scalar(float, v) for v in items], dtype)
    limits = np.iinfo(dtype)
    numbers = [_scalar(int, v) for v in items]
    if any(not limits.min <= n <= limits.max for n in numbers):
        raise OverflowError
    return np.array(numbers, dtype)


def _scalar(kind: Any, value: Any) -> Any:
    if isinstance(value, list | tuple | np.ndarray):
        (value,) = value  # TensorRT's ONNX parser takes an array of one for a scalar, too
    if isinstance(value, np.generic):
        value = value.item()
    if kind is bool:
        return {"1": True, "0": False, "true": True, "false": False}[str(value).lower()]
    if kind is bytes:
        return value.encode() if isinstance(value, str) else b"".join([value])
    if kind is str:
        return "".join([value])
    if kind is float:
        number = float(value)
        if not math.isfinite(number) and not isinstance(value, str):
            raise ValueError
        return number
    if isinstance(value, float | bool):
        raise TypeError
    integer = int(value)
    if not -(2**63) <= integer < 2**63:
        raise OverflowError
    return integer


@contextmanager
def blame(plugin: Plugin, kind: str) -> Iterator[None]:
    """Turn what a definition's function raises into an error that names the function, its file and its line."""
    with explained(plugin.file(kind), what=f"{kind} of {plugin.id}", otherwise=lambda: plugin.where(kind)):
        yield
