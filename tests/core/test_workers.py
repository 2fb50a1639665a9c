# SPDX-License-Identifier: Apache-2.0
"""Tasks in processes of their own: order, errors, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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


def test_process_that_dies() -> None:
    with pytest.raises(CheckError, match="was ended by SIGKILL"):
        run_all([partial(later, 0, 1), lambda: os.kill(os.getpid(), signal.SIGKILL)], 2)


MAIN = """
import os, signal, subprocess, sys, time
from pathlib import Path
from aotfactory.core.workers import run_all
signal.signal(signal.SIGINT, signal.default_int_handler)
def work(number):
    child = subprocess.Popen(["sleep", "60"])
    Path(sys.argv[1], f"{number}").write_text(f"{os.getpid()} {child.pid}")
    child.wait()
try:
    run_all([lambda number=number: work(number) for number in range(2)], 2)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    main = subprocess.Popen([sys.executable, "-c", MAIN, str(tmp_path)])
    deadline = time.monotonic() + 30
    while len([f for f in tmp_path.iterdir() if f.read_text()]) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    main.send_signal(signal.SIGINT)
    assert main.wait(timeout=20) == 130
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
