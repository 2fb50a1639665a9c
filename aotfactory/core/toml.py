# SPDX-License-Identifier: Apache-2.0
"""TOML with the lines of its keys, for errors that say where."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from aotfactory.core.errors import UsageError


def parse(text: str, path: Path) -> dict[str, Any]:
    """The values of a TOML document.

    Raises:
        UsageError: It is none; with the line.
    """
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        data: dict[str, Any] = tomllib.loads(text)
        return data
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        line = found[1] if found else text.count("\n") + 1
        message = str(error)[: found.start()] if found else str(error)
        raise UsageError(f"not TOML: {message}", where=f"{path}:{line}") from error


def lines(text: str) -> dict[tuple[Any, ...], int]:
    """Line of each table and of its keys; TOML's readers do not say. Values are not looked into."""
    found: dict[tuple[Any, ...], int] = {}
    table: tuple[Any, ...] = ()
    engines, depth = -1, 0
    for number, line in enumerate(text.splitlines(), 1):
        code = re.sub(r'"(\\.|[^"\\])*"|\'[^\']*\'', '""', line).partition("#")[0]
        if depth == 0 and (header := re.match(r"\s*\[+\s*([\w.\s-]+?)\s*\]+", code)):
            parts: list[Any] = re.split(r"\s*\.\s*", header[1])
            engines += code.lstrip().startswith("[[") and parts == ["engine"]
            table = tuple([*parts[:1], engines, *parts[1:]] if parts[0] == "engine" else parts)
            found.setdefault(table, number)
            continue
        if depth == 0 and (key := re.match(r"\s*([\w-]+)\s*[.=]", code)):
            found.setdefault((*table, key[1]), number)
        depth = max(0, depth + sum(code.count(c) for c in "[{") - sum(code.count(c) for c in "]}"))
    return found
