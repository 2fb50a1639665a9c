# SPDX-License-Identifier: Apache-2.0
"""Other programs: they end when they should, and in any case when we do."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from aotfactory.core.errors import OutOfTimeError

_PR_SET_PDEATHSIG = 1
_ENDING = (signal.SIGTERM, signal.SIGHUP)

# The shell stays beside a program that starts others (make and its compilers), and ends the whole group when the pipe
# that only we hold is closed: by us, or because we are gone.
_WATCH = 'exec 3<&0 </dev/null; (read -r _ <&3; kill -s KILL 0) >/dev/null 2>&1 & exec 3<&-; exec "$@"'


class Ended(BaseException):
    """This process was told to end, with this signal. Not an Exception: nothing but cleaning up is to stop it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What became of a program: its exit code, negative for a signal, and what it said."""

    code: int
    stdout: str
    stderr: str


def run_program(
    command: Sequence[str],
    *,
    timeout: float,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    family: bool = False,
    on_line: Callable[[str], None] | None = None,
) -> Finished:
    """Run a program in a process group of its own, which ends with this call, whatever ends it.

    Args:
        timeout: Seconds.
        text: For its standard input; else that is empty.
        env: Its whole environment, by default ours.
        family: It starts other programs, which are to end even where this process is killed. Not with `text`.
        on_line: Is given every line of stdout as it comes. Not with `text`.

    Raises:
        OutOfTimeError: It ran longer.
        OSError: It cannot be started.
    """
    reading, writing = os.pipe() if family else (None, None)
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "sh", *command] if family else command,
            stdin=reading if family else subprocess.DEVNULL if text is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=env,
            start_new_session=True,
            preexec_fn=end_with(os.getpid()),
        )
        try:
            if on_line is None:
                stdout, stderr = process.communicate(text, timeout=timeout)
            else:
                stdout, stderr = _follow(process, timeout, on_line)
        except subprocess.TimeoutExpired:
            error = OutOfTimeError(f"stopped after {timeout:g} s: {' '.join(command)}")
            error.output = "".join(_end(process))
            raise error from None
        finally:  # ctrl-C or a signal: compilers and the like must not live on
            if process.poll() is None:
                _end(process)
    finally:
        for handle in (reading, writing):
            if handle is not None:
                os.close(handle)
    return Finished(code=process.returncode, stdout=stdout, stderr=stderr)


def _follow(process: subprocess.Popen[str], timeout: float, on_line: Callable[[str], None]) -> tuple[str, str]:
    """As `communicate`, but with each line of stdout when it comes."""
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[str] = []
    reader = threading.Thread(target=lambda stream: said.append(stream.read()), args=(process.stderr,), daemon=True)
    timer = threading.Timer(timeout, lambda: os.killpg(process.pid, signal.SIGKILL))
    reader.start()
    timer.start()
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            on_line(line)
        process.wait()
        reader.join()
    finally:
        late = not timer.is_alive()
        timer.cancel()
    if late:
        raise subprocess.TimeoutExpired(process.args, timeout)
    return "".join(lines), "".join(said)


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()


_libc = ctypes.CDLL(None)


def end_with(parent: int) -> Callable[[], None]:
    """A `preexec_fn`: Linux ends the child when `parent` is gone, even if that was killed."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # gone before that
            os._exit(1)

    return prepare


@contextmanager
def ending_orderly() -> Iterator[None]:
    """SIGTERM and SIGHUP become `Ended`, so that programs are stopped and temporary files removed on the way out."""

    def end(number: int, frame: object) -> None:
        for other in _ENDING:
            signal.signal(other, signal.SIG_IGN)  # once is enough: cleaning up is not to be interrupted
        raise Ended(number)

    try:
        # One that is ignored (nohup) stays so.
        before = {n: signal.signal(n, end) for n in _ENDING if signal.getsignal(n) not in (signal.SIG_IGN, None)}
    except ValueError:  # not the main thread: whoever has that decides
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
