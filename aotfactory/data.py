# SPDX-License-Identifier: Apache-2.0
"""Input data and shapes to validate with, and the comparison of what came out."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from aotfactory import dtypes
from aotfactory.network import Network, Shape
from aotfactory.recipe import Tolerance
from aotfactory.symbolic import Symbol

REDUCED = 7
"""Extent that the dimensions of a large network are cut down to where it is only run on the CPU."""

Array = np.ndarray[Any, Any]
Kind = Literal["random", "adversarial"]


def make(name: str, dtype: str, shape: Shape, *, kind: Kind = "random", seed: int = 0) -> Array:
    """Input data, the same on every machine for the same arguments.

    Args:
        name: Of the tensor; tensors of different names get different data.
        kind: ``random``: normal numbers, or small integers; one in eight is 0. ``adversarial``: of those, one in four
            is replaced by NaN, an infinity, a denormal, a signed zero or the extremes of the type.
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
    values = [np.nan, -0.0, 0.0, limits.max, limits.min, limits.tiny, limits.smallest_subnormal]
    infinities = [np.inf, -np.inf] if element.name != "float8_e4m3fn" else []  # this type has none
    return np.array([float(v) for v in values + infinities]).astype(element)


def shape_cases(network: Network, odd_shapes: Sequence[Sequence[Shape]], largest: int) -> list[tuple[str, list[Shape]]]:
    """Shapes of the network's inputs to validate at: min, opt and max of the profile, and small odd ones.

    Args:
        odd_shapes: More cases, of any rank that the plugin takes.
        largest: Elements that no tensor may exceed. Where every case of the profile does, there is a ``reduced`` one.
    """
    inputs = [t for t in network.tensors if t.role == "input"]
    cases: dict[tuple[Shape, ...], str] = {}
    for label in ("min", "opt", "max"):
        at = {name: getattr(r, label) for name, r in network.ranges.items()}
        shapes = [tuple(d.evaluate(at) for d in t.shape) for t in inputs]
        if all(fits(s, largest) for s in shapes):
            cases.setdefault(tuple(shapes), label)
    if not cases:
        at = {name: r.min for name, r in network.ranges.items()}
        cut = tuple(tuple(min(d.evaluate(at), REDUCED) for d in t.shape) for t in inputs)
        cases[cut] = "reduced"
    for odd in odd_shapes:
        cases.setdefault(tuple(tuple(s) for s in odd), "odd")
    return [(label, list(case)) for case, label in cases.items()]


def fits(shape: Shape, largest: int) -> bool:
    """Whether a tensor of this shape has `largest` elements at most."""
    return int(np.prod(shape, dtype=np.int64)) <= largest


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


def bind(network: Network, shapes: Mapping[str, Shape]) -> dict[str, int]:
    """The value of every symbol at these input shapes."""
    values: dict[str, int] = {}
    for tensor in network.tensors:
        if tensor.role == "input":
            for dimension, extent in zip(tensor.shape, shapes[tensor.name], strict=True):
                if isinstance(dimension, Symbol):
                    values[dimension.name] = extent
    return values
