# SPDX-License-Identifier: Apache-2.0
"""Recipes: named, ready-to-build uses of a plugin, with the NumPy reference that judges its kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Input:
    """One network input of a recipe.

    Attributes:
        name: Tensor name, as on the command line and in the engine.
        shape: Default shape, in elements.
        dims: A name for each dimension, used where it is dynamic. The same name in two inputs says that the two
            dimensions are equal; an input without a shape of its own takes named dimensions from the others.
        dtypes: Data types this input may have, the default first. Empty: it has the recipe's data type.
    """

    name: str
    shape: tuple[int, ...]
    dims: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()


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
        tolerance: By data type of the network; a type that is not listed must match bit for bit.
        dynamic: Names of the dimensions that validation makes dynamic, from 1 up; empty: all named ones.
        chain: How many times the plugin is applied in a row, each time to the outputs of the time before.
        odd_shapes: Extra small shapes to validate with; each case gives one shape for every input.
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
