# SPDX-License-Identifier: Apache-2.0
"""PyTorch's tensors as NumPy arrays and back, bfloat16 and float8 as ml_dtypes has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from aotfactory.core import dtypes
from aotfactory.core.errors import OperatorError

TORCH = {dtype.name: getattr(torch, dtype.numpy) for dtype in dtypes.DTYPES.values()}
"""PyTorch's data types, under the names that aotfactory writes."""

NAMES = {dtype: name for name, dtype in TORCH.items()}
_BITS = {"bf16": (torch.int16, np.int16), "fp8": (torch.uint8, np.uint8)}
"""Types that NumPy lacks, and a type of the same size in both."""


def name_of(tensor: torch.Tensor) -> str:
    """aotfactory's name of a tensor's data type.

    Raises:
        UsageError: No plugin takes such tensors.
    """
    if tensor.dtype not in NAMES:
        raise OperatorError(
            f"plugins take no tensors of {tensor.dtype}", hint=f"use one of {', '.join(map(str, NAMES))}"
        )
    return NAMES[tensor.dtype]


def to_array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """A CPU tensor's data, without a copy where the tensor is contiguous."""
    name, tensor = name_of(tensor), tensor.detach().contiguous()
    if name in _BITS:
        array: np.ndarray[Any, Any] = tensor.view(_BITS[name][0]).numpy().view(dtypes.find(name).array)
        return array
    plain: np.ndarray[Any, Any] = tensor.numpy()
    return plain


def from_array(array: np.ndarray[Any, Any], name: str) -> torch.Tensor:
    """A tensor of this data type with the array's values, rounded to it."""
    with np.errstate(all="ignore"):
        array = np.array(array, dtypes.find(name).array, order="C")
    if name in _BITS:
        return torch.from_numpy(array.view(_BITS[name][1])).view(TORCH[name])
    return torch.from_numpy(array)
