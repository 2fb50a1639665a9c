# SPDX-License-Identifier: Apache-2.0
"""Data to judge a kernel with: as its recipe says, or such that any right kernel can bear it.

Integers may be indices, so unless a recipe says otherwise they are an index of any tensor. Special floats are chosen so
that the answer of a right kernel does not depend on the order of its sums: NaN and infinities stand in one input alone,
one kind in each row, beside rows without; numbers near the end of the type's range only where the recipe takes
`extremes`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aotfactory.core import dtypes
from aotfactory.core.errors import ReferenceCheckError
from aotfactory.core.network import Network, Shape
from aotfactory.core.recipe import Input, Recipe
from aotfactory.executors.inputs import Array, Kind, make_input

FindRecipe = Callable[[str], Recipe | None]
"""Gives the recipe of a plugin id, if one is loaded."""

INDICES = ("int32", "int64")
"""Types of integers that may be indices; narrower ones are data."""

TILE = 2**20 - 3
"""Elements that are drawn at random at most; a larger input repeats them."""


@dataclass
class Data:
    """The inputs of one run.

    Attributes:
        arrays: By the name of the tensor.
        notes: How they were made, where that bears on the verdict.
        guessed: Whether integers were made up that may be indices.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    guessed: bool = False


def make_inputs(
    network: Network,
    find_recipe: FindRecipe,
    shapes: Mapping[str, Shape],
    types: Mapping[str, str],
    kind: Kind,
    extents: tuple[int, ...] = (),
    draw: int = 0,
) -> Data:
    """Arrays for the network's inputs, the same on every machine for the same arguments.

    Args:
        shapes, types: Of the inputs, by name.
        extents: Dimensions of further tensors that an integer may be an index of.
        draw: Which random numbers: the first ones, or others for the integers and what a recipe tells.

    Raises:
        CheckError: A recipe's own function for the data raises, or gives something else than was asked for.
    """
    made = Data()
    highest = min((n for n in (*extents, *(n for s in shapes.values() for n in s)) if n > 1), default=1)
    carrier: str | None = None
    for name, shape in shapes.items():
        recipe, spec, given = _spec(network, find_recipe, name, made.arrays)
        element = dtypes.find(types[name]).array
        rng = np.random.default_rng([zlib.crc32(name.encode()), zlib.crc32(kind.encode()), *[draw] * (draw > 0)])
        any_value = recipe is not None and recipe.extremes
        reason = (spec.ordinary if spec else "") or (recipe.ordinary if recipe else "")
        if not reason and f"sorted_{name}" in shapes:
            reason = f"sorted_{name} holds it sorted, and NaN has no order"
        restricted = spec is not None and (
            spec.data is not None or bool(spec.choices) or spec.limits not in (None, "any")
        )
        if spec is not None and restricted:
            made.arrays[name] = _as_told(spec, rng, shape, given, element, kind)
        elif (twin := _sorted_twin(name, shape, types, made.arrays)) is not None:
            made.arrays[name] = twin
            of = name.removeprefix("sorted_")
            made.notes.append(
                f"{name} guessed by its name: {of} sorted, largest first (Input(data=...) says otherwise)"
            )
        elif types[name] in INDICES and not (any_value or (spec is not None and spec.limits == "any")):
            made.arrays[name] = rng.integers(0, highest, shape).astype(element)
            made.guessed = True
            made.notes.append(f"{name} made up: from 0 to below the smallest dimension, so that it may be an index")
        elif kind == "random" or reason or element.kind in "iub" or any_value:
            made.arrays[name] = _tiled(name, types[name], shape, "random" if reason else kind)
        else:
            carrier = carrier or name
            made.arrays[name] = _special(_tiled(name, types[name], shape, "random"), rng, name == carrier)
        if reason and kind == "adversarial" and element.kind not in "iub":
            made.notes.append(f"no NaN or infinities in {name}: {reason}")
    return made


def decisive(network: Network, find_recipe: FindRecipe, types: Mapping[str, str]) -> bool:
    """Whether an input holds integers that a kernel may go by: indices, lengths, labels, flags."""
    return any(
        dtypes.find(kind).array.kind in "ib" and (spec is None or spec.limits != "any")
        for name, kind in types.items()
        for _, spec, _ in [_spec(network, find_recipe, name, {})]
    )


def _spec(
    network: Network, find_recipe: FindRecipe, name: str, arrays: Mapping[str, Array]
) -> tuple[Recipe | None, Input | None, dict[str, Array]]:
    """The recipe and its input that a tensor is given to, and the other inputs of that call made so far."""
    for call in network.calls:
        recipe = find_recipe(call.plugin)
        if name in call.inputs and recipe is not None:
            named = dict(zip(call.inputs, recipe.inputs, strict=False))
            given = {item.name: arrays[n] for n, item in named.items() if n in arrays}
            return recipe, named.get(name), given
    return None, None, {}


def _as_told(
    spec: Input, rng: np.random.Generator, shape: Shape, given: dict[str, Array], element: Any, kind: Kind
) -> Array:
    if spec.data is not None:
        try:
            array = np.asarray(spec.data(rng, shape, given, element))
        except MemoryError:
            raise
        except Exception as error:
            raise ReferenceCheckError(f"data of input {spec.name} raises {type(error).__name__}: {error}") from error
        if array.shape != shape:
            raise ReferenceCheckError(
                f"data of input {spec.name} returns shape {array.shape} where {shape} was asked for"
            )
        return array.astype(element)
    if spec.choices:
        return rng.choice(np.asarray(spec.choices).astype(element), shape)
    assert isinstance(spec.limits, tuple)
    low, high = spec.limits
    if element.kind in "iub":
        values = rng.integers(int(low), int(high), shape, endpoint=True).astype(element)
    else:
        largest = 1e4  # limits may be infinite
        values = rng.uniform(max(low, -largest), min(high, largest), shape).astype(element)
    if kind == "adversarial":
        ends = [v for v in (low, high, 0) if low <= v <= high and abs(v) <= 1e4]
        if ends:
            values = np.where(rng.random(shape) < 0.25, rng.choice(np.asarray(ends).astype(element), shape), values)
    return np.asarray(values, element)


def _sorted_twin(name: str, shape: Shape, types: Mapping[str, str], arrays: Mapping[str, Array]) -> Array | None:
    """The data of a tensor `sorted_x` beside an `x` of its shape and type."""
    twin = arrays.get(name.removeprefix("sorted_")) if name.startswith("sorted_") else None
    if twin is None or twin.shape != shape or types[name] != types.get(name.removeprefix("sorted_")):
        return None
    return np.asarray(np.flip(np.sort(twin, -1), -1))


def _tiled(name: str, dtype: str, shape: Shape, kind: Kind) -> Array:
    count = int(np.prod(shape, dtype=np.int64))
    if count <= TILE:
        return make_input(name, dtype, shape, kind=kind)
    return np.resize(make_input(name, dtype, (TILE,), kind=kind), shape)


def _special(array: Array, rng: np.random.Generator, carrier: bool) -> Array:
    """Signed zeros among the elements; in the `carrier`, by rows: NaN, denormals, infinities, zeros alone."""
    import ml_dtypes

    limits = ml_dtypes.finfo(array.dtype)
    array = np.array(array)  # np.resize may give a view
    if not array.size:
        return array
    rows = array.reshape(-1, array.shape[-1] if array.ndim else 1)
    infinite = array.dtype.name != "float8_e4m3fn"  # this type has none
    small = [0.0, -0.0, float(limits.smallest_subnormal), float(limits.tiny)] if carrier else [0.0, -0.0]
    kinds: list[list[float]] = [[np.nan], small, [np.inf], [-np.inf]] if infinite else [[np.nan], small]
    several = len(kinds) + 1
    if carrier:
        rows[several - 1 :: several] = 0  # as padding is
    for first, values in enumerate(kinds if carrier else [small]):
        some = rows[first::several] if carrier else rows
        if some.size:
            places = rng.choice(some.size, max(1, min(some.size // 16, TILE)), replace=some.size > TILE)
            some[np.unravel_index(places, some.shape)] = rng.choice(np.asarray(values).astype(array.dtype), len(places))
    return array
