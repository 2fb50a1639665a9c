# SPDX-License-Identifier: Apache-2.0
"""The terminal acts on nothing that other people wrote, and results are alone on standard output."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from aotfactory.cli import terminal
from aotfactory.cli.tables.builds import print_checks
from aotfactory.core.check import Check
from aotfactory.core.text import printable

HOSTILE = {
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x9b2J": r"\x9b2J",
    "\u202eexe.nalp": r"\u202eexe.nalp",
    "a\rb\x08": r"a\x0db\x08",
    "\u2066x\u2069": r"\u2066x\u2069",
    "zero\u200bwidth": r"zero\u200bwidth",
    "\ud800": r"\ud800",
    "\U000e0041": r"\U000e0041",
    "\x7f": r"\x7f",
    "\u2028": r"\u2028",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_would_act_on_is_escaped(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printable(text) == HOSTILE[text]
    terminal.say(text)
    terminal.show(lambda console: console.print(text))
    terminal.show(lambda console: print_checks(console, [Check(name=text, subject=text, status="failed")], {}))
    out, err = capsys.readouterr()
    assert err == HOSTILE[text] + "\n"
    assert printable(out) == out  # Rich drops some itself
    assert "FAILED" in out


def test_what_people_read_stays() -> None:
    for text in ("plain\ttext\n", "Größe 8 px", "日本語", "emoji 👍", ""):
        assert printable(text) == text


@pytest.mark.parametrize("text", ["[bold]x[/bold]", "[/]", "[red", "[link=http://x]y[/link]", "[/bold] [@click]"])
def test_markup_of_others_is_text(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    check = Check(name=text, subject=text, status="passed", detail=text)
    terminal.show(lambda console: print_checks(console, [check], {}))
    out = capsys.readouterr().out
    assert f"{text} {text}: ok" in out
    assert f"\n  {text}\n" in out


@pytest.mark.parametrize("text", ["[bold]x[/bold]", "[/]", "[link=http://x]y[/link]", ":warning:", "\\[x]"])
def test_text_is_never_markup(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """However it gets to the console: printed, in a cell, a title or a heading."""

    def everywhere(console: Console) -> None:
        table = Table(text, title=text, caption=text)
        table.add_row(text)
        console.print(text, table, Padding(text, 1))
        console.rule(text)

    terminal.show(everywhere)
    assert capsys.readouterr().out.count(text) == 7


def test_a_locale_without_the_characters() -> None:
    code = "from aotfactory.cli import terminal as t; t.say('Größe'); t.show(lambda c: c.print('Größe'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == done.stderr == "Gr\\xf6\\xdfe\n"


def test_descriptor_1_belongs_to_the_result(capfd: pytest.CaptureFixture[str]) -> None:
    with terminal.working():
        os.write(1, b"a library\n")
        subprocess.run(["echo", "a program"], check=True)
        print("a definition")
    terminal.print_json({"a": "\x1b\x7f\x9b"})
    out, err = capfd.readouterr()
    assert json.loads(out) == {"a": "\x1b\x7f\x9b"}
    assert printable(out) == out
    assert err == "a library\na program\na definition\n"
