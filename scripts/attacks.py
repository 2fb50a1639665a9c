# SPDX-License-Identifier: Apache-2.0
"""Attacks and faults, tried one by one: each must be refused in words, in time, in little memory, and leave nothing.

    python scripts/attacks.py            try all, and print what did not stand
    python scripts/attacks.py --write    and write the table, docs/attacks.md
    python scripts/attacks.py -k onnx    only those of this kind

Fails on a traceback, on one that takes longer than its limit, on growth over 200 MB, on a file outside of the attack's
own folder, on a process or temporary file that is left, and on one that is taken although it must be refused. What is
attacked here is Python; the launcher has tests and fuzzers of its own (tests/executors, tests/fuzz).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "attacks.md"
FUZZED = [
    "Random damage, once: over 1,000,000 cases on 2026-11-27, x86-64, two cores that others used too. 300,000 of them",
    "with `tests/fuzz/bundle_fuzzer` (C++, AddressSanitizer and UndefinedBehaviorSanitizer, seeds 0 to 5 times 10^8):",
    "no report. The others with `scripts/fuzz.py`, reader by reader, seeds from 1001 on: manifests, records, rankings,",
    "PTX, expressions, `.npy`, trtexec's exports and logs, ONNX, farm.toml, cached entries, reports, options. What the",
    "rounds found was mended (half a pair of surrogates and wrong types in a cached entry, fields that a",
    "report lacks), those readers tried again; else 0 tracebacks, 0 cases over a second, none over 200 MB.",
]
SECONDS, MEGABYTES = 10.0, 200
"""Limits of one attack; in-process ones take milliseconds, the limit is for slow machines."""

sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
os.environ.setdefault("AOTFACTORY_NO_CACHE", "1")


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        run: Is given an empty folder; raises an `AotError` where it was refused, and may return words for what came of
            it.
        refused: Whether it must be refused; else it may be taken as what it is.
        seconds: That it may take.
    """

    kind: str
    name: str
    run: Callable[[Path], str | None]
    refused: bool = True
    seconds: float = SECONDS


class TooLong(BaseException):
    """The attack's time is up."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    def late(number: int, frame: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def attempt(attack: Attack, sandbox: Path) -> tuple[str, str]:
    """What came of an attack, and what is wrong with that; empty: it stood."""
    from aotfactory.core.errors import AotError

    folder, temporary = sandbox / "work", sandbox / "tmp"
    folder.mkdir()
    temporary.mkdir()
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    memory, wrong = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, ""
    others = children()
    try:
        with limited(attack.seconds), contextlib.redirect_stderr(io.StringIO()):
            outcome = attack.run(folder) or "taken as what it is"
        if attack.refused:
            wrong = "was not refused"
    except AotError as error:
        outcome = f"refused, exit code {error.exit_code}"
        if not error.message.strip():
            wrong = "was refused without a word"
    except TooLong:
        outcome, wrong = "hung", f"took longer than {attack.seconds:g} s"
    except Exception as error:
        outcome, wrong = "broke", f"{type(error).__name__}: {error}"[:300]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) // 1024
    if not wrong and grown > MEGABYTES:
        wrong = f"took {grown} MB"
    if not wrong and (found := [p.name for p in sandbox.iterdir() if p not in (folder, temporary)]):
        wrong = f"escaped: {found}"
    if not wrong and (found := [p.name for p in temporary.iterdir()]):
        wrong = f"left temporary files: {found}"
    if not wrong and (found := [command for number, command in children().items() if number not in others]):
        wrong = f"left processes: {found}"
    for path in (folder, temporary):
        shutil.rmtree(path, ignore_errors=True)
    return outcome, wrong


def children() -> dict[str, str]:
    """The processes below this one that still run: their numbers and command lines."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            if parent == str(os.getpid()) and state != "Z":
                found[process.name] = (process / "cmdline").read_text().replace("\0", " ")
    return found


def collect() -> list[Attack]:
    from attack_cases import cases

    return cases()


def table(rows: list[tuple[Attack, str]]) -> str:
    lines = [
        "# Attacks and faults",
        "",
        f"Made by `python scripts/attacks.py --write`: {len(rows)} attacks and faults, all of them tried in CI, which",
        "fails on a traceback, a hang, an escape, more than 200 MB, or a process or temporary file that is left.",
        "SECURITY.md at the top of the repository has the threat model and the limits.",
        "",
        *FUZZED,
        "",
        "| attack or fault | outcome |",
        "|---|---|",
    ]
    kind = ""
    for attack, outcome in rows:
        if attack.kind != kind:
            kind = attack.kind
            lines.append(f"| **{kind}** | |")
        name = attack.name.replace("|", "\\|").replace("`", "'")
        lines.append(f"| {name} | {outcome} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/attacks.md")
    parser.add_argument("-k", dest="only", default="", help="only the kinds that have this in their name")
    options = parser.parse_args()
    began, rows, failures = time.perf_counter(), [], 0
    attacks = [a for a in collect() if options.only in a.kind]
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
        for attack in attacks:
            outcome, wrong = attempt(attack, Path(folder))
            rows.append((attack, outcome))
            if wrong:
                failures += 1
                print(f"FAILED {attack.kind}: {attack.name}: {wrong}", flush=True)
    print(f"{len(attacks)} attacks and faults, {failures} did not stand, {time.perf_counter() - began:.0f} s")
    if options.write and not failures:
        TABLE.write_text(table(rows))
    if len(attacks) < 250 and not options.only:
        print("there are to be at least 250")
        return 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
