# SPDX-License-Identifier: Apache-2.0
"""Inline assembly in the interpreter check: what each instruction does, and kernels that are written with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_judge import build, judged

from aotfactory.executors.interpreter.inline_asm import _execute

PI = 0x40490FDB


def run(text: str, *operands: int, outputs: int = 1) -> list[int]:
    kinds = ["=r"] * outputs + ["r"] * len(operands)
    return [int(r[0]) for r in _execute(text, kinds, [np.array([o], np.uint32) for o in operands], 1)]


@pytest.mark.parametrize(
    ("text", "operands", "result"),
    [
        ("cvt.rna.tf32.f32 $0, $1;", (PI,), 0x40490000),
        ("cvt.rna.tf32.f32 $0, $1;", (0x3F801000,), 0x3F802000),  # a half: away from zero
        ("cvt.rna.tf32.f32 $0, $1;", (0xBF801000,), 0xBF802000),
        ("cvt.rna.tf32.f32 $0, $1;", (0x7F800001,), 0x7F800001),  # NaN
        ("add.rn.ftz.f32 $0, $1, 0f00000000;", (0x80000001,), 0),  # a denormal
        ("ex2.approx.ftz.f32 $0, $1;", (0x40400000,), 0x41000000),
        ("max.f32 $0, $1, $2;", (0x7FC00000, PI), PI),
        ("fma.rn.f32 $0, $1, $2, 1.0;", (0x40000000, 0x40400000), 0x40E00000),
        ("cvt.rn.f16x2.f32 $0, $1, $2;", (0x3F800000, 0x40000000), 0x3C004000),
        ("cvt.rn.satfinite.e4m3x2.f32 $0, $1, $2;", (0x3F800000, 0x447A0000), 0x387E),
        ("{ .reg .b32 t; shl.b32 t, $1, 40; or.b32 $0, t, 0x7; }", (5,), 7),
        ("prmt.b32 $0, $1, $2, 0x5410;", (0x33221100, 0x77665544), 0x55441100),
        ("prmt.b32 $0, $1, 0, 0x888F;", (0x80,), 0xFFFFFF00),
        ("lop3.b32 $0, $1, $2, $3, 0xea;", (0b1100, 0b1010, 0b0001), 0b1001),  # (a & b) | c
        ("mad.lo.s32 $0, $1, -1, 1;", (3,), 0xFFFFFFFE),
    ],
)
def test_an_instruction(text: str, operands: tuple[int, ...], result: int) -> None:
    assert run(text, *operands) == [result], hex(run(text, *operands)[0])


@pytest.mark.parametrize("text", ["bar.sync 0;", "@p mov.b32 $0, $1;", "mov.u32 $0, %laneid;", "mov.b32 {a, b}, $1;"])
def test_what_is_not_known_is_not_guessed(text: str) -> None:
    with pytest.raises(NotImplementedError):
        run(text, 1)


@pytest.mark.parametrize("target", ["rounded", "squashed", "packed"])
def test_a_right_kernel(target: str, tmp_path: Path) -> None:
    (check,) = judged(build(tmp_path, "assembly", target))
    assert (check.status, check.compared) == ("passed", "reference"), check.detail


def test_a_wrong_kernel(tmp_path: Path) -> None:
    (check,) = judged(build(tmp_path, "assembly", "swapped"))
    assert (check.status, "elements differ" in check.detail) == ("failed", True), check.detail


def test_an_unknown_instruction_is_named(tmp_path: Path) -> None:
    (check,) = judged(build(tmp_path, "assembly", "unknown"))
    assert (check.status, "copysign.f32 $0, $1, $1" in check.detail) == ("skipped", True), check.detail
