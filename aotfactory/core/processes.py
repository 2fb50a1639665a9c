# SPDX-License-Identifier: Apache-2.0
"""Other programs: they end when they should, and in any case when we do."""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
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
    limit: int = LIMITS["output_bytes"],
) -> Finished:
    """Run a program in a process group of its own, which ends with this call, whatever ends it.

    Args:
        timeout: Seconds.
        text: For its standard input; else that is empty.
        env: Its whole environment, by default ours.
        family: It starts other programs, which are to end even where this process is killed. Not with `text`.
        on_line: Is given every line of stdout as it comes.
        limit: Bytes that it may write to stdout and stderr together.

    Raises:
        OutOfTimeError: It ran longer.
        OutputError: It wrote more.
        OSError: It cannot be started.
    """
    reading, writing = os.pipe() if family else (None, None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)  # between the fork and `try` nobody would end it
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "sh", *command] if family else command,
            stdin=reading if family else subprocess.DEVNULL if text is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
            preexec_fn=_end_with(os.getpid(), before),
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


class _TooMuch(Exception):
    """A program wrote more than it may."""


class _Talk:
    """Everything that goes to a program and comes from it, until both its outputs end."""

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
        """Raises TimeoutError at `end`, or `_TooMuch`."""
        while self._selector.get_map():
            for key, _ in self._selector.select(max(0.0, end - time.monotonic())):
                if key.fileobj is self._process.stdin:
                    self._write(key.fileobj)
                else:
                    self._read(key.fileobj)
            if time.monotonic() > end:
                raise TimeoutError
        try:
            self._process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None

    def _read(self, stream: Any) -> None:
        block, said = os.read(stream.fileno(), 1 << 16), self._said[stream]
        said += block
        self._left -= len(block)
        if self._left < 0:
            raise _TooMuch
        if not block:
            self._selector.unregister(stream)
        if self._on_line and stream is self._process.stdout:
            last = said.rfind(b"\n", self._told) + 1 if block else len(said)
            lines, self._told = said[self._told : last], max(last, self._told)
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
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
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
