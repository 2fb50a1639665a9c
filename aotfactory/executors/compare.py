# SPDX-License-Identifier: Apache-2.0
"""Compare an output with its reference."""

from __future__ import annotations

import numpy as np

from aotfactory.core.dtypes import DTYPES
from aotfactory.core.recipe import Tolerance
from aotfactory.executors.inputs import Array

PLACES = 3
"""Elements that a message shows."""


def mismatch(out: Array, expected: Array, tolerance: Tolerance, key: str = "") -> str | None:
    """The problem with an output, or None: how many elements, where, by how much, and what was allowed.

    An element is right if it is the reference rounded to the output's type (NaN is NaN, whatever its bits, and zero is
    zero: compilers fuse and reorder what makes its sign), or no further from the reference than the tolerance. So a
    reference beyond the type's range is an infinity.
    """
    if out.shape != expected.shape:
        return f"shape {out.shape} instead of {expected.shape}"
    wrong = differing(out, expected, tolerance)
    if not wrong.any():
        return None
    places = [tuple(int(i) for i in place) for place in np.argwhere(wrong)[:PLACES]]
    count = f"{int(wrong.sum())} of {out.size} elements differ"
    shown = f"first at {places[0]}: {out[places[0]]} instead of {expected[places[0]]}"
    more = f"; then at {', '.join(map(str, places[1:]))}" if len(places) > 1 else ""
    return f"{count}, {shown}{more}; {_error(out, expected, wrong)}; {_allowed(out, tolerance, key)}"


def differing(out: Array, expected: Array, tolerance: Tolerance) -> Array:
    """Which elements are wrong, as booleans of the output's shape."""
    with np.errstate(all="ignore"):
        rounded = expected.astype(out.dtype)
        bits = np.dtype(f"u{out.dtype.itemsize}")
        same = np.ascontiguousarray(out).view(bits) == np.ascontiguousarray(rounded).view(bits)
        nan, expected_nan = _nan(out), _nan(rounded)
        right: Array = same.reshape(out.shape) | nan & expected_nan  # ascontiguousarray makes a vector of a scalar
        right |= (out.astype(np.float64) == 0) & (rounded.astype(np.float64) == 0)
        if tolerance == Tolerance() or right.all():
            return ~right
        one, two = out.astype(np.float64), expected.astype(np.float64)
        margin = np.maximum(tolerance.atol, tolerance.rtol * np.maximum(np.abs(two), _smallest(out)))
        near = np.isfinite(one) & np.isfinite(two) & (np.abs(one - two) <= margin)
        # So near the end of the type's range, the tolerance reaches beyond it.
        beyond = np.isfinite(two) & np.isinf(one) & ((two + np.copysign(margin, two)).astype(out.dtype) == out)
        wrong: Array = ~(right | near | beyond | (one == two))
        return wrong


def _smallest(out: Array) -> float:
    """Numbers below the smallest normal one have fewer digits: a relative error is taken of that one there."""
    if out.dtype.kind not in "fV":
        return 0.0
    import ml_dtypes

    return float(ml_dtypes.finfo(out.dtype).tiny)


def _error(out: Array, expected: Array, wrong: Array) -> str:
    """The largest error among the wrong elements; NaN and infinities have none."""
    with np.errstate(all="ignore"):
        got, want = out[wrong].astype(np.float64), expected[wrong].astype(np.float64)
        missed = np.isnan(want) & ~np.isnan(got)
        if missed.all():
            return (
                "NaN is missing, and nothing else is wrong (Triton's maximum, minimum and clamp drop NaN unless told "
                "propagate_nan=tl.PropagateNan.ALL)"
            )
        absolute = np.abs(got - want)
        absolute, relative = absolute[np.isfinite(absolute)], (absolute / np.abs(want))[np.isfinite(absolute)]
    if not absolute.size:
        return "only NaN and infinities are wrong"
    finite = relative[np.isfinite(relative)]
    most = f", {finite.max():.3g} relative" if finite.size else ""
    return f"largest error {absolute.max():.3g}{most}"


def _allowed(out: Array, tolerance: Tolerance, key: str) -> str:
    if tolerance != Tolerance():
        return f"tolerance atol={tolerance.atol:g}, rtol={tolerance.rtol:g}"
    name = key or next((d.name for d in DTYPES.values() if d.array == out.dtype), str(out.dtype))
    asked = "bit for bit was asked"
    if out.dtype.kind not in "fV":
        return asked
    return f'{asked}; to allow rounding, give the recipe tolerance={{"{name}": Tolerance(rtol=...)}}'


def _nan(array: Array) -> Array:
    return np.isnan(array.astype(np.float64)) if array.dtype.kind in "fV" else np.zeros(array.shape, bool)
