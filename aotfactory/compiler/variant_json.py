# SPDX-License-Identifier: Apache-2.0
"""A variant as JSON values with its PTX, as the cache holds it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from aotfactory.compiler.bundle import Variant
from aotfactory.core import expressions

_TEXTS = ("id", "call", "plugin", "arch", "kernel", "text", "ptx_isa", "ptx_target")


def variant_to_json(variant: Variant) -> dict[str, Any]:
    """All fields of a variant, its PTX included."""
    found = {field.name: getattr(variant, field.name) for field in fields(variant)}
    found["launch"] = {name: expr.to_json() for name, expr in variant.launch.items()}
    found["extra_args"] = [expr.to_json() for expr in variant.extra_args]
    return found


def variant_from_json(data: Mapping[str, Any]) -> Variant:
    """The variant that `variant_to_json` took down.

    Raises:
        TypeError: A text is none. Or as the wrong arguments of a variant do.
    """
    if strange := [name for name in _TEXTS if not isinstance(data[name], str)]:
        raise TypeError(f"{strange[0]} of a variant is not text")
    sequences = {name: tuple(data[name]) for name in ("dtypes", "formats", "parameters", "cluster")}
    return Variant(
        **{
            **data,
            **sequences,
            "launch": {name: expressions.from_json(expr) for name, expr in data["launch"].items()},
            "extra_args": tuple(expressions.from_json(expr) for expr in data["extra_args"]),
        }
    )
