# SPDX-License-Identifier: Apache-2.0
"""How much commands tell: -v, -q, --log-file, their help, and results on a narrow terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import Run
from small_definitions import Definitions

from aotfactory.cli.main import app


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that compiles in no time, in the current directory."""
    monkeypatch.chdir(tmp_path)
    copy = Definitions(tmp_path)
    return [
        "compile",
        copy.id,
        "--plugins",
        str(copy.path),
        "--attr",
        "scale=1",
        "--max-shape",
        "8x64",
        "--min-shape",
        "1x64",
    ]


LEFT_OUT = "--opt-shape ... is left out: TensorRT chooses tactics at --max-shape, 8x64\n"


def test_what_is_left_out_is_said(run: Run, words: list[str]) -> None:
    assert LEFT_OUT in run(*words).err
    assert LEFT_OUT not in run(*words, "--opt-shape", "4x64").err
    assert LEFT_OUT not in run(*words, "--shape", "4x64").err


@pytest.mark.parametrize("place", ["before", "after"])
def test_quiet_and_verbose(run: Run, words: list[str], place: str) -> None:
    def with_option(option: str) -> list[str]:
        return [option, *words] if place == "before" else [*words, option]

    quiet = run(*with_option("-q"))
    assert (quiet.code, quiet.err) == (0, "")
    assert "wrote engines/copy.aot" in quiet.out
    verbose = run(*with_option("-v"))
    assert re.search(r"^ +\d+\.\d\d s  copy\.portable\.fp32-fp32\.t0$", verbose.err, re.MULTILINE)
    assert LEFT_OUT in verbose.err
    assert verbose.out == quiet.out


def test_errors_are_said_all_the_same(run: Run) -> None:
    assert run("-q", "compile", "nosuch").err.startswith("error: no recipe")
    assert run("compile", "circ_pad", "-q", "-v").code == 2


def test_the_log_has_all_of_it_with_the_time(run: Run, words: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert run(*words, "-q", "--log-file", str(log)).err == ""
    run("compile", "nosuch", "--log-file", str(log))
    text = log.read_text()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in text.splitlines())
    for part in (" + aotfactory compile ", " s  copy.portable.fp32-fp32.t0", LEFT_OUT, "Traceback", "error: no recipe"):
        assert part in text
    assert re.findall(r"exit code (\d)$", text, re.MULTILINE) == ["0", "2"]


def test_a_log_that_cannot_be_written(run: Run) -> None:
    done = run("list", "--log-file", "/no/such/log")
    assert done.code == 2
    assert done.err.startswith("error: cannot write /no/such/log: No such file or directory\n")


def commands() -> list[tuple[str, Any]]:
    group: Any = typer.main.get_command(app)
    inner = [(f"cache {name}", command) for name, command in group.commands["cache"].commands.items()]
    return [(name, command) for name, command in group.commands.items() if name != "cache"] + inner


@pytest.mark.parametrize(("name", "command"), commands())
def test_help_has_an_example_and_no_raw_types(run: Run, name: str, command: Any) -> None:
    shown = run(*name.split(), "--help").out
    assert re.search(rf"Example:\s+aotfactory {name}\b", shown)
    assert "<list" not in shown.replace("BUNDLE <list[Path]>", "")
    assert not re.search(r"--\S+ <(int|str|float|path|int range)>", shown)
    for option in ("--verbose", "--quiet", "--log-file", "--debug"):
        assert option in shown


class TestNarrow:
    @pytest.fixture(autouse=True)
    def _forty_columns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "40")

    def test_tables_are_broken_between_words(self, run: Run, words: list[str]) -> None:
        out = run(*words).out
        assert "arch portable\n    types fp32-fp32, tactic 0" in out
        rows = [line for line in out.splitlines() if line.startswith("  ")]
        for word in ("portable", "fp32-fp32,", "tactic", "block", "checks"):
            assert word in " ".join(rows).split()

    def test_a_recipe_in_full(self, run: Run) -> None:
        out = run("list", "rope").out
        assert "dimensions B S H" in out
        assert "Rotary position embedding of queries or\nkeys" in out
        assert (
            "\n* Dimensions are merged first: an\n  unpadded one joins the one before it,"
            in run("list", "circ_pad").out
        )


def test_a_recipe_in_full(run: Run) -> None:
    shown = run("list", "circ_pad").out
    assert re.search(r"pads +int32\[\] +1,1,1,1\n", shown)
    assert re.search(r"fp32 +nothing\n", shown)
    facts = json.loads(run("list", "rms_norm", "--format", "json").out)["recipes"]
    assert [recipe["name"] for recipe in facts] == ["rms_norm"]
    assert facts[0]["attribute_types"]
    assert facts[0]["tolerance"]["fp16"]["rtol"] > 0
    assert facts[0]["description"]
    missing = run("list", "nosuch")
    assert (missing.code, "there are circ_pad" in missing.err) == (2, True)


@pytest.mark.parametrize("command", ["inspect", "run", "bench", "validate", "bake"])
def test_a_path_that_is_not_there(run: Run, command: str) -> None:
    done = run(command, "engines/nothing.aot")
    assert done.code in (2, 3)
    if done.code == 2:
        assert "engines/nothing.aot is not a bundle: no such file or directory" in done.err


NAME = "x" * 100_000


@pytest.mark.parametrize(
    "words",
    [
        ["build", NAME],
        [NAME],
        ["build", "circ_pad", f"--{NAME}"],
        ["build", "circ_pad", "--engine", NAME],
        ["build", "circ_pad", "--attr", f"{NAME}=1"],
        ["build", f"{NAME}.onnx"],
        ["inspect", NAME],
        ["validate", "engines/a.aot", "--executor", NAME],
    ],
    ids=["target", "command", "option", "value", "attribute", "onnx", "path", "executor"],
)
def test_a_long_name_is_not_repeated_in_full(run: Run, words: list[str]) -> None:
    done = run(*words)
    assert done.code == 2
    assert "characters ...]" in done.err
    assert len(done.err) < 6000
    assert len(run(*words, "--format", "json").out) < 6000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "No such command 'nonsense'."),
        (["build"], "Missing argument 'TARGET'."),
        (["build", "circ_pad", "--nonsense"], "No such option: --nonsense"),
        (["build", "circ_pad", "--engine", "none"], "Invalid value for '--engine': "),
    ],
)
def test_errors_are_spelled_alike(run: Run, words: list[str], message: str) -> None:
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert re.match(r"Usage: .*aotfactory .*\nTry '.*aotfactory( build)? -h' for help\.\n\nerror: ", done.err)
    assert f"\nerror: {message}" in done.err


def test_without_a_command_there_is_help(run: Run) -> None:
    done = run()
    assert re.match("Usage: .*aotfactory ", done.out + done.err)
    assert "explain" in done.out + done.err
    assert "error:" not in done.err
    assert "characters ...]" not in done.err


def test_a_name_that_is_almost_right(run: Run) -> None:
    assert "hint: did you mean circ_pad? there are circ_pad, " in run("build", "circ_pat").err
    assert "hint: there are circ_pad, " in run("build", "zzz").err
