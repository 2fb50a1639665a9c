# SPDX-License-Identifier: Apache-2.0
"""TOML with the lines of its keys, for errors that say where; and no more of it than a reader can stand."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aotfactory.core.errors import FarmFileError

DEPTH = 32
"""Tables and lists inside each other, and parts of a dotted key: Python's reader takes the square of that, or ends in
a RecursionError."""

# Each alternative also matches what is not closed, so that time is in proportion to the text.
_STRINGS = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)'
    r"|'''.*?(?:'''|\Z)"
    r'|"(?:\\.|[^"\\\n])*"?'
    r"|'[^'\n]*'?"
    r"|#[^\n]*",
    re.DOTALL,
)
_HEADER = re.compile(r"\[+([\w.\s-]+)\]+")
_KEY = re.compile(r"([\w-]+)\s*[.=]")


def parse(text: str, path: Path) -> dict[str, Any]:
    """The values of a TOML document.

    Raises:
        UsageError: It is not TOML, or is nested deeper than `DEPTH`; with the line.
    """
    _require_shallow(text, path)
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        data: dict[str, Any] = tomllib.loads(text)
        return data
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        line = found[1] if found else text.count("\n") + 1
        message = str(error)[: found.start()] if found else str(error)
        raise FarmFileError(f"not TOML: {message[:200]}", where=f"{path}:{line}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, for one
        raise FarmFileError(f"not TOML: {error}", where=str(path)) from error


def lines(text: str) -> dict[tuple[Any, ...], int]:
    """Line of each table and of its keys; TOML's readers do not say. Values are not looked into."""
    found: dict[tuple[Any, ...], int] = {}
    table: tuple[Any, ...] = ()
    engines, depth = -1, 0
    for number, code in enumerate(_code(text), 1):
        code = code.strip()
        if depth == 0 and (header := _HEADER.match(code)):
            parts: list[Any] = [part.strip() for part in header[1].split(".")]
            engines += code.startswith("[[") and parts == ["engine"]
            table = tuple([*parts[:1], engines, *parts[1:]] if parts[0] == "engine" else parts)
            found.setdefault(table, number)
            continue
        if depth == 0 and (key := _KEY.match(code)):
            found.setdefault((*table, key[1]), number)
        depth = max(0, depth + _opened(code))
    return found


def _require_shallow(text: str, path: Path) -> None:
    depth = 0
    for number, code in enumerate(_code(text), 1):
        deepest = max(piece.count(".") + 1 for piece in re.split(r"[^\w\".\s-]", code))
        for bracket in re.findall(r"[\[\]{}]", code):
            depth = max(0, depth + (1 if bracket in "[{" else -1))
            deepest = max(deepest, depth)
        if deepest > DEPTH:
            raise FarmFileError(f"nested deeper than {DEPTH}", where=f"{path}:{number}", hint="see docs/farm.md")


def _code(text: str) -> Iterator[str]:
    """The lines with every string empty and without comments."""
    yield from _STRINGS.sub(lambda s: ("" if s[0][0] == "#" else '""') + "\n" * s[0].count("\n"), text).split("\n")


def _opened(code: str) -> int:
    """How many more lists and tables a line opens than it closes."""
    return sum(code.count(c) for c in "[{") - sum(code.count(c) for c in "]}")
