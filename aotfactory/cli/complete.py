# SPDX-License-Identifier: Apache-2.0
"""For the shell's completion: what may stand at a place of the command line. Nothing heavy is imported."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aotfactory.core.arch import KNOWN
from aotfactory.core.dtypes import DTYPES


def recipe_names(incomplete: str) -> list[str]:
    """The recipes that ship with aotfactory, without loading them: each has the name of its plugin."""
    return sorted(name for tree in _files() for name in _registered(tree) if name.startswith(incomplete))


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


def _files() -> Iterable[ast.Module]:
    """The files of the library: read, not run, as the shell is waiting."""
    for folder in importlib.import_module("aotfactory.kernels").__path__:
        for path in sorted(Path(folder).glob("[!_]*.py")):
            yield ast.parse(path.read_text("utf-8"))


def _registered(tree: ast.Module) -> list[str]:
    """Names of the plugins of a file: ``circ_pad`` of ``@trtp.register("aotfactory::circ_pad")``."""
    return [
        call.args[0].value.rpartition("::")[2]
        for call in _calls(tree, "register")
        if call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    ]


def _attributes(target: str) -> list[str]:
    found: list[str] = []
    for call in (call for tree in _files() if target in _registered(tree) for call in _calls(tree, "Recipe")):
        for keyword in call.keywords:
            if keyword.arg == "attributes" and isinstance(keyword.value, ast.Dict):
                found += [str(key.value) for key in keyword.value.keys if isinstance(key, ast.Constant)]
    return list(dict.fromkeys(found))


def _calls(tree: ast.Module, name: str) -> list[ast.Call]:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [call for call in calls if getattr(call.func, "attr", getattr(call.func, "id", "")) == name]
