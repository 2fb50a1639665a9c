# SPDX-License-Identifier: Apache-2.0
"""A variant as JSON values with its PTX, as the cache holds it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from aotfactory.compiler.bundle import Variant
from aotfactory.core import expressions


def variant_to_json(variant: Variant) -> dict[str, Any]:
    """All fields of a variant, its PTX included."""
    found = {field.name: getattr(variant, field.name) for field in fields(variant)}
    found["launch"] = {name: expr.to_json() for name, expr in variant.launch.items()}
    found["extra_args"] = [expr.to_json() for expr in variant.extra_args]
    return found


def variant_from_json(data: Mapping[str, Any]) -> Variant:
    """The variant that `variant_to_json` took down."""
    sequences = {name: tuple(data[name]) for name in ("dtypes", "formats", "parameters", "cluster")}
    return Variant(
        **{
            **data,
            **sequences,
            "launch": {name: expressions.from_json(expr) for name, expr in data["launch"].items()},
            "extra_args": tuple(expressions.from_json(expr) for expr in data["extra_args"]),
        }
    )
