# SPDX-License-Identifier: Apache-2.0
"""The README and the guide for authors: their commands run as they stand, and print what they say."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from small_definitions import SOURCE

from aotfactory.cli.main import app
from aotfactory.core.errors import AotError, catalogue
from aotfactory.plugins import tensorrt_api

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "docs/writing-kernels.md")}
README, GUIDE = DOCUMENTS.values()

# These take a GPU, and bake TensorRT's builder too.
NOT_HERE = ("bake", "run", "bench", "validate")
MAIN = "aotfactory build circ_pad --shape 1x3x32x32 --arch sm_80,sm_90,sm_120"
"""Has tests of its own."""


def commands(text: str) -> list[str]:
    """The aotfactory commands in the code blocks of a document."""
    found = re.findall(r"^(?:    (?:\$ )?|python .* && )(aotfactory .*)$", text, re.MULTILINE)
    return [command for command in found if command.split()[1] not in NOT_HERE and command != MAIN]


def run(command: str, directory: Path, user: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", "from aotfactory.cli.main import main; main()", *shlex.split(command)[1:]]
    env = {**user, "COLUMNS": "80"}
    return subprocess.run(words, cwd=directory, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files that the documents speak of."""
    directory = tmp_path_factory.mktemp("readme")
    mine = SOURCE.replace("NS::copy", "my::plugin").replace(", scale: int", "")
    (directory / "my_plugins.py").write_text(f"{mine}\ndef register_all():\n    pass\n", "utf-8")
    code = re.search(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    assert code
    (directory / "leaky_relu.py").write_text(code[1], "utf-8")
    return directory


def test_the_documents_have_commands() -> None:
    assert len(commands(README)) >= 3
    assert len(commands(GUIDE)) >= 3


@pytest.mark.parametrize("command", [c for text in DOCUMENTS.values() for c in commands(text)])
def test_a_command_works(command: str, place: Path, as_a_user: dict[str, str]) -> None:
    done = run(command, place, as_a_user)
    assert done.returncode == 0, done.stderr
    assert "FAILED" not in done.stdout


def plain(text: str) -> list[str]:
    """Lines without their alignment and without register counts, which change with Triton's version."""
    lines = [" ".join(line.split()) for line in text.strip().splitlines()]
    return [re.sub(r"^(sm_\d+ \S+ \d+ \d+ \d+) \d+ ", r"\1 REGS ", line) for line in lines]


def test_the_main_command_prints_what_the_readme_shows(tmp_path: Path, as_a_user: dict[str, str]) -> None:
    found = re.search(rf"^    \$ {MAIN}\n((?:    .*\n|\n)+)", README, re.MULTILINE)
    assert found
    done = run(MAIN, tmp_path, as_a_user)  # where no earlier engine is replaced, which would be told
    try:
        tensorrt_api.require_builder()
    except AotError:
        printed = done.stdout + done.stderr
        assert "REGS" in " ".join(plain(printed))
        assert plain(printed) == plain(found[1])
    else:
        pytest.skip("the README shows a machine without TensorRT's builder")


def test_the_main_command_lists_its_variants_and_all_checks_passed(place: Path, as_a_user: dict[str, str]) -> None:
    done = run(
        "aotfactory build circ_pad --shape 1x3x32x32 --arch sm_80,sm_90,sm_120 --engine bundle --format json",
        place,
        as_a_user,
    )
    report = json.loads(done.stdout)
    assert {v["arch"] for v in report["variants"]} == {"sm_80", "sm_90", "sm_120"}
    assert len(report["variants"]) >= 6
    assert len(report["checks"]) == 4 * len(report["variants"])
    assert {c["name"] for c in report["checks"]} == {"abi", "ptxas", "bounds", "interpreter"}
    assert {c["status"] for c in report["checks"]} == {"passed"}


def test_every_command_is_in_the_readme() -> None:
    registered = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    assert set(re.findall(r"^\| `aotfactory (\w+)", README, re.MULTILINE)) == registered


def test_every_exit_code_is_in_the_readme() -> None:
    codes = re.search(r"Exit codes: (.*?)\. ", README.replace("\n", " "))
    assert codes
    assert [int(n) for n in re.findall(r"(\d+) \w", codes[1])] == [
        0,
        *sorted({kind.exit_code for kind in catalogue().values()}),
        130,
    ]


@pytest.mark.parametrize("name", [*DOCUMENTS, "docs/checks.md"])
def test_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    targets = re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8"))
    assert targets or name != "README.md"
    assert [t for t in targets if "://" not in t and not (path.parent / t).exists()] == []
