# SPDX-License-Identifier: Apache-2.0
"""Other programs: they end when they should, and in any case when we do."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aotfactory.core.errors import OutOfTimeError, OutputError
from aotfactory.core.limits import LIMITS

_PR_SET_PDEATHSIG = 1
_ENDING = (signal.SIGTERM, signal.SIGHUP)
_STOPPING = (*_ENDING, signal.SIGINT)

# The shell stays beside a program that starts others (make and its compilers), and ends the whole group when the pipe
# that only we hold is closed: by us, or because we are gone.
_WATCH = 'exec 3<&0 </dev/null; (read -r _ <&3; kill -s KILL 0) >/dev/null 2>&1 & exec 3<&-; exec "$@"'


_SHORTEST, _LONGEST = 0.0005, 0.05
"""Seconds between two looks at whether a program has ended."""


class Ended(BaseException):
    """This process was told to end, with this signal. Not an Exception: nothing but cleaning up is to stop it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The outcome of a program: its exit code, negative for a signal, and what it said."""

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
    leaf: bool = False,
    on_line: Callable[[str], None] | None = None,
    limit: int = LIMITS["output_bytes"],
) -> Finished:
    """Run a program in a process group of its own, which ends with this call, whatever ends it.

    It is over when the program itself has ended: what it started may go on, and keep its outputs open, for longer than
    anybody wants to wait.

    Args:
        timeout: Seconds.
        text: For its standard input; else that is empty.
        env: Its whole environment, by default ours.
        family: It starts other programs, which are to end even where this process is killed. Not with `text`.
        leaf: It starts no others and handles no signals, as a compiler: then it is started without a copy of all that
            this process has in memory, which takes 1 ms instead of 6.
        on_line: Is given every line of stdout as it comes.
        limit: Bytes that it may write to stdout and stderr together.

    Raises:
        OutOfTimeError: It ran longer.
        OutputError: It wrote more.
        OSError: It cannot be started.
    """
    keep_exit_codes()
    with_us = _with_us() if leaf else ()
    if with_us and not shutil.which(command[0]):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    reading, writing = os.pipe() if family else (None, None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)  # between the fork and `try` nobody would end it
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "sh", *command] if family else [*with_us, *command],
            stdin=reading if family else subprocess.DEVNULL if text is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
            preexec_fn=None if with_us else _end_with(os.getpid(), before),
        )
        talk = _Talk(process, (text or "").encode(), on_line, limit)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            talk.follow(time.monotonic() + timeout)
        except TimeoutError:
            error = OutOfTimeError(f"stopped after {timeout:g} s: {' '.join(command)}")
            error.output = talk.stdout + talk.stderr
            raise error from None
        except _TooMuch:
            raise OutputError(f"stopped, as it wrote more than {limit} bytes: {' '.join(command)}") from None
        finally:  # ctrl-C or a signal: compilers and the like must not live on
            talk.end()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for handle in (reading, writing):
            if handle is not None:
                os.close(handle)
    return Finished(code=process.returncode, stdout=talk.stdout, stderr=talk.stderr)


@functools.cache
def _with_us() -> tuple[str, ...]:
    """A command before another that has Linux end it when we are gone; empty where util-linux' setpriv is not here.

    As `_end_with`, but no code of ours runs in the child, so that it need not be a copy of us.
    """
    command = (shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL", "--")
    try:
        return command if run_program([*command, "true"], timeout=20).code == 0 else ()
    except (OSError, OutOfTimeError):
        return ()


def keep_exit_codes() -> None:
    """Have the system keep exit codes for us, even if whoever started this process did not want those of its own.

    Where SIGCHLD is ignored they are lost, and `subprocess` makes 0 of that: a program that failed has succeeded.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        with contextlib.suppress(ValueError):  # not the main thread: then `_Talk` finds out
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)


class _TooMuch(Exception):
    """A program wrote more than it may."""


class _Talk:
    """Everything that goes to a program and comes from it, until it ends."""

    def __init__(
        self, process: subprocess.Popen[bytes], text: bytes, on_line: Callable[[str], None] | None, limit: int
    ) -> None:
        self._process, self._text, self._on_line, self._left = process, memoryview(text), on_line, limit
        self._said: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
        self._told = 0
        self._selector = selectors.DefaultSelector()
        for stream in self._said:
            self._selector.register(stream, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin, selectors.EVENT_WRITE)

    @property
    def stdout(self) -> str:
        return _decoded(self._said[self._process.stdout])

    @property
    def stderr(self) -> str:
        return _decoded(self._said[self._process.stderr])

    def follow(self, end: float) -> None:
        """Raises TimeoutError at `end`, or `_TooMuch`; OSError if its exit code is lost."""
        pause = _SHORTEST
        while not self._ended():
            left = max(0.0, end - time.monotonic())
            if self._selector.get_map():  # their end tells, unless others keep them open
                self._talk(min(left, _LONGEST))
            else:
                time.sleep(min(left, pause))
                pause = min(2 * pause, _LONGEST)
            if time.monotonic() > end:
                raise TimeoutError
        while self._selector.get_map() and self._talk(0):  # what it said last
            pass
        self._tell(len(self._said[self._process.stdout]))

    def _ended(self) -> bool:
        """Whether it has ended. It is not waited for yet: its number stays its own, and its group's."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _talk(self, seconds: float) -> bool:
        """Write and read what is possible, once something is; False if nothing was for so long."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            if key.fileobj is self._process.stdin:
                self._write(key.fileobj)
            else:
                self._read(key.fileobj)
        return bool(ready)

    def _read(self, stream: Any) -> None:
        block, said = os.read(stream.fileno(), 1 << 16), self._said[stream]
        said += block
        self._left -= len(block)
        if self._left < 0:
            raise _TooMuch
        if not block:
            self._selector.unregister(stream)
        if stream is self._process.stdout:
            self._tell(said.rfind(b"\n", self._told) + 1)

    def _tell(self, last: int) -> None:
        """Tell of the lines of stdout up to there that were not told yet."""
        lines, self._told = self._said[self._process.stdout][self._told : last], max(last, self._told)
        if self._on_line:
            for line in lines.splitlines(keepends=True):
                self._on_line(_decoded(line))

    def _write(self, stream: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # it does not want to know
            self._text = self._text[os.write(stream.fileno(), self._text[: 1 << 16]) :] if self._text else self._text
            if self._text:
                return
        self._selector.unregister(stream)
        with contextlib.suppress(BrokenPipeError):
            stream.close()

    def end(self) -> None:
        """End the program, if it has not ended, and all of its group."""
        with contextlib.suppress(OSError):
            running = not self._ended()
            os.killpg(self._process.pid, signal.SIGKILL)
            if running:
                with contextlib.suppress(TimeoutError, _TooMuch):  # what it had said before
                    self.follow(time.monotonic() + 1)
        self._process.wait()
        self._selector.close()
        for stream in (self._process.stdin, *self._said):
            if stream is not None:
                stream.close()


def _decoded(said: bytes | bytearray) -> str:
    return said.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")


_libc = ctypes.CDLL(None)


def _end_with(parent: int, mask: Iterable[int]) -> Callable[[], None]:
    """A `preexec_fn`: Linux ends the child when `parent` is gone, even if that was killed.

    Args:
        mask: Signals that the child is to have blocked.
    """

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # gone before that
            os._exit(1)

    return prepare


@contextmanager
def ending_orderly() -> Iterator[None]:
    """SIGTERM and SIGHUP become `Ended`, so that programs are stopped and temporary files removed on the way out."""

    told: list[int] = []

    def end(number: int, frame: object) -> None:
        told.append(number)
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
    except Exception as error:
        if told:  # a library's code in C made another error of `Ended`, as where it was being imported
            raise Ended(told[0]) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
