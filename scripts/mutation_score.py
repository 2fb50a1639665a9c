# SPDX-License-Identifier: Apache-2.0
"""How many small mistakes in a module its own tests find: the mutation score.

    python scripts/mutation_score.py expressions ptx --sample 50

Each mutant differs from the module in one place: another comparison or operator, a number one higher, a condition
turned around, a statement left out. A mutant that the tests pass has survived, and is printed with its line; one that
never ends is found. Nothing is written.

A mutant costs little, as most are found by a quick look: the tests are collected and run once, and it is noted which
lines each of them runs; then a forked process gets the mutant's code in place of the function's, and runs the tests
that run its line, the fast ones first. What passes that has not survived yet: it is put in the module's place before
anything is imported, and all the tests run, to the first failure. So do mutants outside functions.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib.abc
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mutants import Mutant, mutants, put_in_place

ROOT = Path(__file__).resolve().parent.parent
MODULES = {
    "expressions": ("aotfactory.core.expressions", ["tests/core/test_expressions.py"]),
    "ptx": ("aotfactory.compiler.ptx", ["tests/compiler/test_ptx.py", "tests/compiler/test_calling_convention.py"]),
    "bundle": (
        "aotfactory.compiler.bundle",
        [f"tests/compiler/test_bundle{part}.py" for part in ("", "_hostile", "_library")],
    ),
    "manifest": (
        "aotfactory.compiler.manifest",
        [f"tests/compiler/test_bundle{part}.py" for part in ("", "_hostile", "_library")],
    ),
    "calling_convention": ("aotfactory.compiler.calling_convention", ["tests/compiler/test_calling_convention.py"]),
}
MEMORY = 6 << 30
"""Bytes that a mutant's process may take: one that never ends may also never stop taking."""
PYTEST = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
TALK = os.fdopen(os.dup(2), "w", buffering=1)
"""Standard error as it was: pytest has taken the other, when there is something to say."""


class _InPlace(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a module's name to other code."""

    def __init__(self, name: str, code: object, path: str) -> None:
        self.name, self.code, self.path = name, code, path

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return importlib.util.spec_from_loader(name, self, origin=self.path) if name == self.name else None

    def exec_module(self, module: object) -> None:
        module.__file__ = self.path  # type: ignore[attr-defined]
        exec(self.code, module.__dict__)  # type: ignore[call-overload]


def passes(job: Callable[[Path], int], limit: float) -> bool:
    """Whether `job` returns 0, in a forked process, before `limit` seconds are over; it gets a scratch directory."""
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as scratch:
        return _passes(functools.partial(job, Path(scratch)), limit)


def _passes(job: Callable[[], int], limit: float) -> bool:
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 1
        with contextlib.suppress(BaseException):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            code = job()
        os._exit(code)
    ends = time.monotonic() + limit
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        if time.monotonic() > ends:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.005)


class QuickLook:
    """A pytest plugin: instead of one run, one that notes each test's lines, and then one for each mutant.

    Attributes:
        unfound: The mutants that the tests of their lines pass, or whose lines no test runs; None after a failure.
        seconds: How long all tests took.
    """

    def __init__(self, path: Path, chosen: list[Mutant]) -> None:
        self.path, self.chosen = path, chosen
        self.unfound: list[Mutant] | None = None
        self.seconds = 0.0
        self._tests_of: dict[int, list[tuple[float, Any]]] = defaultdict(list)
        self._failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for item, following in zip(session.items, [*session.items[1:], None], strict=True):
            self._note(item, following)
        if self._failed:
            return True
        self.unfound = []
        for number, mutant in enumerate(self.chosen, 1):
            tests = sorted(
                {id(item): (took, item) for line in mutant.lines for took, item in self._tests_of[line]}.values(),
                key=lambda pair: pair[0],
            )
            limit = 10 + 5 * sum(took for took, _ in tests)
            items = [item for _, item in tests]
            if not items or passes(functools.partial(self._try, mutant, items), limit):
                self.unfound.append(mutant)
            if number % 25 == 0:
                print(f"{self.path.stem}: {number} of {len(self.chosen)}, {len(self.unfound)} unfound", file=TALK)
        return True

    def _note(self, item: Any, following: Any) -> None:
        lines: set[int] = set()

        def in_function(frame: Any, event: str, _: object) -> Any:
            lines.add(frame.f_lineno)
            return in_function

        def on_call(frame: Any, event: str, _: object) -> Any:
            return in_function(frame, event, _) if frame.f_code.co_filename == str(self.path) else None

        started = time.monotonic()
        before = sys.gettrace()
        sys.settrace(on_call)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        finally:
            sys.settrace(before)
        took = time.monotonic() - started
        self.seconds += took
        for line in lines:
            self._tests_of[line].append((took, item))

    def _try(self, mutant: Mutant, items: list[Any], scratch: Path) -> int:
        if not put_in_place(mutant, str(self.path)):
            return 0  # not to be judged this way
        items[0].config._tmp_path_factory._basetemp = scratch
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                return 1
        return 0


def survives(name: str, mutant: Mutant, path: Path, tests: list[str], limit: float) -> bool:
    """Whether all tests pass with the mutant in place of the module from the start."""

    def job(scratch: Path) -> int:
        sys.meta_path.insert(0, _InPlace(name, compile(mutant.tree, str(path), "exec"), str(path)))
        return int(pytest.main([*PYTEST, f"--basetemp={scratch}", *tests]))

    return passes(job, limit)


def look_at(path: Path, chosen: list[Mutant], tests: list[str]) -> tuple[float, list[int]]:
    """Seconds that all tests take, and which mutants a quick look does not find; in a process of its own.

    Raises:
        SystemExit: The tests fail without any mutant.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        look = QuickLook(path, chosen)
        with contextlib.suppress(BaseException), open(writing, "w") as pipe, open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
            pytest.main([*PYTEST, *tests], plugins=[look])
            if look.unfound is not None:
                json.dump([look.seconds, [chosen.index(mutant) for mutant in look.unfound]], pipe)
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        raise SystemExit(f"{path.stem}: its tests fail as it is")
    seconds, unfound = json.loads(answer)
    return seconds, unfound


def score(short: str, sample: int = 0, seed: int = 0, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """Kill the mutants of one module.

    Args:
        sample: How many, 0 for all.
        before: The result of another run: only what survived there is tried, and counted with what was found.

    Raises:
        SystemExit: Its tests fail without any mutant, or the other run was of another module or text.
    """
    name, tests = MODULES[short]
    path = ROOT / Path(*name.split(".")).with_suffix(".py")
    source = path.read_text("utf-8")
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    every = mutants(source)
    chosen = random.Random(seed).sample(every, min(sample, len(every))) if sample else every
    counts = {"mutants": len(every), "tried": len(chosen), "sha256": sha256}
    if before is not None:
        if before["sha256"] != sha256 or before["mutants"] != len(every):
            raise SystemExit(f"{short}: the module or its mutants have changed since")
        counts["tried"] = before["tried"]
        chosen = [every[left["number"]] for left in before["survived"]]
    inside = [mutant for mutant in chosen if mutant.lines]
    seconds, unfound = look_at(path, inside, tests)
    again = [inside[index] for index in unfound] + [mutant for mutant in chosen if not mutant.lines]
    print(f"{short}: {len(again)} of {len(chosen)} get all tests", file=TALK)
    left = []
    for mutant in again:
        if survives(name, mutant, path, tests, 60 + 5 * seconds):
            text = source.splitlines()[mutant.line - 1].strip()
            left.append({"number": every.index(mutant), "line": mutant.line, "change": mutant.change, "text": text})
            print(f"{short}:{mutant.line}: survived: {mutant.change}: {text}", file=TALK)
    found = counts["tried"] - len(left)
    return {**counts, "all_tests": len(again), "found": found, "score": found / counts["tried"], "survived": left}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=list(MODULES), help=", ".join(MODULES))
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only N mutants of each; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    again = "what an earlier run printed: only what survived there is tried, as after more tests"
    parser.add_argument("--again", type=Path, metavar="FILE", help=again)
    options = parser.parse_args()
    earlier = json.loads(options.again.read_text("utf-8")) if options.again else {}
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
    os.environ["AOTFACTORY_NO_CACHE"] = "1"
    # Needed by the tests and changed by no mutant: loaded once, before the processes are forked.
    for package in ("numpy", "triton", "hypothesis", "ml_dtypes", "fastjsonschema"):
        importlib.import_module(package)
    from hypothesis import Phase, settings

    # The same examples each time, no smaller ones looked for, and none kept for the next mutant.
    settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], database=None, derandomize=True)
    settings.load_profile("mutants")
    modules = [name for name in options.modules if not earlier or name in earlier]
    result = {name: score(name, options.sample, options.seed, earlier.get(name)) for name in modules}
    print(json.dumps(result, indent=1))
    for module, found in result.items():
        print(f"{module}: {found['found']} of {found['tried']} found, {found['score']:.1%}", file=TALK)


if __name__ == "__main__":
    main()
