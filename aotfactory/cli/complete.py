# SPDX-License-Identifier: Apache-2.0
"""For the shell's completion: what may stand at a place of the command line. Nothing heavy is imported."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aotfactory.core.arch import KNOWN
from aotfactory.core.dtypes import DTYPES


def recipe_names(incomplete: str) -> list[str]:
    """The recipes that ship with aotfactory, without loading them."""
    names = (m.name for m in pkgutil.iter_modules(_folders()) if not m.name.startswith("_"))
    return sorted(name for name in names if name.startswith(incomplete))


def architectures(incomplete: str) -> list[str]:
    """``sm_80,sm_9``: the last of a list."""
    given, comma, last = incomplete.rpartition(",")
    used = given.split(",")
    return [
        f"{given}{comma}{name}" for name in (*KNOWN, "portable", "native") if name.startswith(last) and name not in used
    ]


def data_types(incomplete: str) -> list[str]:
    """``fp16``, or ``x=fp16``."""
    name, equals, last = incomplete.rpartition("=")
    return [f"{name}{equals}{dtype}" for dtype in DTYPES if dtype.startswith(last)]


def attributes(ctx: Any, incomplete: str) -> list[str]:
    """``pads=``: names of the attributes of the recipe that is the target, as its file declares them."""
    # Where --attr still lacks its value, the parser has not come to the arguments: they are left over.
    target = str(ctx.params.get("target") or next((text for text in ctx.args if not text.startswith("-")), ""))
    return [f"{name}=" for name in _attributes(target) if name.startswith(incomplete)]


def _folders() -> Iterable[str]:
    return importlib.import_module("aotfactory.kernels").__path__


def _attributes(target: str) -> list[str]:
    found: list[str] = []
    for call in _calls(target, "Recipe"):
        for keyword in call.keywords:
            if keyword.arg == "attributes" and isinstance(keyword.value, ast.Dict):
                found += [str(key.value) for key in keyword.value.keys if isinstance(key, ast.Constant)]
    return list(dict.fromkeys(found))


def _calls(target: str, name: str) -> list[ast.Call]:
    """The calls of a function in the file of a recipe that ships: read, not run, as the shell is waiting."""
    files = [Path(folder, f"{target}.py") for folder in _folders()] if target.isidentifier() else []
    nodes = (node for file in files if file.is_file() for node in ast.walk(ast.parse(file.read_text("utf-8"))))
    return [node for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name]
