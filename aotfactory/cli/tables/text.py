# SPDX-License-Identifier: Apache-2.0
"""Sentences and tables in a terminal: the parts that the other modules are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from aotfactory.core.check import Check

MARKS = {"passed": ("ok", "green"), "failed": ("FAILED", "bold red"), "skipped": ("skipped", "dim")}

Part = str | tuple[str, str]
"""A piece of a sentence: text, or text and the style that it gets. No text is ever read as markup."""


def say(console: Console, *parts: Part, wrap: bool = False) -> None:
    """A sentence: the terminal wraps it, so that it can be copied and searched in one piece; or `wrap` does."""
    console.print(Text.assemble(*parts), soft_wrap=not wrap)


def table_of(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(console: Console, table: Table) -> None:
    """A table; where the terminal is too narrow for it, each row as a sentence, which is broken between words."""
    rows = list(zip(*([column.header, *column.cells] for column in table.columns), strict=True))
    texts = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in rows]
    widths = (max(text.cell_len for text in column) for column in zip(*texts, strict=True))
    if sum(widths) + 2 * len(table.columns) <= console.width:
        console.print(Padding(table, (0, 0, 0, 2)))
        return
    headers = texts[0]
    for row in texts[1:]:
        words = [
            Text(" ").join((header, cell) if header else (cell,))
            for header, cell in zip(headers, row, strict=True)
            if cell
        ]
        console.print(Padding(words[0], (0, 0, 0, 2)))
        console.print(Padding(Text(", ").join(words[1:]), (0, 0, 0, 4)))


def value_text(value: object) -> str:
    items = value.tolist() if hasattr(value, "tolist") else value
    return ",".join(map(str, items)) if isinstance(items, list | tuple) else str(items)


def mark(checks: Sequence[Check]) -> tuple[Part, ...]:
    passed = sum(check.status == "passed" for check in checks)
    weak = next((c for c in checks if c.status == "passed" and (c.compared == "memory" or c.sampled)), None)
    if any(check.status == "failed" for check in checks):
        return (MARKS["failed"],)
    notes = [f"{passed} of {len(checks)}"] if passed != len(checks) else []
    notes += [] if weak is None else ["memory only" if weak.compared == "memory" else "sampled"]
    return (MARKS["passed"], f" ({', '.join(notes)})") if notes else (MARKS["passed"],)


_TACTIC = re.compile(r"(.*)(?:\.t| tactic )(\d+)", re.DOTALL)


def folded(checks: Iterable[Check]) -> list[tuple[str, Check]]:
    """Checks of tactics that had the same outcome as one: the subject, ``NAME tactics 1-7``, and the first of them."""
    groups: dict[tuple[object, ...], list[tuple[int | None, Check]]] = {}
    for check in checks:
        found = _TACTIC.fullmatch(check.subject)
        stem, tactic = (found[1], int(found[2])) if found else (check.subject, None)
        outcome = (check.name, check.status, check.detail, check.compared, check.sampled)
        groups.setdefault((stem, tactic is None, *outcome), []).append((tactic, check))
    result = []
    for (stem, *_), group in groups.items():
        numbers = sorted({tactic for tactic, _ in group if tactic is not None})
        subject = f"{stem} tactics {_ranges(numbers)}" if len(numbers) > 1 else group[0][1].subject
        result.append((subject, group[0][1]))
    return result


def _ranges(numbers: Sequence[int]) -> str:
    """``1-3, 5`` of numbers in order."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def print_skipped(console: Console, skipped: Mapping[str, str]) -> None:
    for name, reason in skipped.items():
        say(console, (f"built with --skip-check {name}", "bold yellow"), f", because {reason}")
