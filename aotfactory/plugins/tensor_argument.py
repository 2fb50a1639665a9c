# SPDX-License-Identifier: Apache-2.0
"""A tensor of the call as Python code around a launch knows tensors: shape, strides, type, and no data."""

from __future__ import annotations

import sys
from typing import Any

from aotfactory.core import dtypes
from aotfactory.plugins import symbolic_ints, tensorrt_api

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402

ALIGNMENT = 256
"""Bytes: what TensorRT aligns engine inputs and outputs to (NvInferRuntime.h)."""


class TensorArgument:
    """As much of a contiguous torch tensor as the functions of `triton.heuristics` ask for.

    Attributes:
        shape: Numbers where they are constant, else `RunTimeInt`.
    """

    def __init__(self, tensor: Any, name: str, asked_by: str, remedy: str) -> None:
        self._type = dtypes.of_trt(tensor.dtype)
        self._expressions = list(tensor.shape_expr)
        self._label = f"a dimension of {name}", asked_by, remedy
        self.shape = tuple(self._number(d) for d in self._expressions)
        self.ndim = len(self.shape)

    @staticmethod
    def stands_for(value: Any) -> bool:
        return isinstance(value, trtp.TensorDesc)

    def _number(self, value: Any) -> Any:
        value = symbolic_ints.folded(value)
        return symbolic_ints.RunTimeInt.of(value, *self._label) if isinstance(value, symbolic_ints.SymInt) else value

    @property
    def dtype(self) -> Any:
        """torch's where torch is loaded, as the code that asks compares with it; else its name."""
        name = self._type.numpy
        return getattr(sys.modules.get("torch"), name, name)

    def size(self, axis: int | None = None) -> Any:
        return self.shape if axis is None else self.shape[axis]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> Any:
        return self._product(0)

    def stride(self, axis: int | None = None) -> Any:
        strides = tuple(self._product(i + 1) for i in range(self.ndim))
        return strides if axis is None else strides[axis]

    def _product(self, start: int) -> Any:
        product: Any = 1
        for extent in self._expressions[start:]:
            product = extent * product
        return self._number(product)

    def is_contiguous(self) -> bool:
        return True

    def element_size(self) -> int:
        return self._type.itemsize

    itemsize = property(element_size)

    def data_ptr(self) -> int:
        return ALIGNMENT

    def __len__(self) -> int:
        return int(self.shape[0])
