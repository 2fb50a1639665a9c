# SPDX-License-Identifier: Apache-2.0
"""Shapes, data types and dimensions as Python callers give them, into the options of a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aotfactory.core.dtypes import find
from aotfactory.core.network import Shape, shape_text
from aotfactory.targets.request import TargetOptions, parse_dim, parse_shape

AnyShape = str | Sequence[int]
Shapes = AnyShape | Mapping[str, AnyShape] | None
"""A shape for the only input, or shapes by input name; ``"1x3x32x32"`` or ``(1, 3, 32, 32)``."""

Dims = Mapping[str, str | int | Sequence[int]] | None
"""Extents of named dimensions: ``(min, opt, max)``, ``"1:8:64"``, or a number for a static one."""

DTypes = str | Mapping[str, str] | None
"""A data type for all inputs, or data types by input name."""


def target_options(
    *,
    shape: Shapes = None,
    min_shape: Shapes = None,
    opt_shape: Shapes = None,
    max_shape: Shapes = None,
    dim: Dims = None,
    dtype: DTypes = None,
    attributes: Mapping[str, Any] | None = None,
) -> TargetOptions:
    """The options as values.

    Raises:
        UsageError: One of them cannot be read as what it should be.
    """
    return TargetOptions(
        shape=_shapes(shape),
        min_shape=_shapes(min_shape),
        opt_shape=_shapes(opt_shape),
        max_shape=_shapes(max_shape),
        dims=_dims(dim),
        dtype={name: find(kind).name for name, kind in _by_name(dtype).items()},
        attributes=dict(attributes or {}),
    )


def parsed_shape(given: AnyShape) -> Shape:
    """The shape of a text or of integers; both are checked alike."""
    if not isinstance(given, str) and not given:
        return ()  # a scalar's
    return parse_shape(given if isinstance(given, str) else shape_text(given))


def _shapes(given: Shapes) -> dict[str | None, Shape]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {name: parsed_shape(shape) for name, shape in given.items()}
    return {None: parsed_shape(given)}


def _dims(given: Dims) -> dict[str, tuple[int, int, int]]:
    def text(value: str | int | Sequence[int]) -> str:
        return str(value) if isinstance(value, str | int) else ":".join(map(str, value))

    return {name: parse_dim(text(value)) for name, value in (given or {}).items()}


def _by_name(dtype: DTypes) -> Mapping[str | None, str]:
    return {None: dtype} if isinstance(dtype, str) else dict((dtype or {}).items())
