# SPDX-License-Identifier: Apache-2.0
"""Attributes of plugin nodes: ONNX' types as TensorRT's parser passes them on, and the types to write for it.

The parser (onnx-tensorrt, FallbackPluginImporter) makes a plugin field of an attribute: integers in 32 bits, floats in
float32 (float64 tensors too), texts with a zero byte at the end, tensors flat; other kinds it refuses.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from aotfactory.core.errors import OnnxNodeError
from aotfactory.core.limits import LIMITS
from aotfactory.targets.onnx_file import element_name

INT32 = range(-(2**31), 2**31)
FLOAT32_MAX = float(np.finfo(np.float32).max)
KINDS = "FLOAT, INT, STRING, FLOATS, INTS or a tensor of numbers"


def read(attribute: AttributeProto, declared: Any, where: str) -> Any:
    """The value of a node's attribute, as Python values or a flat array.

    Args:
        declared: The type that the plugin's `register` gives the attribute; None where it has no such attribute.
        where: The node, for the errors.

    Raises:
        UsageError: TensorRT's parser cannot pass it on, or a plugin of the declared type could not read it.
    """
    kind = AttributeProto.AttributeType.Name(attribute.type)
    label = f"attribute {attribute.name}"
    if attribute.type == AttributeProto.STRING:
        return _text(attribute.s, declared, label, where)
    if declared in (str, bytes):
        raise OnnxNodeError(
            f"{label} is {kind}", where=where, hint=f"the plugin takes {declared.__name__}: write STRING"
        )
    if attribute.type in (AttributeProto.FLOAT, AttributeProto.FLOATS):
        return attribute.f if attribute.type == AttributeProto.FLOAT else list(attribute.floats)
    if attribute.type in (AttributeProto.INT, AttributeProto.INTS):
        values = [attribute.i] if attribute.type == AttributeProto.INT else list(attribute.ints)
        _require_32_bits(values, label, where)
        return values[0] if attribute.type == AttributeProto.INT else values
    if attribute.type == AttributeProto.TENSOR:
        return _tensor(attribute.t, label, where)
    raise OnnxNodeError(
        f"{label} is {kind}, which cannot become a plugin's attribute", where=where, hint=f"write {KINDS}"
    )


def _text(value: bytes, declared: Any, label: str, where: str) -> str | bytes:
    if declared in (bytes, None, type(None)):
        return value
    if declared is not str:
        name = getattr(declared, "__name__", str(declared))
        raise OnnxNodeError(
            f"{label} is a STRING, {value!r}", where=where, hint=f"the plugin takes {name}: write numbers"
        )
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise OnnxNodeError(
            f"{label} is {value!r}, which is not UTF-8",
            where=where,
            hint="the plugin takes str: write UTF-8, or declare the attribute as bytes in its register",
        ) from error


def _tensor(tensor: TensorProto, label: str, where: str) -> np.ndarray[Any, Any]:
    kind = element_name(tensor.data_type)
    if any(extent < 0 for extent in tensor.dims) or math.prod(tensor.dims) > LIMITS["attribute_items"]:
        raise OnnxNodeError(
            f"{label} has the shape {list(tensor.dims)[:9]}", where=where, hint="(limit attribute_items)"
        )
    if tensor.data_location == TensorProto.EXTERNAL:
        raise OnnxNodeError(f"{label} is a tensor with external data", where=where, hint="keep it in the model's file")
    try:
        array = np.ravel(numpy_helper.to_array(tensor))
    except Exception as error:
        raise OnnxNodeError(f"{label} is a damaged tensor: {error}", where=where, hint=f"write {KINDS}") from error
    if array.dtype.kind in "iub":
        _require_32_bits(array.tolist(), label, where)
        return array
    if tensor.data_type not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16):
        raise OnnxNodeError(f"{label} is a tensor of {kind}", where=where, hint=f"write {KINDS}")
    if tensor.data_type == TensorProto.BFLOAT16:
        array = array.astype(np.float32)
    beyond = [float(v) for v in array if np.isfinite(v) and abs(float(v)) > FLOAT32_MAX]
    if beyond:
        raise OnnxNodeError(f"{label} has {beyond[0]:g}", where=where, hint="TensorRT's ONNX parser passes float32")
    return array


def _require_32_bits(values: list[int], label: str, where: str) -> None:
    beyond = [v for v in values if int(v) not in INT32]
    if beyond:
        raise OnnxNodeError(
            f"{label} is {beyond[0]}", where=where, hint="TensorRT's ONNX parser passes 32 bits and drops the others"
        )


def write(name: str, value: Any, where: str) -> AttributeProto:
    """An attribute that TensorRT's parser takes and passes on in the value's type, floats rounded to float32.

    Raises:
        UsageError: An integer needs more than 32 bits, or a float is beyond float32.
    """
    label = f"attribute {name}"
    if isinstance(value, np.ndarray) and value.dtype.kind in "iub":
        numbers = [int(v) for v in value]
        _require_32_bits(numbers, label, where)
        # A list says nothing of its type where it is empty; a tensor does.
        return onnx.helper.make_attribute(
            name, numbers or onnx.helper.make_tensor(name, TensorProto.INT32, [0], []), attr_type=None
        )
    if isinstance(value, np.ndarray):
        if value.dtype == np.float16 or value.size == 0:  # the plugin layer reads float16 by its bytes
            return onnx.helper.make_attribute(name, numpy_helper.from_array(value, name))
        return onnx.helper.make_attribute(name, [_float32(float(v), label, where) for v in value])
    if isinstance(value, float):
        return onnx.helper.make_attribute(name, _float32(value, label, where))
    if isinstance(value, bool | int):
        _require_32_bits([int(value)], label, where)
        return onnx.helper.make_attribute(name, int(value))
    attribute = AttributeProto(name=name, type=AttributeProto.STRING)
    attribute.s = value if isinstance(value, bytes) else value.encode()
    return attribute


def _float32(value: float, label: str, where: str) -> float:
    if np.isfinite(value) and abs(value) > FLOAT32_MAX:
        raise OnnxNodeError(f"{label} is {value:g}", where=where, hint="TensorRT's ONNX parser passes float32")
    return value


def arrives_as(sent: Any, received: Any) -> bool:
    """Whether TensorRT's parser turns the one value of an attribute into the other."""
    if type(sent) is not type(received):
        return False
    if isinstance(sent, str):
        return bool(received in (sent, sent + "\0"))
    if isinstance(sent, bytes):
        return bool(received in (sent, sent + b"\0"))
    if isinstance(sent, float):
        return sent == received or float(np.float32(sent)) == received or (sent != sent and received != received)
    if isinstance(sent, np.ndarray) and sent.dtype == np.float64:
        return np.array_equal(sent, received) or np.array_equal(sent.astype(np.float32).astype(np.float64), received)
    return bool(np.array_equal(sent, received))
