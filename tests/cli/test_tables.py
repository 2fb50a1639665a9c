# SPDX-License-Identifier: Apache-2.0
"""Checks as the terminal shows them."""

from __future__ import annotations

import io

from rich.console import Console

from aotfactory.cli.tables.builds import print_checks
from aotfactory.cli.tables.text import folded
from aotfactory.core.check import Check


def of(subject: str, detail: str = "wrong", **more: object) -> Check:
    return Check(**{"name": "interpreter", "subject": subject, "status": "failed", "detail": detail, **more})  # type: ignore[arg-type]


def subjects(*checks: Check) -> list[str]:
    return [subject for subject, _ in folded(checks)]


def test_tactics_with_one_outcome_are_one() -> None:
    assert subjects(*(of(f"pad.sm_90.fp32-fp32.t{n}") for n in (1, 2, 3, 5))) == ["pad.sm_90.fp32-fp32 tactics 1-3, 5"]
    assert subjects(*(of(f"pad tactic {n}") for n in (9, 10))) == ["pad tactics 9-10"]


def test_others_stay_apart() -> None:
    first = of("pad.sm_90.fp32-fp32.t1")
    for other in (
        of("pad.sm_80.fp32-fp32.t2"),
        of("pad.sm_90.fp32-fp32.t2", "wrong elsewhere"),
        of("pad.sm_90.fp32-fp32.t2", status="skipped"),
        of("pad.sm_90.fp32-fp32.t2", compared="memory"),
        of("pad.sm_90.fp32-fp32.t2", name="bounds"),
        of("pad.sm_90.fp32-fp32"),
    ):
        assert subjects(first, other) == [first.subject, other.subject]


def test_one_tactic_keeps_its_name() -> None:
    assert subjects(of("pad.sm_90.fp32-fp32.t1"), of("pad.sm_90.fp32-fp32.t1")) == ["pad.sm_90.fp32-fp32.t1"]
    assert subjects(of("pad.aot"), of("pad.aot")) == ["pad.aot"]


def test_seven_tactics_take_two_lines() -> None:
    text = io.StringIO()
    print_checks(
        Console(file=text, width=100), [of(f"pad.sm_90.fp32-fp32.t{n}", compared="reference") for n in range(1, 8)], {}
    )
    assert text.getvalue().splitlines() == [
        "interpreter pad.sm_90.fp32-fp32 tactics 1-7: FAILED",
        "  wrong",
        "kernels: 7 failed",
    ]
