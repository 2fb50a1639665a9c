# SPDX-License-Identifier: Apache-2.0
"""A variant as JSON values with its PTX, as the cache holds it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from aotfactory.compiler.bundle import LaunchedKernel, Variant, Workspace
from aotfactory.core import arguments, expressions

_TEXTS = ("kernel", "text", "ptx_isa", "ptx_target")
_OWN_TEXTS = ("id", "call", "plugin", "arch")


def variant_to_json(variant: Variant) -> dict[str, Any]:
    """All fields of a variant, its PTX included."""
    found = _kernel_to_json(variant)
    found["workspaces"] = [[w.bytes.to_json(), w.at_most] for w in variant.workspaces]
    found["then"] = [_kernel_to_json(kernel) for kernel in variant.then]
    return found


def variant_from_json(data: Mapping[str, Any]) -> Variant:
    """The variant that `variant_to_json` took down.

    Raises:
        TypeError: A text is none. Or as the wrong arguments of a variant do.
    """
    _require_texts(data, _OWN_TEXTS)
    return Variant(
        **{
            **_kernel(data),
            **{name: tuple(data[name]) for name in ("dtypes", "formats")},
            "workspaces": tuple(
                Workspace(bytes=expressions.from_json(expr), at_most=most) for expr, most in data["workspaces"]
            ),
            "then": tuple(LaunchedKernel(**_kernel(item)) for item in data["then"]),
        }
    )


def _kernel_to_json(kernel: LaunchedKernel) -> dict[str, Any]:
    found = {field.name: getattr(kernel, field.name) for field in fields(kernel)}
    found["launch"] = {name: expr.to_json() for name, expr in kernel.launch.items()}
    found["extra_args"] = [argument.to_json() for argument in kernel.extra_args]
    return found


def _kernel(data: Mapping[str, Any]) -> dict[str, Any]:
    _require_texts(data, _TEXTS)
    at_launch = data["cluster_at_launch"]
    return {
        **data,
        **{name: tuple(data[name]) for name in ("parameters", "cluster")},
        "cluster_at_launch": None if at_launch is None else tuple(at_launch),
        "launch": {name: expressions.from_json(expr) for name, expr in data["launch"].items()},
        "extra_args": tuple(arguments.from_json(argument) for argument in data["extra_args"]),
    }


def _require_texts(data: Mapping[str, Any], names: tuple[str, ...]) -> None:
    if strange := [name for name in names if not isinstance(data[name], str)]:
        raise TypeError(f"{strange[0]} of a variant is not text")
