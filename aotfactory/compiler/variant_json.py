# SPDX-License-Identifier: Apache-2.0
"""A variant as JSON values, as manifests hold it, and back. Its PTX stands elsewhere, under the names of its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aotfactory.compiler.variant import LaunchedKernel, Variant, Workspace
from aotfactory.core import arguments, expressions
from aotfactory.core.errors import DocumentError

Json = Mapping[str, Any]
Text = Callable[[Json], str]
"""The PTX of a kernel that is described by these JSON values."""


def variant_to_json(variant: Variant) -> dict[str, Any]:
    """All fields of a variant but its PTX."""
    return {
        "id": variant.id,
        "call": variant.call,
        "plugin": variant.plugin,
        "arch": variant.arch,
        "dtypes": list(variant.dtypes),
        "formats": list(variant.formats),
        "tactic": variant.tactic,
        **kernel_to_json(variant, variant.ptx),
        **({"workspaces": [_workspace_to_json(w) for w in variant.workspaces]} if variant.workspaces else {}),
        **({"then": [kernel_to_json(k, variant.file_of(k)) for k in variant.then]} if variant.then else {}),
    }


def kernel_to_json(kernel: LaunchedKernel, ptx: str) -> dict[str, Any]:
    """A kernel of a variant.

    Args:
        ptx: Name of its PTX file.
    """
    at_launch = kernel.cluster_at_launch
    return {
        "kernel": kernel.kernel,
        "ptx": ptx,
        "ptx_bytes": len(kernel.text.encode()),
        "sha256": kernel.sha256,
        "ptx_isa": kernel.ptx_isa,
        "ptx_target": kernel.ptx_target,
        "parameters": list(kernel.parameters),
        "launch": {name: expr.to_json() for name, expr in kernel.launch.items()},
        "extra_args": [argument.to_json() for argument in kernel.extra_args],
        **({"cluster": list(kernel.cluster)} if kernel.cluster != (1, 1, 1) else {}),
        **({"cluster_at_launch": list(at_launch)} if at_launch else {}),
        "registers": kernel.registers,
        "spills": kernel.spills,
    }


def variant_from_json(data: Json, text: Text) -> Variant:
    """The variant that `variant_to_json` took down.

    Raises:
        DefinitionError: An expression cannot be read, or a file is not named by its content.
        TypeError: A text is not one. Or as other values of the wrong type raise; a manifest's schema rules them out.
    """
    variant = Variant(
        id=_text(data, "id"),
        call=_text(data, "call"),
        plugin=_text(data, "plugin"),
        arch=_text(data, "arch"),
        dtypes=tuple(data["dtypes"]),
        formats=tuple(data["formats"]),
        tactic=data["tactic"],
        workspaces=tuple(
            Workspace(bytes=expressions.from_json(w["bytes"]), at_most=w["at_most"]) for w in data.get("workspaces", ())
        ),
        then=tuple(LaunchedKernel(**_kernel(item, text)) for item in data.get("then", ())),
        **_kernel(data, text),
    )
    for kernel, item in zip(variant.kernels, [data, *data.get("then", ())], strict=True):
        if (name := variant.file_of(kernel)) != item["ptx"]:
            raise DocumentError(f"{item['ptx']} is not the name of its content: {name}")
    return variant


def _kernel(data: Json, text: Text) -> dict[str, Any]:
    """The fields of a `LaunchedKernel`."""
    x, y, z = data.get("cluster", (1, 1, 1))
    at_launch = data.get("cluster_at_launch")
    return {
        "kernel": _text(data, "kernel"),
        "text": text(data),
        "ptx_isa": _text(data, "ptx_isa"),
        "ptx_target": _text(data, "ptx_target"),
        "parameters": tuple(data["parameters"]),
        "launch": {name: expressions.from_json(expr) for name, expr in data["launch"].items()},
        "extra_args": tuple(arguments.from_json(argument) for argument in data["extra_args"]),
        "cluster": (int(x), int(y), int(z)),
        "cluster_at_launch": tuple(map(int, at_launch)) if at_launch else None,
        "registers": data["registers"],
        "spills": data["spills"],
    }


def _workspace_to_json(workspace: Workspace) -> dict[str, Any]:
    return {"bytes": workspace.bytes.to_json(), "at_most": workspace.at_most}


def _text(data: Json, name: str) -> str:
    if not isinstance(value := data[name], str):
        raise TypeError(f"{name} of a variant is not a text")
    return value


def whole_to_json(variant: Variant) -> dict[str, Any]:
    """A variant with its PTX, as the cache holds it."""
    return {**variant_to_json(variant), "texts": variant.texts}


def whole_from_json(data: Json) -> Variant:
    """The variant that `whole_to_json` took down; raises as `variant_from_json` does."""
    return variant_from_json(data, from_texts(data["texts"]))


def from_texts(texts: Mapping[str, Any]) -> Text:
    """Takes a kernel's PTX from texts by the names of their files."""
    return lambda kernel: _text(texts, kernel["ptx"])
