# SPDX-License-Identifier: Apache-2.0
"""`tl.gather` for Triton's interpreter, which raises for an index outside, or takes a negative one from the end.

A GPU gives something or other for it, which a right kernel does not use: here that is NaN, or all bits set.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from triton.runtime import interpreter


@contextmanager
def loose_gathers() -> Iterator[None]:
    """Gather so while this is open."""
    builder = interpreter.InterpreterBuilder
    original = builder.create_gather
    builder.create_gather = _gather
    try:
        yield
    finally:
        builder.create_gather = original


def _gather(self: Any, source: Any, indices: Any, axis: int) -> Any:
    at = indices.data
    inside = (at >= 0) & (at < source.data.shape[axis])
    found = np.take_along_axis(source.data, np.where(inside, at, 0), axis=axis)
    unknown = np.full(1, 0xFF, np.uint8).repeat(found.dtype.itemsize).view(found.dtype)
    return interpreter.TensorHandle(np.where(inside, found, unknown), source.dtype.scalar)
