# SPDX-License-Identifier: Apache-2.0
"""Independent tasks on all cores, in processes forked from this one, so that they start with everything loaded.

A process does one task after another, unless they are to be kept apart; one that dies takes only its own task along.

Results come in the tasks' order, whatever the number of processes. The first task, in that order, that fails decides;
and however the caller ends (an error, ctrl-C, a kill), no process is left behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TextIO, TypeVar, cast

from aotfactory.core.errors import AotError, WorkerError
from aotfactory.core.faults import fault
from aotfactory.core.processes import Ended, ending_orderly, keep_exit_codes

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Result = TypeVar("Result")

GRACE = 2.0
"""Seconds that a process has to clean up before it is killed."""

_PR_SET_PDEATHSIG = 1


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def run_all(tasks: Sequence[Callable[[], Result]], jobs: int) -> list[Result]:
    """The results of all tasks.

    Raises:
        AotError: The first task that failed did so with this.
    """
    results: dict[int, Result] = {}
    for index, outcome in completed(tasks, jobs):
        results[index] = outcome.result()
    return [results[index] for index in range(len(tasks))]


class Outcome(Generic[Result]):
    """The outcome of one task: a result or an error."""

    def __init__(self, value: Result | None = None, error: BaseException | None = None) -> None:
        self.value, self.error = value, error

    def result(self) -> Result:
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


def completed(
    tasks: Sequence[Callable[[], Result]],
    jobs: int,
    *,
    keep_going: bool = False,
    starting: Callable[[int], None] = lambda index: None,
    stop: Callable[[], bool] = lambda: False,
    isolated: bool = False,
) -> Iterator[tuple[int, Outcome[Result]]]:
    """Each task's index and outcome as it is done; after a failure nothing new is begun.

    What fails is held back until every task before it has come, so that the first error is the same for any `jobs`.

    Args:
        keep_going: Begin the others after a failure too, and hold nothing back.
        starting: Told the index of each task before it is begun.
        stop: Asked before each task; true: begin no more.
        isolated: A process for each task, which does nothing else, even where there is only one at a time.
    """
    if jobs <= 1 and not isolated:
        for index, task in enumerate(tasks):
            if stop():
                return
            starting(index)
            outcome = _attempt(task)
            yield index, outcome
            if outcome.error is not None and not keep_going:
                return
        return
    from multiprocessing.connection import wait  # late, as are those below: a cached build needs none of it

    keep_exit_codes()
    busy: dict[Connection, tuple[int, int]] = {}
    idle: dict[Connection, int] = {}
    failed: dict[int, Outcome[Result]] = {}
    begun = 0
    try:
        while busy or (begun < len(tasks) and not stop()):
            while len(busy) < max(jobs, 1) and begun < len(tasks) and not stop() and (keep_going or not failed):
                starting(begun)
                connection, process = _give(begun, tasks, idle, [*busy], isolated)
                busy[connection] = begun, process
                begun += 1
            for ready in wait(list(busy)):
                connection = cast("Connection", ready)
                index, process = busy[connection]
                outcome, lives = _collect(connection, process)
                del busy[connection]
                if lives and not isolated:
                    idle[connection] = process
                else:
                    connection.close()
                    if lives:  # for no longer than it takes to end
                        os.waitpid(process, 0)
                if outcome.error is None or keep_going:
                    yield index, outcome
                else:
                    failed[index] = outcome
            if failed and not keep_going and all(index > min(failed) for index, _ in busy.values()):
                yield min(failed), failed[min(failed)]
                return
    finally:
        _end([*(process for _, process in busy.values()), *idle.values()])
        for connection in (*busy, *idle):
            connection.close()


def _end(processes: Sequence[int]) -> None:
    """End these processes and what they started; they get a moment to remove their temporary files."""
    left = set(processes)
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, float("inf"))):
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, number)
        end = time.monotonic() + patience
        while left and time.monotonic() < end:
            left -= {process for process in left if os.waitpid(process, os.WNOHANG)[0]}
            time.sleep(0.001 if left else 0)


def _attempt(task: Callable[[], Result]) -> Outcome[Result]:
    try:
        return Outcome(task())
    except AotError as error:
        return Outcome(error=error)
    except (MemoryError, OSError) as error:
        if (known := fault(error)) is None:
            raise
        return Outcome(error=known)


def _give(
    number: int,
    tasks: Sequence[Callable[[], Any]],
    idle: dict[Connection, int],
    busy: Sequence[Connection],
    isolated: bool,
) -> tuple[Connection, int]:
    """Give a task to a process that has none, or to a new one; returns which."""
    while idle:
        connection, process = idle.popitem()
        try:
            connection.send(number)
        except BrokenPipeError:  # it died since, which is not this task's fault
            connection.close()
            os.waitpid(process, 0)
        else:
            return connection, process
    connection, process = _start(tasks, busy, isolated)
    with contextlib.suppress(BrokenPipeError):  # `_collect` finds that out as well
        connection.send(number)
    return connection, process


def _start(tasks: Sequence[Callable[[], Any]], others: Sequence[Connection], isolated: bool) -> tuple[Connection, int]:
    """Fork a process that does tasks, told by their numbers; its group is its own, to be ended with what it starts."""
    from multiprocessing.connection import Pipe

    here, there = Pipe()
    _flush()
    parent = os.getpid()
    process = os.fork()
    if process == 0:
        _work(tasks, there, [here, *others], parent, isolated)
    with contextlib.suppress(OSError):  # it may have done so itself, and be gone
        os.setpgid(process, process)
    there.close()
    return here, process


def _work(
    tasks: Sequence[Callable[[], Any]],
    connection: Connection,
    others: Sequence[Connection],
    parent: int,
    isolated: bool,
) -> NoReturn:
    """Do one task, or all that come, and end: nothing of the caller's `finally` or `atexit` runs here."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # Linux: not to outlive the parent
        if os.getppid() == parent:
            for other in others:
                other.close()
            sys.stdout, sys.stderr = _own(sys.stdout, 1), _own(sys.stderr, 2)
            import gc
            import pickle

            gc.freeze()  # what is inherited stays shared: a collection would write to all of it
            with ending_orderly():
                while (number := _next(connection)) is not None:
                    done = pickle.dumps(_attempt(tasks[number]))
                    _flush()
                    connection.send_bytes(done)
                    if isolated:
                        break
            code = 0
    except Ended as error:
        code = error.exit_code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _next(connection: Connection) -> int | None:
    """The number of the task to do next; None where there is none."""
    try:
        number: int = connection.recv()
    except EOFError:
        return None
    return number


def _own(inherited: TextIO | None, descriptor: int) -> Any:
    """A stream to where this one writes, but for this process alone.

    A thread of the parent, as that which shows progress, may have been writing when this process was forked: the lock
    that it held then is held for ever in this copy.
    """
    if inherited is None:
        return None
    encoding = getattr(inherited, "encoding", None) or "utf-8"
    return open(descriptor, "w", buffering=1, encoding=encoding, errors="backslashreplace", closefd=False)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _collect(connection: Connection, process: int) -> tuple[Outcome[Any], bool]:
    """A task's outcome, and whether its process lives."""
    import pickle

    try:
        return pickle.loads(connection.recv_bytes()), True
    except (EOFError, ConnectionResetError):
        _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
    message = f"a process of this build {how}"
    return Outcome(error=WorkerError(message, hint="run it with --jobs 1 to see more; is there enough memory?")), False
