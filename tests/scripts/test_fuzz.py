# SPDX-License-Identifier: Apache-2.0
"""A short run of the fuzzer with a fixed seed, and that it sees what breaks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import fuzz


def test_nothing_breaks_a_reader() -> None:
    assert fuzz.fuzz(400, seed=11) == []


def test_what_breaks_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def broken(rng: object, folder: Path) -> None:
        calls.append(1)
        if len(calls) > 1:  # the first is to load what is needed
            raise KeyError("name")

    monkeypatch.setattr(fuzz, "make_readers", lambda folder: {"one": broken})
    assert fuzz.fuzz(1, seed=1) == ["one, seed 1, case 0: KeyError: 'name'"]
