# SPDX-License-Identifier: Apache-2.0
"""Faults for scripts/attacks.py: full disks, other people's folders, compilers that crash, hang or lie, signals."""

from __future__ import annotations

import functools
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attacks import Attack

ROOT = Path(__file__).resolve().parents[1]
PTX = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 x)\n{ ret; }\n"


def aotfactory(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: Any = subprocess.PIPE,
    before: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """The command line in a process; a traceback, or its own exit code for one, is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "aotfactory", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        cwd=cwd,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        preexec_fn=before,
        check=False,
    )
    if "Traceback" in done.stderr or done.returncode == 70:
        raise RuntimeError(done.stderr[-300:])
    return done


def bundle(folder: Path, name: str = "copy.aot") -> Path:
    from test_bundle import made

    from aotfactory.compiler import bundle as bundles

    bundles.write(made(), folder / name)
    return folder / name


def inspect(folder: Path, *, code: int = 0, name: str = "copy.aot", **options: Any) -> str:
    done = aotfactory("inspect", bundle(folder, name), **options)
    if done.returncode != code:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-200:]}")
    return f"exit code {code}"


def full_disk(folder: Path) -> str:
    """A limit on the size of files is what a full disk is to whoever writes: write fails in the middle."""
    from test_bundle import made

    from aotfactory.compiler import bundle as bundles
    from aotfactory.core.errors import UsageError

    bundles.write(made("old"), folder / "copy.aot")
    before = sorted(p.name for p in (folder / "copy.aot").iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        bundles.write(made("new"), folder / "copy.aot")
    except UsageError:
        pass
    else:
        raise RuntimeError("nothing failed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    if sorted(p.name for p in (folder / "copy.aot").iterdir()) != before or bundles.read(folder / "copy.aot") != made(
        "old"
    ):
        raise RuntimeError("the old bundle is damaged")
    return "refused, the old bundle is whole"


def assembled(script: str, folder: Path, timeout: float = 2) -> str | None:
    """Assemble with a ptxas of our own making."""
    from aotfactory.compiler import ptxas
    from aotfactory.core.arch import parse_archs

    tool = folder / "ptxas"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    before = {name: os.environ.get(name) for name in ("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH")}
    os.environ.update(dict.fromkeys(before, str(tool)))
    ptxas._assemblers.cache_clear()
    try:
        ptxas.assemble(PTX, parse_archs("sm_80")[0], entry="k", timeout=timeout)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        ptxas._assemblers.cache_clear()
    return None


VERSION = '[ "$1" = --version ] && { echo "Cuda compilation tools, release 13.0, V13.0.1"; exit; }\n'


def ended(number: signal.Signals, folder: Path) -> str:
    """End a build in the middle of the interpreter's check."""
    out = folder / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "aotfactory", "compile", "layer_norm", "--out", str(out), "--arch", "sm_80"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(3)
    process.send_signal(number)
    code = process.wait(timeout=20)
    end = time.monotonic() + 10
    while left := [p for p in below(process.pid) if p != process.pid]:
        if time.monotonic() > end:
            raise RuntimeError(f"{len(left)} processes are left")
        time.sleep(0.1)
    if number is not signal.SIGKILL and code != 128 + number:
        raise RuntimeError(f"exit code {code}")
    if number is signal.SIGKILL:  # nobody can clean up after that; whoever started this removes the folder
        for path in Path(os.environ["TMPDIR"]).iterdir():
            import shutil

            shutil.rmtree(path, ignore_errors=True)
    if out.exists() and any(out.iterdir()):
        raise RuntimeError("something half-written is left")
    return f"exit code {code}, nothing is left"


def below(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[3] == str(session) and fields[0] != "Z":
            found.append(int(process.name))
    return found


def faults() -> Iterator[Attack]:
    yield Attack("faults", "the disk is full while a bundle is written", full_disk, refused=False)
    for name, options in {
        "standard output is full": {"stdout": "/dev/full", "code": 3},
        "an ASCII locale": {"env": {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}},
        "a locale that does not exist": {"env": {"LC_ALL": "xx_XX.UTF-9"}},
        "no HOME": {"env": {"HOME": "/nonexistent"}},
        "a path with a line feed": {"name": "a\nb.aot"},
        "a path that is not ASCII": {"name": "größe 日本.aot"},
        "a path with an escape sequence": {"name": "\x1b[2J.aot"},
        "a path with quotes and spaces": {"name": "a 'b' \"c\" $(d).aot"},
        "a path that is not UTF-8": {"name": os.fsdecode(b"\xff\xfe.aot")},
        "a narrow terminal": {"env": {"COLUMNS": "1"}},
        "little memory": {"before": functools.partial(resource.setrlimit, resource.RLIMIT_AS, (2**30, 2**30))},
    }.items():
        yield Attack("faults", name, functools.partial(opened, options), refused=False, seconds=30)
    for name, script in {
        "crashes": VERSION + "kill -SEGV $$",
        "hangs": VERSION + "sleep 100",
        "says nothing and fails": VERSION + "exit 1",
        "answers with bytes": VERSION + r"printf '\377\376\000' >&2; exit 1",
        "names a line that is not there": VERSION + 'echo "ptxas x, line 99999; error : bad" >&2; exit 1',
        "names a line of 5000 digits": VERSION + 'echo "ptxas x, line $(printf %05000d 1); error : bad" >&2; exit 1',
        "has a version that is no text": r"printf '\377\376\000'",
        "has a version of 5000 digits": 'echo "release $(printf %05000d 9).0"',
        "hangs when asked for its version": VERSION.replace("echo", "sleep 0; echo") + "exit 3",
    }.items():
        yield Attack(
            "faults", f"ptxas {name}", functools.partial(assembled, script), refused=name[:3] != "has", seconds=30
        )
    for name, script in {
        "says that it took 10^30 registers": VERSION + f"echo 'Used {'9' * 30} registers' >&2",
        "says nothing": VERSION + "exit 0",
        "prints to standard output": VERSION + "echo '{}'",
    }.items():
        yield Attack("faults", f"ptxas {name}", functools.partial(assembled, script), refused=False, seconds=30)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        run = functools.partial(ended, number)
        yield Attack("faults", f"{number.name} in the middle of a build", run, refused=False, seconds=60)


def opened(options: dict[str, Any], folder: Path) -> str:
    options = dict(options)
    if isinstance(options.get("stdout"), str):
        with open(options["stdout"], "w") as stdout:
            return inspect(folder, **{**options, "stdout": stdout})
    return inspect(folder, **options)
