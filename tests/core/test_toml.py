# SPDX-License-Identifier: Apache-2.0
"""TOML: lines of keys, and what is too deep."""

from __future__ import annotations

from pathlib import Path

import pytest

from aotfactory.core import toml
from aotfactory.core.errors import UsageError


def test_lines_of_tables_and_keys() -> None:
    text = 'out = "a"\n[defaults] # [x]\narch = [\n  "sm_80", # ]\n]\n'
    text += '[[engine]]\ntarget = "[[engine]]"\n[[engine]]\na.b = 1\n'
    assert toml.lines(text) == {
        ("out",): 1,
        ("defaults",): 2,
        ("defaults", "arch"): 3,
        ("engine", 0): 6,
        ("engine", 0, "target"): 7,
        ("engine", 1): 8,
        ("engine", 1, "a"): 9,
    }


@pytest.mark.parametrize("depth", [toml.DEPTH, toml.DEPTH + 1])
def test_depth(depth: int) -> None:
    texts = [
        "a = " + "[" * depth + "]" * depth,
        ".".join(["a"] * depth) + " = 1",
        "a = " + "{b=" * depth + "1" + "}" * depth,
    ]
    for text in texts:
        if depth == toml.DEPTH:
            toml.parse(text, Path("f"))
        else:
            with pytest.raises(UsageError, match="nested deeper"):
                toml.parse(text, Path("f"))


def test_many_numbers_on_a_line_are_not_deep() -> None:
    assert len(toml.parse(f"a = [{', '.join(['1.5'] * 500)}]", Path("f"))["a"]) == 500
