# SPDX-License-Identifier: Apache-2.0
"""The command line in this process, as a user calls it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from aotfactory.cli import main as cli
from aotfactory.cli import terminal


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Result:
        monkeypatch.setattr(terminal, "talk", terminal.Talk())
        monkeypatch.setattr(sys, "argv", ["aotfactory", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capfd.readouterr()
        assert isinstance(caught.value.code, int)
        return Result(caught.value.code, out, err)

    return run
