# SPDX-License-Identifier: Apache-2.0
"""Compare an output with its reference."""

from __future__ import annotations

import numpy as np

from aotfactory.core.recipe import Tolerance
from aotfactory.executors.inputs import Array


def mismatch(out: Array, expected: Array, tolerance: Tolerance) -> str | None:
    """What is wrong with an output, or None. NaN equals NaN, which neither bits nor Polygraphy's comparator say.

    With no tolerance everything else must be bit-exact; with one, Polygraphy's comparator judges the elements.
    """
    if out.shape != expected.shape:
        return f"shape {out.shape} instead of {expected.shape}"
    nan = _nan(out)
    wrong = nan != _nan(expected)
    if not wrong.any():
        wrong = _beyond(out, expected, tolerance) & ~nan
    if not wrong.any():
        return None
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    count = f"{int(wrong.sum())} of {out.size} elements differ"
    return f"{count}, first at {first}: {out[first]} instead of {expected[first]}"


def _beyond(out: Array, expected: Array, tolerance: Tolerance) -> Array:
    """Which elements are further from the reference than the tolerance; NaN is left to the caller."""
    with np.errstate(all="ignore"):
        rounded = expected.astype(out.dtype)
    bits = np.dtype(f"u{out.dtype.itemsize}")
    differ: Array = np.ascontiguousarray(out).view(bits) != np.ascontiguousarray(rounded).view(bits)
    differ = differ.reshape(out.shape)  # ascontiguousarray makes a vector of a scalar
    if tolerance == Tolerance() or not differ.any():
        return differ
    from polygraphy.comparator import IterationResult, SimpleCompareFunc
    from polygraphy.logger import G_LOGGER

    one, two = (np.asarray(np.where(_nan(a), 0, a), np.float64) for a in (out, expected))
    compare = SimpleCompareFunc(atol=tolerance.atol, rtol=tolerance.rtol, infinities_compare_equal=True)
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL), np.errstate(all="ignore"):
        verdict = compare(*(IterationResult({"y": a}, runner_name="aotfactory") for a in (one, two)))
        if all(verdict.values()):
            return np.zeros(out.shape, bool)
        # The comparator judges an output as a whole; which elements it means is for the message.
        error = np.abs(one - two)
        near = (error <= tolerance.atol) | (error <= tolerance.rtol * np.abs(two)) & np.isfinite(error)
        far: Array = ~near & (one != two)
        return far


def _nan(array: Array) -> Array:
    return np.isnan(array.astype(np.float64)) if array.dtype.kind in "fV" else np.zeros(array.shape, bool)
