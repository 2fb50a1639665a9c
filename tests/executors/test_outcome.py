# SPDX-License-Identifier: Apache-2.0
"""What the interpreter check says of how much of a grid it ran."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aotfactory.executors.interpreter.outcome import Answer, _programs


def answer(place: str, run: int, of: int) -> Answer:
    task: Any = SimpleNamespace(situation=SimpleNamespace(label=place, shapes={"x": (of,)}))
    return Answer(task, "passed", run=run, of=of)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([("min", 4, 4), ("max", 9, 9)], "all programs"),
        ([("opt", 9, 9), ("opt", 4, 9)], "all programs, with some of the data a part of them"),
        ([("min", 4, 4), ("max", 4, 9)], "all programs at places without a number"),
        ([("opt", 4, 9)], "elements that no program writes were not looked for, for no grid was run as a whole"),
    ],
)
def test_the_programs_that_were_run(answers: list[tuple[str, int, int]], said: str) -> None:
    assert _programs([answer(*a) for a in answers]) == said
