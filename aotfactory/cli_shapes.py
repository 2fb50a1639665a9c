# SPDX-License-Identifier: Apache-2.0
"""The options that give the inputs' shapes, as `build`, `compile` and `bake` take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from aotfactory.errors import UsageError

if TYPE_CHECKING:
    from aotfactory.targets import Request

Value = TypeVar("Value")

ShapeOption = Annotated[
    list[str], typer.Option("--shape", metavar="[NAME=]1x3x32x32", help="Shape of an input; opt, for a dynamic one.")
]
MinShape = Annotated[list[str], typer.Option("--min-shape", metavar="[NAME=]SHAPE", help="Smallest dynamic shape.")]
OptShape = Annotated[list[str], typer.Option("--opt-shape", metavar="[NAME=]SHAPE", help="Shape to optimise for.")]
MaxShape = Annotated[list[str], typer.Option("--max-shape", metavar="[NAME=]SHAPE", help="Largest dynamic shape.")]


def shapes_of(options: Mapping[str, Any]) -> Request:
    """What the options ask for the inputs' shapes."""
    from aotfactory.targets import Request, parse_shape

    names = ("shape", "min_shape", "opt_shape", "max_shape")
    shapes: dict[str, Any] = {n: named(f"--{n.replace('_', '-')}", options[n], parse_shape) for n in names}
    return Request(**shapes)


def named(option: str, texts: Sequence[str], convert: Callable[[str], Value]) -> dict[str | None, Value]:
    """``NAME=value`` and bare ``value`` options, by name; the bare one under None."""
    found: dict[str | None, Value] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        key = name if equals else None
        if key in found:
            whose = f"for {key}" if key else "without a name"
            raise UsageError(f"{option} is given twice {whose}", hint=f"name the inputs: {option} NAME={value}")
        found[key] = convert(value)
    return found
