# SPDX-License-Identifier: Apache-2.0
"""The mutation score: mutants differ in one place, are Python, and a test that looks finds them."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''
"""Words."""
LIMIT: int = 3

def least(a: int, b: int) -> int:
    """The smaller, up to LIMIT."""
    if not a < b:
        raise ValueError(f"{a} and {b}")
    return min(a + 1, LIMIT)
'''


@pytest.fixture(scope="module")
def mutation() -> Any:
    with mock.patch.object(sys, "path", [str(ROOT / "scripts"), *sys.path]):
        return importlib.import_module("mutation_score")


def test_mutants_differ_in_one_place(mutation: Any) -> None:
    found = {(line, change): ast.unparse(tree) for line, change, tree in mutation.mutants(SOURCE)}
    assert set(found) == {
        (3, "3 -> 4"),
        (7, "condition turned around"),
        (7, "not left out"),
        (7, "Lt -> LtE"),
        (8, "raise left out"),
        (9, "return None"),
        (9, "Add -> Sub"),
        (9, "1 -> 2"),
    }
    original = ast.unparse(ast.parse(SOURCE)).splitlines()
    for (_, change), text in found.items():
        lines = text.splitlines()
        assert sum(a != b for a, b in zip(original, lines, strict=True)) == 1, change
        compile(text, "mutant", "exec")


def test_every_module_and_its_tests_are_there(mutation: Any) -> None:
    for name, tests in mutation.MODULES.values():
        assert (ROOT / Path(*name.split(".")).with_suffix(".py")).is_file()
        assert all((ROOT / test).is_file() for test in tests)
        assert list(mutation.mutants((ROOT / Path(*name.split(".")).with_suffix(".py")).read_text("utf-8")))
