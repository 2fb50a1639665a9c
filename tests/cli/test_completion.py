# SPDX-License-Identifier: Apache-2.0
"""Completion: what is offered at a place of the command line, and that bash, zsh and fish offer it."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from aotfactory.cli import complete
from aotfactory.plugins.catalog import Catalog

NAMED = "import sys; sys.argv[0] = 'aotfactory'; from aotfactory.cli.main import main; main()"
NO_DETECTION = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"
"""Typer finds out which shell calls it, unless this is set: then that is an argument."""


OFFERED = {
    "comp": ["compile"],
    "build circ": ["circ_pad"],
    "build circ_pad --all": ["--all-dtypes"],
    "build circ_pad --engine t": ["tensorrt"],
    "list rop": ["rope"],
    "build rope --arch sm_80,sm_9": ["sm_80,sm_90"],
    "build rope --arch na": ["native"],
    "build rope --dtype x=bf": ["x=bf16"],
    "build circ_pad --attr p": ["pads="],
    "build no::such --attr p": [],
    "explain AOT50": ["AOT501", "AOT502", "AOT503"],
}

ASK = """
import json, os, sys
from aotfactory.cli.main import main
sys.argv = ["aotfactory"]
for words in json.loads(sys.stdin.read()):
    os.environ.update(COMP_WORDS=f"aotfactory {words}", COMP_CWORD=str(1 + words.count(" ")))
    try:
        main()
    except SystemExit:
        print("end", flush=True)
"""


def test_what_is_offered() -> None:
    """In a process in which a shell asks again and again, as it takes the program's name from how that is started."""
    env = {**os.environ, "_AOTFACTORY_COMPLETE": "complete_bash"}
    command, asked = [sys.executable, "-c", ASK], json.dumps(list(OFFERED))
    done = subprocess.run(command, env=env, input=asked, capture_output=True, text=True, check=True)
    answers = done.stdout.split("end\n")
    assert {words: answer.split() for words, answer in zip(OFFERED, answers, strict=False)} == OFFERED


def test_of_every_recipe_and_attribute() -> None:
    catalog = Catalog()
    catalog.load_all()
    assert complete.recipe_names("") == sorted(catalog.recipes)
    for recipe in catalog.recipes.values():
        context = SimpleNamespace(params={"target": recipe.name}, args=[])
        assert {f"{name}=" for name in recipe.attributes} <= set(complete.attributes(context, ""))


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, in which `aotfactory` is on the PATH and `model.onnx` in the current directory."""
    program = tmp_path / "bin" / "aotfactory"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.path[:0] = {sys.path!r}\n{NAMED}\n")
    program.chmod(0o755)
    (tmp_path / "model.onnx").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv(NO_DETECTION, "1")
    return tmp_path


def installed(name: str) -> str:
    """The shell's program, after `aotfactory --install-completion`."""
    if (found := shutil.which(name)) is None:
        pytest.skip(f"no {name} on the PATH")
    subprocess.run(["aotfactory", "--install-completion", name], capture_output=True, check=True)
    return found


def test_in_bash(shell: Path) -> None:
    """As bash calls it, which takes x, = and b for three words."""
    lines = {
        "aotfactory build circ_pad --dtype x=b": ["bf16", "bool"],
        "aotfactory build circ_pad --dtype=bf": ["bf16"],
        "aotfactory build circ_pad --arch=sm_80,nat": ["sm_80,native"],
        "aotfactory build rms_norm_": ["rms_norm_add"],
        "aotfactory build circ_pad --attr p": ["pads=", "nospace"],
        "aotfactory build circ_pad --engine ": ["auto", "tensorrt", "bundle"],
    }
    script = """
        COMP_WORDBREAKS=$' \\t\\n=:'
        compopt() { option=$2; }
        source ~/.bashrc
        while IFS= read -r COMP_LINE; do
            COMP_POINT=${#COMP_LINE} option=
            _aotfactory_completion aotfactory
            echo "${COMPREPLY[@]}" $option
        done
    """
    bash, typed = installed("bash"), "".join(f"{line}\n" for line in lines)
    done = subprocess.run([bash, "-c", script], input=typed, capture_output=True, text=True, check=True)
    assert [line.split() for line in done.stdout.splitlines()] == list(lines.values())


def test_in_fish(shell: Path) -> None:
    lines = {
        "comp": ["compile"],
        "build circ": ["circ_pad"],
        "build rope --arch sm_80,sm_9": ["sm_80,sm_90"],
        "build rope --arch=na": ["--arch=native"],
        "build rope --dtype x=bf": ["x=bf16"],
        "build circ_pad --attr p": ["pads="],
        "build mod": ["model.onnx"],
        "inspect ./mod": ["./model.onnx"],
        "build rope --out=mod": ["--out=model.onnx"],
    }
    script = "; ".join(f"complete -C 'aotfactory {line}'; echo" for line in lines)
    done = subprocess.run([installed("fish"), "-c", script], capture_output=True, text=True, check=True)
    found = [[line.partition("\t")[0] for line in answer.splitlines()] for answer in done.stdout.split("\n\n")]
    assert found[: len(lines)] == list(lines.values())


# The line as it stands, after the completion, for a program to read.
ZSHRC = """
show() { print -r -- "<<$BUFFER>>"; BUFFER= }
zle -N show
bindkey '^X^X' show
print started
"""


def test_in_zsh(shell: Path) -> None:
    lines = {
        "comp": "compile ",  # the first time, when the shell loads the function
        "build circ": "build circ_pad ",
        "build rope --arch sm_80,sm_9": "build rope --arch sm_80,sm_90 ",
        "build rope --arch=na": "build rope --arch=native ",
        "build rope --dtype x=bf": "build rope --dtype x=bf16 ",
        "build circ_pad --attr p": "build circ_pad --attr pads=",
        "build mod": "build model.onnx ",
        "build rope --out=mod": "build rope --out=model.onnx ",
    }
    zsh = installed("zsh")
    (shell / ".zfunc").chmod(0o755)  # whatever the umask: zsh asks before it loads what others may write to
    rc = shell / ".zshrc"
    rc.write_text(rc.read_text() + ZSHRC)
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm", ZDOTDIR=str(shell))
        os.execv(zsh, ["zsh", "-d", "-i"])
    try:
        until(terminal, "started")
        for typed, completed in lines.items():
            os.write(terminal, f"aotfactory {typed}\t\x18\x18".encode())
            assert until(terminal, ">>").partition("<<")[2] == f"aotfactory {completed}"
    finally:
        os.close(terminal)
        os.waitpid(process, 0)


def until(terminal: int, mark: str) -> str:
    """What the terminal shows before the mark."""
    shown, end = "", time.monotonic() + 60
    while mark not in shown:
        assert select.select([terminal], [], [], end - time.monotonic())[0], shown
        shown += os.read(terminal, 4096).decode(errors="replace")
    return shown.partition(mark)[0]
