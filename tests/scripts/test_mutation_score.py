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
    a += 1
    return min(a + 1, LIMIT)
'''
MODULE = """
def least(a, b):
    if a < b:
        return a
    return b


class Far:
    open = True

    def reach(self):
        return 3 + self.open
"""
TESTS = """
import far_module


def test_least():
    assert far_module.least(1, 2) == 1
    assert far_module.least(2, 1) == 1


def test_reach():
    assert far_module.Far().reach() == 4
"""


@pytest.fixture(scope="module")
def mutation() -> Any:
    with mock.patch.object(sys, "path", [str(ROOT / "scripts"), *sys.path]):
        return importlib.import_module("mutation_score")


def test_mutants_differ_in_one_place(mutation: Any) -> None:
    found = {(each.line, each.change): ast.unparse(each.tree) for each in mutation.mutants(SOURCE)}
    assert set(found) == {
        (3, "3 -> 4"),
        (3, "3 -> 2"),
        (7, "condition turned around"),
        (7, "not left out"),
        (7, "Lt -> LtE"),
        (8, "raise left out"),
        (10, "return None"),
        (9, "Add -> Sub"),
        (9, "1 -> 2"),
        (9, "1 -> 0"),
        (10, "Add -> Sub"),
        (10, "1 -> 2"),
        (10, "1 -> 0"),
    }
    original = ast.unparse(ast.parse(SOURCE)).splitlines()
    for (_, change), text in found.items():
        lines = text.splitlines()
        assert sum(a != b for a, b in zip(original, lines, strict=True)) == 1, change
        compile(text, "mutant", "exec")


@pytest.fixture
def far(mutation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tests of a module that is scored; pytest runs in pytest here."""
    (tmp_path / "far_module.py").write_text(MODULE)
    (tmp_path / "test_far.py").write_text(TESTS)
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    monkeypatch.setattr(mutation, "MODULES", {"far": ("far_module", [str(tmp_path / "test_far.py")])})
    monkeypatch.setattr(mutation, "PYTEST", [*mutation.PYTEST, f"--rootdir={tmp_path}", "--noconftest"])
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # which take most of the time
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "test_far.py"


def test_the_score_of_a_module(mutation: Any, far: Path) -> None:
    """No test can tell `<` from `<=` where equal numbers are alike; all else is found, outside functions too."""
    found = mutation.score("far")
    assert [(left["line"], left["change"]) for left in found["survived"]] == [(3, "Lt -> LtE")]
    assert (found["tried"], found["found"]) == (found["mutants"], found["mutants"] - 1)
    assert found["all_tests"] == 2, "the others are found by the tests of their lines"

    with far.open("a") as file:
        file.write("\n\ndef test_which():\n    assert far_module.least(1, True) is True\n")
    again = mutation.score("far", before=found)
    assert (again["tried"], again["found"], again["survived"]) == (found["mutants"], found["mutants"], [])
    with pytest.raises(SystemExit, match="have changed since"):
        mutation.score("far", before={**found, "sha256": ""})


def test_no_score_where_the_tests_fail(mutation: Any, far: Path) -> None:
    far.write_text("def test_nothing():\n    assert False\n")
    with pytest.raises(SystemExit, match="far_module: its tests fail as it is"):
        mutation.score("far")


def test_every_module_and_its_tests_are_there(mutation: Any) -> None:
    for name, tests in mutation.MODULES.values():
        assert (ROOT / Path(*name.split(".")).with_suffix(".py")).is_file()
        assert all((ROOT / test).is_file() for test in tests)
        assert list(mutation.mutants((ROOT / Path(*name.split(".")).with_suffix(".py")).read_text("utf-8")))
