# SPDX-License-Identifier: Apache-2.0
"""Options that go with a target: shapes, data types and attributes, by input name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aotfactory.core.errors import DimensionError, InputError, ShapeError
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Profile, Shape, shape_text

LARGEST_DIMENSION, MAX_RANK = LIMITS["extent"], LIMITS["rank"]
"""Limits of a tensor in TensorRT (NvInferRuntimeBase.h, Dims)."""


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """Shapes, data types and attributes that the user gave with a target.

    The keys are input names; None is the option given without a name, which means the only input.

    Attributes:
        shape, min_shape, opt_shape, max_shape: In elements. `shape` is a static shape, or the opt of a dynamic one.
        dtype: Data types; None as key stands for every input that follows the network's data type.
        attributes: Values or their command-line text.
        dims: Named dimensions, as min, opt and max extent.
    """

    shape: Mapping[str | None, Shape] = field(default_factory=dict)
    min_shape: Mapping[str | None, Shape] = field(default_factory=dict)
    opt_shape: Mapping[str | None, Shape] = field(default_factory=dict)
    max_shape: Mapping[str | None, Shape] = field(default_factory=dict)
    dtype: Mapping[str | None, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    dims: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


def profile_of(request: TargetOptions, name: str, names: list[str]) -> Profile | None:
    """The profile asked for an input: static from ``--shape``; dynamic from min, opt and max."""

    def given(shapes: Mapping[str | None, Shape]) -> Shape | None:
        return shapes.get(name, shapes.get(None) if len(names) == 1 else None)

    shape, low, high, opt = map(given, (request.shape, request.min_shape, request.max_shape, request.opt_shape))
    if low is None and high is None:
        if opt is not None:
            raise ShapeError(f"--opt-shape of {name} without --min-shape and --max-shape", hint="give all three")
        return Profile.static(shape) if shape is not None else None
    if low is None or high is None:
        missing = "--min-shape" if low is None else "--max-shape"
        raise ShapeError(f"a dynamic shape for {name} needs {missing} too", hint="give --min-shape and --max-shape")
    if shape is not None and opt is not None:
        raise ShapeError(f"--shape and --opt-shape of {name} mean the same", hint="give one of them")
    opt = opt or shape or high
    if not len(low) == len(opt) == len(high):
        texts = ", ".join(map(shape_text, (low, opt, high)))
        raise ShapeError(f"min, opt and max shapes of {name} have different ranks: {texts}", hint="use one rank")
    return Profile(min=low, opt=opt, max=high)


def check_names(request: TargetOptions, names: list[str], target: str) -> None:
    """Every option names an input of the target, and says which where there are several.

    Raises:
        UsageError: One does not.
    """
    for option, given in (
        ("--shape", request.shape),
        ("--min-shape", request.min_shape),
        ("--opt-shape", request.opt_shape),
        ("--max-shape", request.max_shape),
        ("--dtype", request.dtype),
    ):
        unknown = [n for n in given if n is not None and n not in names]
        if unknown:
            raise InputError(f"{option}: {target} has no input {unknown[0]!r}", hint=f"its inputs: {', '.join(names)}")
        if option != "--dtype" and None in given and len(names) > 1:
            raise InputError(
                f"{option} must say which input: {target} has {', '.join(names)}", hint=f"{option} {names[0]}=1x3x32x32"
            )
        if option != "--dtype" and None in given and names[0] in given:
            raise InputError(f"{option} is given twice for {names[0]}", hint="with and without its name")


def parse_shape(text: str) -> Shape:
    """``1x3x32x32`` as a shape; ``1,3,32,32`` and ``[1, 3, 32, 32]`` are the same.

    Raises:
        UsageError: It is not one.
    """
    if listed := re.fullmatch(r"[\[(]?(\d+(?:, ?\d+)+),?[\])]?", text.strip(), re.ASCII):
        text = re.sub(", ?", "x", listed[1])
    if not re.fullmatch(r"\d+(x\d+)*", text, re.ASCII):
        raise ShapeError(
            f"{text!r} is not a shape", hint="write 1x3x32x32; a dynamic one takes --min-shape and --max-shape"
        )
    shape = tuple(int(n) for n in text.split("x") if len(n) < 20)
    if len(shape) < text.count("x") + 1 or max(shape) > LARGEST_DIMENSION:
        raise ShapeError(f"{text!r} has a dimension above {LARGEST_DIMENSION}", hint="TensorRT has none so large")
    if len(shape) > MAX_RANK:
        raise ShapeError(f"{text!r} has {len(shape)} dimensions", hint=f"TensorRT has at most {MAX_RANK}")
    return shape


def parse_dim(text: str) -> tuple[int, int, int]:
    """``1:8:64`` as the min, opt and max extent of a dimension; ``8`` is static, ``1:64`` optimised for the largest.

    Raises:
        UsageError: It is none of these.
    """
    if not re.fullmatch(r"\d{1,19}(:\d{1,19}){0,2}", text, re.ASCII):
        raise DimensionError(f"{text!r} is not a range of extents", hint="write NAME=8, NAME=1:64 or NAME=1:8:64")
    numbers = [int(n) for n in text.split(":")]
    low, opt, high = numbers[0], numbers[len(numbers) // 2], numbers[-1]
    if not low <= opt <= high:
        raise DimensionError(f"{text!r} does not rise", hint="write the smallest, the usual and the largest extent")
    if high > LARGEST_DIMENSION:
        raise ShapeError(f"{text!r} has a dimension above {LARGEST_DIMENSION}", hint="TensorRT has none so large")
    return low, opt, high
