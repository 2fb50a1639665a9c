# SPDX-License-Identifier: Apache-2.0
"""Tasks in processes of their own: order, errors, and nothing left behind."""

from __future__ import annotations

import ctypes
import faulthandler
import io
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from aotfactory.core.errors import CheckError, DefinitionError
from aotfactory.core.workers import completed, run_all


def later(seconds: float, value: int) -> int:
    time.sleep(seconds)
    return value


def wrong(seconds: float, name: str) -> int:
    time.sleep(seconds)
    raise DefinitionError(f"{name} is wrong", where="here", hint="mend it")


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_in_the_order_of_the_tasks(jobs: int) -> None:
    assert run_all([partial(later, 0.2 - i / 20, i) for i in range(4)], jobs) == [0, 1, 2, 3]


@pytest.mark.parametrize("jobs", [1, 4])
def test_first_error_wins_whichever_comes_first(jobs: int) -> None:
    tasks: list[Callable[[], int]] = [partial(later, 0, 0), partial(wrong, 0.3, "first"), partial(wrong, 0, "second")]
    with pytest.raises(DefinitionError, match="first is wrong") as caught:
        run_all(tasks, jobs)
    assert (caught.value.where, caught.value.hint) == ("here", "mend it")


@pytest.mark.parametrize("jobs", [1, 2])
def test_keep_going(jobs: int) -> None:
    tasks: list[Callable[[], int]] = [partial(wrong, 0, "a"), partial(later, 0, 1), partial(wrong, 0, "b")]
    outcomes = dict(completed(tasks, jobs, keep_going=True))
    assert [outcomes[i].error is None for i in range(3)] == [False, True, False]


def test_one_process_does_many_tasks_unless_they_are_kept_apart() -> None:
    tasks = [os.getpid] * 12
    assert len(set(run_all(tasks, 2))) <= 2
    apart = {outcome.result() for _, outcome in completed(tasks, 2, isolated=True)}
    assert len(apart) == 12
    assert os.getpid() not in apart


def crash() -> int:
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return ctypes.string_at(0)[0]  # SIGSEGV, as in LLVM


def out_of_time() -> int:
    signal.setitimer(signal.ITIMER_PROF, 0.1)  # as RLIMIT_CPU, which counts whole seconds
    while True:
        pass


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_crash_takes_only_its_own_task_along(jobs: int) -> None:
    tasks: list[Callable[[], int]] = [partial(later, 0, i) for i in range(8)]
    tasks[1], tasks[5] = crash, out_of_time
    outcomes = dict(completed(tasks, jobs, keep_going=True, isolated=jobs == 1))
    assert [outcome.value for _, outcome in sorted(outcomes.items())] == [0, None, 2, 3, 4, None, 6, 7]
    for index, name in ((1, "SIGSEGV"), (5, "SIGPROF")):
        assert f"was ended by {name}" in str(outcomes[index].error)


def test_a_task_that_ends_as_a_closed_pipe_does_is_no_success() -> None:
    def broken() -> int:
        raise EOFError

    with pytest.raises(CheckError, match="failed with exit code 1"):
        run_all([broken, broken], 2)


class OfItsProcess(io.StringIO):
    """A stream that only the process which made it may write to, as one whose lock a thread of that process holds."""

    def __init__(self) -> None:
        super().__init__()
        self.process = os.getpid()

    def write(self, text: str) -> int:
        assert os.getpid() == self.process
        return super().write(text)

    def flush(self) -> None:
        assert os.getpid() == self.process


def test_a_task_prints_with_streams_of_its_own(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    """A thread that shows progress holds locks of its streams now and then, also while tasks are forked."""
    monkeypatch.setattr(sys, "stdout", OfItsProcess())
    monkeypatch.setattr(sys, "stderr", OfItsProcess())

    def say(number: int) -> int:
        print(f"out {number}")
        print(f"error {number}", file=sys.stderr)
        return number

    assert run_all([partial(say, n) for n in range(3)], 2) == [0, 1, 2]
    printed = capfd.readouterr()
    assert sorted(printed.out.split("\n")) == ["", "out 0", "out 1", "out 2"]
    assert sorted(printed.err.split("\n")) == ["", "error 0", "error 1", "error 2"]


def test_process_that_dies_between_tasks() -> None:
    def dying(number: int) -> int:
        threading.Timer(0.05, os._exit, [3]).start()
        return number

    tasks = [partial(dying, 0), partial(later, 0.3, 1), partial(later, 0, 2), partial(later, 0, 3)]
    outcomes: dict[int, object] = {}
    for index, outcome in completed(tasks, 2, keep_going=True):
        outcomes[index] = outcome.value if outcome.error is None else str(outcome.error)
        time.sleep(0.1 if index == 0 else 0)  # so that it is gone when the next task is given to it
    assert outcomes == dict(enumerate(range(4)))


def test_process_that_dies() -> None:
    with pytest.raises(CheckError, match="was ended by SIGKILL"):
        run_all([partial(later, 0, 1), lambda: os.kill(os.getpid(), signal.SIGKILL)], 2)


MAIN = """
import os, signal, sys
from pathlib import Path
from aotfactory.core.processes import Ended, ending_orderly, run_program
from aotfactory.core.workers import run_all
signal.signal(signal.SIGINT, signal.default_int_handler)
folder, kind = sys.argv[1:]
def work(number):
    if kind.startswith("not") and number < 2:
        return
    script = f"echo {os.getpid()} $$ > {folder}/{number}; exec sleep 60"
    run_program(["sh", "-c", script], timeout=60, leaf=kind == "a leaf")
try:
    with ending_orderly():
        run_all([lambda number=number: work(number) for number in range(4)], 2)
except KeyboardInterrupt:
    sys.exit(130)
except Ended as error:
    sys.exit(error.exit_code)
"""


ENDINGS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}


@pytest.mark.parametrize("number", ENDINGS, ids=lambda n: n.name)
@pytest.mark.parametrize("kind", ["a program of its own", "a leaf", "not before the second task"])
def test_whatever_ends_the_caller_leaves_no_process(kind: str, number: signal.Signals, tmp_path: Path) -> None:
    main = subprocess.Popen([sys.executable, "-c", MAIN, str(tmp_path), kind])
    deadline = time.monotonic() + 30
    while len([f for f in tmp_path.iterdir() if len(f.read_text().split()) == 2]) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    main.send_signal(number)
    assert main.wait(timeout=20) == ENDINGS[number]
    processes = [int(pid) for file in tmp_path.iterdir() for pid in file.read_text().split()]
    assert len(processes) == 4
    assert [pid for pid in processes if alive(pid)] == []


def alive(pid: int) -> bool:
    for _ in range(100):  # what is ended is not gone at once
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":  # nobody here to wait for it
            return False
        time.sleep(0.02)
    return True
