# SPDX-License-Identifier: Apache-2.0
"""The catalogue of errors: every raise in the product is of a kind that has a code, and every kind is explained."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Run

from aotfactory.core import errors
from aotfactory.core.errors import AotError
from aotfactory.core.errors.base import LONGEST
from aotfactory.executors.native import program

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [p for folder in ("aotfactory", "kernels") for p in sorted((ROOT / folder).rglob("*.py"))]
CATALOGUE = errors.catalogue()
FROM_PROGRAMS = set(program._ERRORS.values())
"""Kinds that the C++ programs' exit codes become; their messages are in C++."""


def made() -> Iterator[tuple[Path, ast.Call, type[AotError]]]:
    """Every place where an error of ours is made: almost always to be raised there."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                kind = KINDS.get(name)
                if kind is not None:
                    yield path, node, kind


def subclasses(kind: type[AotError]) -> Iterator[type[AotError]]:
    yield kind
    for other in kind.__subclasses__():
        yield from subclasses(other)


KINDS = {kind.__name__: kind for kind in subclasses(AotError) if kind.__module__.startswith("aotfactory.")}
MADE = list(made())


def test_every_error_that_is_made_has_a_code() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{call.lineno}: {kind.__name__}"
        for path, call, kind in MADE
        if getattr(kind, "code", None) not in CATALOGUE
    ]
    assert wrong == [], "make one of the kinds in aotfactory/core/errors, or add one there"
    assert len(MADE) > 400


def test_every_kind_is_made_and_its_example_is_such_a_message() -> None:
    patterns: dict[object, list[str]] = {}
    for _, call, kind in MADE:
        if call.args:
            patterns.setdefault(kind.code, []).append(pattern(call.args[0]))
    wrong = [
        f"{code}: {kind.example}"
        for code, kind in CATALOGUE.items()
        if kind not in FROM_PROGRAMS and not any(re.fullmatch(p, kind.example, re.S) for p in patterns.get(code, ()))
    ]
    assert wrong == []


def pattern(message: ast.expr) -> str:
    """A regular expression for a message as it is written: what is put in matches anything."""
    if isinstance(message, ast.Constant):
        return re.escape(str(message.value))
    if isinstance(message, ast.JoinedStr):
        return "".join(pattern(part) for part in message.values)
    if isinstance(message, ast.BinOp):
        return pattern(message.left) + pattern(message.right)
    return ".*"


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_code_says_its_exit_code_and_its_kind_is_explained(code: str) -> None:
    kind = CATALOGUE[code]
    assert re.fullmatch(r"AOT[1-5]\d\d", code)
    assert int(code[3]) == kind.exit_code
    assert inspect.getdoc(kind) != inspect.getdoc(kind.__mro__[1])
    assert kind.example
    assert kind.remedy.endswith(".")
    assert kind("x", where="f.py:1", hint="y").to_json() == {
        "code": code,
        "message": "x",
        "where": "f.py:1",
        "hint": "y",
    }


def test_codes_are_those_of_no_other_kind() -> None:
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, AotError)]
    assert len(CATALOGUE) == len([kind for kind in kinds if isinstance(kind.code, str)])


def test_the_message_leads_to_the_explanation(run: Run) -> None:
    done = run("compile", "circ_pad", "--arch", "sm_91")
    assert done.code == 2
    assert done.err.startswith("error: unknown architecture 'sm_91'\n  hint: known are ")
    assert done.err.endswith("\n  more: aotfactory explain AOT205\n")
    explained = run("explain", "aot205")
    assert explained.code == 0
    assert "unknown architecture" in explained.out


def test_json_has_the_code(run: Run) -> None:
    done = run("compile", "circ_pad", "--arch", "sm_91", "--format", "json")
    assert json.loads(done.out)["error"]["code"] == "AOT205"
    explained = json.loads(run("explain", "AOT205", "--format", "json").out)
    assert (explained["exit_code"], explained["exception"]) == (2, "ArchitectureError")
    assert run("explain", "AOT999").code == 2


def test_json_of_a_command_line_that_cannot_be_read(run: Run) -> None:
    assert json.loads(run("compile", "--nonsense", "--format", "json").out)["error"]["code"] == "AOT200"


@pytest.mark.parametrize("order", [("--debug", "compile", "nosuch"), ("compile", "nosuch", "--debug")])
def test_debug_shows_the_traceback(run: Run, order: tuple[str, ...]) -> None:
    done = run(*order)
    assert "Traceback (most recent call last)" in done.err
    assert "resolve.py" in done.err
    assert "Traceback" not in run("compile", "nosuch").err


def test_texts_are_bounded_and_keep_both_ends() -> None:
    long = "begins" + "x" * 100_000 + "ends"
    error = errors.TargetError(long, where=long, hint=long)
    for name, most in LONGEST.items():
        text = str(error.to_json()[name])
        assert text.startswith("beginsx")
        assert text.endswith("xends")
        assert most < len(text) < most + 50
        assert f"[... {len(long) - most} characters ...]" in text
        assert getattr(errors.TargetError(**{"message": "", name: "y" * most}), name) == "y" * most
