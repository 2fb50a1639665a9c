# SPDX-License-Identifier: Apache-2.0
"""Shapes to judge an artifact at, and whole trials of executors that run it as a whole.

A static dimension stays as it was asked for, unless the recipe says that it may shrink. Dynamic ones are at min, opt
and max, and inside: once small enough that every program can run, once larger, once at multiples of 16 and once near
max, each time with no two alike, and once all alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from aotfactory.core.network import Network, Range, Shape, shape_text
from aotfactory.executors import reference
from aotfactory.executors.data import FindRecipe, make_inputs
from aotfactory.executors.inputs import Array, Kind
from aotfactory.plugins.catalog import Catalog

KINDS: tuple[Kind, ...] = ("random", "adversarial")

LARGEST = 2**28
"""Elements of a tensor whose float64 reference is still computed, where a GPU runs the kernels."""

TOO_LARGE = f"a tensor has more than {LARGEST} elements, too many for the reference"

SMALL, INSIDE = (2, 3, 5, 7, 11, 13, 17, 19), (37, 29, 53, 41, 67, 59, 83, 71)
EVEN = (48, 32, 64, 80, 96, 112, 16, 128)
"""Extents to try for dynamic dimensions."""

MADE_UP = ("small", "inside", "even", "large", "equal")
"""Labels of points that nobody asked for, which a plugin may refuse."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run to make.

    Attributes:
        label: Which shapes: ``min``, ``opt``, ``max``, or one of `MADE_UP`.
        expected: Outputs by name, as far as there is a reference.
    """

    label: str
    kind: Kind
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]

    def __str__(self) -> str:
        shapes = (f"{name} {shape_text(array.shape)}" for name, array in self.inputs.items())
        return f"{', '.join(shapes)}, {self.kind} data"


def trials(network: Network, catalog: Catalog) -> Iterator[Trial]:
    """Every shape with every kind of data; none where all shapes are too large."""
    types = {t.name: t.dtype for t in network.inputs}
    for label, shapes in launch_cases(network, catalog.for_plugin):
        for kind in KINDS:
            data = make_inputs(network, catalog.for_plugin, shapes, types, kind)
            expected = reference.outputs(network, catalog.for_plugin, data.arrays)
            yield Trial(label=label, kind=kind, inputs=data.arrays, expected=expected)


def launch_cases(network: Network, find_recipe: FindRecipe) -> list[tuple[str, dict[str, Shape]]]:
    """Input shapes to launch at on a GPU."""
    return [
        (label, shapes)
        for label, shapes in profile_cases(network, find_recipe)
        if all(fits(shape, LARGEST) for shape in shapes.values())
    ]


def profile_cases(network: Network, find_recipe: FindRecipe) -> list[tuple[str, dict[str, Shape]]]:
    """Shapes of the optimization profile by the inputs' names, those that teach most first, each once."""
    ends = dict(_ends(network))
    points = dict(_inside(network, find_recipe)) | ends  # where two are the same, the profile's own name is told
    names: dict[tuple[tuple[str, Shape], ...], str] = {}
    for label in ("static", "small", "opt", "max", "inside", "even", "large", "equal", "min"):
        if label in points:
            shapes = tuple((t.name, tuple(d.evaluate(points[label]) for d in t.shape)) for t in network.inputs)
            if shapes not in names or label in ends:
                names[shapes] = label
    return [(label, dict(shapes)) for shapes, label in names.items()]


def _ends(network: Network) -> Iterator[tuple[str, dict[str, int]]]:
    if not network.ranges:
        yield "static", {}
        return
    for label in ("opt", "max", "min"):
        yield label, network.at(label)


def _inside(network: Network, find_recipe: FindRecipe) -> Iterator[tuple[str, dict[str, int]]]:
    """Points between min and max: with named dimensions anywhere, for names that differ may differ in extent.

    Dimensions without names may depend on each other in any way; they move on the straight line from min to max.
    """
    ranges = network.ranges
    if not ranges:
        return
    recipes = [r for c in network.calls if (r := find_recipe(c.plugin)) is not None]
    named = {d for r in recipes for item in r.inputs for d in item.dims}
    if len(ranges) > 1 and not named >= set(ranges):
        for label, at in (
            ("small", _on_the_line(ranges, SMALL[0])),
            ("inside", _on_the_line(ranges, INSIDE[0])),
            ("large", _on_the_line(ranges, None)),
        ):
            if at:
                yield label, at
        return
    constraints = [r.constraint for r in recipes if r.constraint is not None]

    def holds(at: Mapping[str, int]) -> bool:
        return all(together(_extents(network, find_recipe, at)) for together in constraints)

    for label, wanted in (("small", SMALL), ("inside", INSIDE), ("even", EVEN), ("large", ())):
        candidates = [_apart(ranges, wanted)] if wanted else [_near_max(ranges)]
        at = next(filter(holds, candidates), {}) or next(filter(holds, _drawn(ranges, wanted)), {})
        if at:
            yield label, at
    if len(ranges) > 1:
        low, high = max(r.min for r in ranges.values()), min(r.max for r in ranges.values())
        alike = dict.fromkeys(ranges, min(max(INSIDE[0], low), high))
        if low <= high and holds(alike):
            yield "equal", alike


def _extents(network: Network, find_recipe: FindRecipe, at: Mapping[str, int]) -> dict[str, int]:
    """Every dimension that recipes name, static ones too."""
    found: dict[str, int] = {}
    for call in network.calls:
        recipe = find_recipe(call.plugin)
        for name, item in zip(call.inputs, recipe.inputs if recipe else (), strict=False):
            shape = network.tensor(name).shape
            if len(item.dims) == len(shape):
                found |= {dim: extent.evaluate(at) for dim, extent in zip(item.dims, shape, strict=True)}
    return found | dict(at)


def _apart(ranges: Mapping[str, Range], wanted: tuple[int, ...]) -> dict[str, int]:
    """A value for each dimension near the wanted ones: 2 or more, and no two alike, where the ranges allow it."""
    taken: dict[str, int] = {}
    for name, r in sorted(ranges.items(), key=lambda item: item[1].max):
        free = [n for n in wanted if r.min <= n <= r.max and n not in taken.values()]
        upwards = [n for n in range(max(r.min, 2), min(r.max, r.min + 16) + 1) if n not in taken.values()]
        downwards = [n for n in range(r.max, max(r.min, r.max - 16) - 1, -1) if n not in taken.values()]
        taken[name] = next(iter([*free[:1], *_odd_first(upwards), *_odd_first(downwards), r.max]))
    return taken


def _near_max(ranges: Mapping[str, Range]) -> dict[str, int]:
    """A value for each dimension just below its largest, odd where the range allows it, and no two alike."""
    taken: dict[str, int] = {}
    for name, r in sorted(ranges.items(), key=lambda item: item[1].max):
        below = [n for n in range(r.max - 1, max(r.min, r.max - 17) - 1, -1) if n not in taken.values()]
        taken[name] = next(iter([*_odd_first(below), r.max]))
    return taken


def _odd_first(values: list[int]) -> list[int]:
    return sorted(values, key=lambda n: n % 2 == 0)


def _drawn(ranges: Mapping[str, Range], wanted: tuple[int, ...]) -> Iterator[dict[str, int]]:
    """Random points: small ones for small wishes, any for none."""
    rng = np.random.default_rng(0)
    reach = 2 * max(wanted, default=2**31)
    for _ in range(2000):
        yield {n: int(rng.integers(r.min, min(r.max, r.min + reach), endpoint=True)) for n, r in ranges.items()}


def _on_the_line(ranges: Mapping[str, Range], wanted: int | None) -> dict[str, int]:
    """min plus whole steps towards max, so that what is linear between the dimensions stays so.

    Args:
        wanted: What every dimension is to reach; None: the last step before max.
    """
    steps = int(np.gcd.reduce([r.max - r.min for r in ranges.values()]))
    if steps <= 1:
        return {}
    slope = {n: (r.max - r.min) // steps for n, r in ranges.items()}
    if wanted is None:
        step = steps - 1
    else:
        step = next((k for k in range(1, steps) if all(ranges[n].min + k * slope[n] >= wanted for n in ranges)), 0)
    return {n: ranges[n].min + step * slope[n] for n in ranges} if step else {}


def shrunk(network: Network, find_recipe: FindRecipe, largest: int) -> dict[str, Shape] | None:
    """Smaller static shapes, where a tensor has more than `largest` elements; None where no dimension may shrink."""
    best = {name: r.opt for name, r in network.ranges.items()}
    if all(fits(tuple(d.evaluate(best) for d in t.shape), largest) for t in network.tensors):
        return None
    extents: dict[str, int] = {}
    shapes: dict[str, Shape] = {}
    for tensor in network.tensors:
        if tensor.role != "input":
            continue
        shape = [d.evaluate(best) for d in tensor.shape]
        for call in network.calls:
            recipe = find_recipe(call.plugin)
            if recipe is None or tensor.name not in call.inputs:
                continue
            index = call.inputs.index(tensor.name)
            dims = recipe.inputs[index].dims if index < len(recipe.inputs) else ()
            for axis, dim in enumerate(dims if len(dims) == len(shape) else ()):
                if dim in recipe.shrink and shape[axis] > 3:
                    free = [n for n in SMALL[1:] if n <= shape[axis] and n not in extents.values()]
                    shape[axis] = extents.setdefault(dim, free[0] if free else shape[axis])
        shapes[tensor.name] = tuple(shape)
    return shapes if extents else None


def fits(shape: Shape, largest: int) -> bool:
    """Whether a tensor of this shape has `largest` elements at most."""
    return int(np.prod(shape, dtype=np.int64)) <= largest
