# SPDX-License-Identifier: Apache-2.0
"""Input data and shapes to validate with, and the comparison of what came out."""

from __future__ import annotations

import zlib
from typing import Any, Literal

import numpy as np

from aotfactory.core import dtypes
from aotfactory.core.network import Shape

Array = np.ndarray[Any, Any]


Kind = Literal["random", "adversarial"]


def make_input(name: str, dtype: str, shape: Shape, *, kind: Kind = "random", seed: int = 0) -> Array:
    """Input data, the same on every machine for the same arguments.

    Args:
        name: Of the tensor; tensors of different names get different data.
        kind: ``random``: normal numbers, or small integers; one in eight is 0. ``adversarial``: of those, one in four
            is replaced by NaN, an infinity, a denormal, a signed zero, 1, 2 or the extremes of the type.
    """
    element = dtypes.find(dtype).array
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), zlib.crc32(kind.encode())])
    integer = element.kind in "iub"
    low, high = (0, 2) if element.kind == "b" else (0 if element.kind == "u" else -100, 101)
    values = rng.integers(low, high, shape) if integer else rng.standard_normal(shape)
    values = np.where(rng.random(shape) < 0.125, 0, values).astype(element)
    if kind == "adversarial":
        special = _special(element)
        values = np.where(rng.random(shape) < 0.25, rng.choice(special, shape), values)
    return np.asarray(values, dtype=element)


def _special(element: np.dtype[Any]) -> Array:
    if element.kind == "b":
        return np.array([True, False])
    if element.kind in "iu":
        info = np.iinfo(element)
        return np.array([info.min, info.max, info.min + 1, info.max - 1, 0, 1], element)
    import ml_dtypes

    limits = ml_dtypes.finfo(element)
    values = [np.nan, -0.0, 0.0, 1.0, -1.0, 2.0, limits.max, limits.min, limits.tiny, limits.smallest_subnormal]
    infinities = [np.inf, -np.inf] if element.name != "float8_e4m3fn" else []  # this type has none
    return np.array([float(v) for v in values + infinities]).astype(element)
