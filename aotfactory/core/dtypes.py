# SPDX-License-Identifier: Apache-2.0
"""The data types and tensor formats of a plugin's inputs and outputs, under the names that aotfactory writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aotfactory.core.errors import DataTypeError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class DType:
    """One data type: names of TensorRT's and ONNX's members, Triton's element type, NumPy's (or ml_dtypes') type."""

    name: str
    trt: str
    onnx: str
    triton: str
    numpy: str
    itemsize: int

    @property
    def array(self) -> np.dtype[Any]:
        """The NumPy data type; bfloat16 and float8 are those of ml_dtypes."""
        import ml_dtypes
        import numpy as np

        return np.dtype(getattr(ml_dtypes, self.numpy, None) or self.numpy)


DTYPES = {
    d.name: d
    for d in (
        DType("fp32", "FLOAT", "FLOAT", "fp32", "float32", 4),
        DType("fp16", "HALF", "FLOAT16", "fp16", "float16", 2),
        DType("bf16", "BF16", "BFLOAT16", "bf16", "bfloat16", 2),
        DType("fp8", "FP8", "FLOAT8E4M3FN", "fp8e4nv", "float8_e4m3fn", 1),
        DType("int8", "INT8", "INT8", "i8", "int8", 1),
        DType("uint8", "UINT8", "UINT8", "u8", "uint8", 1),
        DType("int32", "INT32", "INT32", "i32", "int32", 4),
        DType("int64", "INT64", "INT64", "i64", "int64", 8),
        DType("bool", "BOOL", "BOOL", "i1", "bool", 1),
    )
}


ALIASES = {
    **{alias: d.name for d in DTYPES.values() for alias in (d.name, d.trt.lower(), d.numpy, d.triton)},
    "f32": "fp32",
    "f16": "fp16",
    "float": "fp32",
    "half": "fp16",
    "e4m3": "fp8",
    "int": "int32",
    "long": "int64",
}
"""Other projects' names: NumPy's and PyTorch's, TensorRT's, Triton's."""


def find(name: str) -> DType:
    """The data type called `name` (``fp32``), or by another of its names (`ALIASES`), in any case.

    Raises:
        UsageError: There is no such data type.
    """
    known = ALIASES.get(name.strip().lower().removeprefix("torch."))
    if known is None:
        raise DataTypeError(f"unknown data type {name!r}", hint=f"use one of {', '.join(DTYPES)}")
    return DTYPES[known]


def to_trt(name: str, members: Any) -> Any:
    """The member for a data type, of `trt.DataType`: TensorRT is loaded late."""
    return getattr(members, find(name).trt)


def of_trt(value: Any) -> DType:
    """The data type of a `trt.DataType` member."""
    for dtype in DTYPES.values():
        if value.name == dtype.trt:
            return dtype
    raise DataTypeError(f"data type {value.name} cannot be used by an AOT plugin's kernel here")


def of_array(dtype: np.dtype[Any]) -> DType:
    """The data type of a NumPy array's elements."""
    for candidate in DTYPES.values():
        if candidate.array == dtype:
            return candidate
    raise DataTypeError(f"arrays of {dtype} have no TensorRT data type", hint=f"convert to one of {', '.join(DTYPES)}")
