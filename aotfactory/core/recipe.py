# SPDX-License-Identifier: Apache-2.0
"""Recipes: named, ready-to-build uses of a plugin, with the NumPy reference that judges its kernels."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aotfactory.core.dtypes import DTYPES
from aotfactory.core.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class Input:
    """One network input of a recipe.

    Attributes:
        name: Tensor name, as on the command line and in the engine.
        shape: Default shape, in elements.
        dims: A name for each dimension, used where it is dynamic. The same name in two inputs says that the two
            dimensions are equal; an input without a shape of its own takes named dimensions from the others.
        dtypes: Data types this input may have, the default first. Empty: it has the recipe's data type.

    What the data is that the input is validated with; nothing given: normal numbers, and NaN, infinities and zeros
    among them; 8-bit integers of all values; other integers such that they are an index of any tensor.

    Attributes:
        limits: Smallest and largest value; ``"any"``: negative integers too, and the extremes of the type.
        choices: The only values.
        data: ``data(rng, shape, inputs, dtype)`` returns an array of this shape; `rng` is a `numpy.random.Generator`,
            `inputs` the arrays of the inputs before this one by name, `dtype` a NumPy (or ml_dtypes) type.
        ordinary: Why it never holds NaN, infinities and the like; the report shows it.
    """

    name: str
    shape: tuple[int, ...]
    dims: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    limits: tuple[float, float] | Literal["any"] | None = None
    choices: tuple[float, ...] = ()
    data: Callable[..., Any] | None = None
    ordinary: str = ""

    def __post_init__(self) -> None:
        problem = ""
        if self.dims and len(self.dims) != len(self.shape):
            problem = f"has {len(self.dims)} dims for a shape of {len(self.shape)}"
        elif odd := [d for d in self.dims if not isinstance(d, str)]:
            problem = f"has dims with {odd[0]!r}, which is not a name: each dimension has one"
        elif unknown := [d for d in self.dtypes if d not in DTYPES]:
            problem = f"has unknown data type {unknown[0]!r}"
        elif sum((self.limits is not None, bool(self.choices), self.data is not None)) > 1:
            problem = "has several of limits, choices and data"
        elif self.limits is not None and self.limits != "any" and not _ordered(self.limits):
            problem = f"has limits {self.limits!r}, which are not a smallest and a largest value"
        if problem:
            raise RecipeError(f"input {self.name!r} {problem}", where=_caller(), hint="see aotfactory.Input")


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far an output may be from the reference ``ref``: by `atol`, or by ``rtol * |ref|``; 0 and 0: bit-exact."""

    atol: float = 0.0
    rtol: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A plugin with everything needed to build an engine from it and to judge the result.

    Attributes:
        name: What ``aotfactory build NAME`` calls it.
        plugin: Plugin id, ``namespace::name``.
        summary: One line for ``aotfactory list``.
        inputs: The network inputs, in the plugin's order.
        dtypes: Data types that the plugin supports, the default first.
        reference: ``reference(*arrays, **attributes)`` returns the expected output array, or a tuple of them.
            Arithmetic is done and returned in float64, pure data movement in the input's own type.
        outputs: Names of the outputs; empty: ``y``, or ``y0``, ``y1``, ... where there are several.
        attributes: Default plugin attributes.
        tolerance: By data type of the network, or of the output where every input has `dtypes` of its own, or where
            the output's is not among `dtypes`; a type that is not listed must match bit for bit.
        dynamic: Names of the dimensions that validation makes dynamic, from 1 up; empty: all named ones.
        chain: How many times the plugin is applied in a row, each time to the outputs of the time before.
        odd_shapes: Extra small shapes to validate with; each case gives one shape for every input.
        shrink: Names of dimensions that validation makes smaller, beside what was asked, where a tensor is too large to
            be compared: those that do not decide how the kernel works.
        constraint: ``constraint(dims)`` tells whether these extents by name go together; any do if there is none.
        extremes: Whether outputs are right for every value too: any integers, the largest numbers, denormals and
            infinities of both signs side by side. A sum of such depends on its order.
        ordinary: Why no input is to hold NaN, infinities and the like; the report shows it.

    Raises:
        DefinitionError: The recipe contradicts itself.
    """

    name: str
    plugin: str
    summary: str
    inputs: tuple[Input, ...]
    dtypes: tuple[str, ...]
    reference: Callable[..., Any]
    outputs: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    dynamic: tuple[str, ...] = ()
    chain: int = 1
    odd_shapes: tuple[tuple[tuple[int, ...], ...], ...] = ()
    shrink: tuple[str, ...] = ()
    constraint: Callable[[Mapping[str, int]], bool] | None = None
    extremes: bool = False
    ordinary: str = ""

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise RecipeError(f"recipe {self.name!r}: {problem[0]}", where=_caller(), hint=problem[1])

    def _problem(self) -> tuple[str, str] | None:
        """The problem with the recipe, and what to do about it."""
        if not self.dtypes:
            return "it has no data types", 'name at least one: dtypes=("fp32",)'
        for what, names in (("dtypes", self.dtypes), ("tolerance", self.tolerance)):
            if unknown := [n for n in names if n not in DTYPES]:
                return f"{what} names data type {unknown[0]!r}", f"there are {', '.join(DTYPES)}"
        dims = {d for item in self.inputs for d in item.dims}
        for what, names in (("dynamic", self.dynamic), ("shrink", self.shrink)):
            if unknown := [n for n in names if n not in dims]:
                known = ", ".join(sorted(dims)) or "none"
                return f"{what} names dimension {unknown[0]!r}, which no input has", f"dims of the inputs: {known}"
        for case in self.odd_shapes:
            shapes = case if isinstance(case, tuple | list) else ()
            if not shapes or not all(
                isinstance(s, tuple | list) and all(isinstance(n, int) for n in s) for s in shapes
            ):
                return f"odd_shapes has {case!r}", "each case is a tuple of shapes: odd_shapes=(((3, 5), (5,)),)"
            if len(shapes) > len(self.inputs):
                return f"odd_shapes has {case!r}, but there are {len(self.inputs)} inputs", "one shape for every input"
        return None


def _ordered(limits: Any) -> bool:
    try:
        low, high = limits
        return bool(low <= high) and not (math.isnan(low) or math.isnan(high))
    except (TypeError, ValueError):
        return False


def _caller() -> str:
    """File and line of the module that makes a recipe."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename in (__file__, "<string>"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
