# SPDX-License-Identifier: Apache-2.0
"""Plugin attributes: command-line text or Python values converted to the types that `register` declares."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from aotfactory.core.errors import AttributeValueError
from aotfactory.plugins.loader import load as load
from aotfactory.plugins.registry import Plugin


def attribute_values(plugin: Plugin, given: Mapping[str, Any], *, where: str | None = None) -> dict[str, Any]:
    """Every attribute of the plugin in its annotated type, from Python values or command-line text (``1,1,1,1``).

    Args:
        where: The node of a model that has them; None where they are from the command line.

    Raises:
        UsageError: An attribute is unknown, missing, or of the wrong type.
    """
    unknown = [name for name in given if name not in plugin.attributes]
    missing = [name for name in plugin.attributes if name not in given]
    if unknown or missing:
        problem = f"has no attribute {', '.join(unknown)}" if unknown else f"needs the attribute {', '.join(missing)}"
        expected = ", ".join(f"{n}: {type_name(t)}" for n, t in plugin.attributes.items()) or "none"
        remedy = "correct those of the node" if where else "set one with `--attr NAME=VALUE`"
        raise AttributeValueError(
            f"{plugin.id} {problem}", where=where, hint=f"its attributes are {expected}; {remedy}"
        )
    return {name: _convert(plugin, name, kind, given[name], where) for name, kind in plugin.attributes.items()}


def type_name(kind: Any) -> str:
    """``int32[]`` for an array attribute, ``int`` for a plain one."""
    element = element_type(kind)
    return kind.__name__ if element is None else f"{element.name}[]"


def element_type(kind: Any) -> np.dtype[Any] | None:
    """The element type of an array attribute (annotated `npt.NDArray[np.int32]`); None for a plain one."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is np.ndarray:  # what NDArray[...] is up to NumPy 2.4: ndarray[shape, dtype[element]]
        arguments = typing.get_args(arguments[1])
    elif origin is not npt.NDArray:
        return None
    element: np.dtype[Any] = np.dtype(arguments[0])
    return element


def _convert(plugin: Plugin, name: str, kind: Any, value: Any, where: str | None) -> Any:
    try:
        dtype = element_type(kind)
        return _array(dtype, value) if dtype is not None else _scalar(kind, value)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        example = "1,1,1,1" if type_name(kind).endswith("[]") else EXAMPLES[kind]
        shown = value.tolist() if isinstance(value, np.ndarray) else value
        raise AttributeValueError(
            f"attribute {name} of {plugin.id} is {type_name(kind)}, not {shown!r}",
            where=where,
            hint=f"write such a value in the model, as {example}" if where else f"for example --attr {name}={example}",
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
