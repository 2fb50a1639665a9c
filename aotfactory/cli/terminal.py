# SPDX-License-Identifier: Apache-2.0
"""The terminal: results go to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import datetime
import enum
import io
import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from aotfactory.core.errors import OptionsError, UnusablePlaceError, UnwritableError
from aotfactory.core.text import printable

if TYPE_CHECKING:
    from rich.console import Console

PATIENCE = 1.0
"""Seconds of silence before progress is shown."""

PIPE_WIDTH = 160
"""Columns where the reader is a program or a file; COLUMNS overrides it."""


class Format(str, enum.Enum):
    """How a command prints its result."""

    text = "text"
    json = "json"


ERROR, NOTICE, DETAIL, LOG_ONLY = range(4)
"""Levels of talk: errors always, notices unless --quiet, details with --verbose; the log gets all of it."""


@dataclass
class Talk:
    """How much is said, as the options want it."""

    level: int = NOTICE
    debug: bool = False
    """Whether errors are told with their tracebacks."""
    log: TextIO | None = None
    """Where all of it goes as well, with the time."""
    started: float = field(default_factory=time.monotonic)
    printed: bool = False
    """Whether a result has been printed for programs."""


talk = Talk()


def configure(*, verbose: bool, quiet: bool, log_file: Path | None, debug: bool) -> None:
    """Set how much is said; a command and the program before it may both say so.

    Raises:
        UsageError: --verbose and --quiet, or the log cannot be written.
    """
    if verbose and quiet:
        raise OptionsError("--verbose and --quiet exclude each other", hint="give one of them")
    if verbose or quiet:
        talk.level = DETAIL if verbose else ERROR
    talk.debug |= debug
    if log_file is not None:
        try:
            talk.log = open(  # noqa: SIM115  (it is open to the end)
                log_file, "a", encoding="utf-8", errors="backslashreplace"
            )
        except OSError as error:
            raise UnwritableError(
                f"cannot write {log_file}: {error.strerror}", hint="choose another --log-file"
            ) from error
        say(f"+ aotfactory {shlex.join(sys.argv[1:])}", DETAIL)


def print_json(value: Any) -> None:
    """Print a command's result for programs."""
    talk.printed = True
    with _stdout():
        print(json.dumps(value, indent=1).replace("\x7f", "\\u007f"))


def show(render: Callable[[Console], None]) -> None:
    """Print a command's result for people: `render` prints it to the console it is given."""
    from rich.console import Console

    if sys.stdout is None:  # closed by whoever started us
        return
    terminal = sys.stdout.isatty()
    width = None if terminal or "COLUMNS" in os.environ else PIPE_WIDTH
    # Text is text: styles are given beside it, and nothing in it is read as markup, an emoji or worth colours.
    plain = {"markup": False, "emoji": False, "highlight": False}
    console = _filtering(Console)(file=io.StringIO(), force_terminal=terminal, width=width, **plain)
    render(console)
    with _stdout():
        text = "\n".join(line.rstrip(" ") for line in console.file.getvalue().split("\n"))
        print(_encodable(text, sys.stdout), end="")


def _filtering(console: type[Console]) -> Any:
    """A console that prints what other people wrote as text, never as something that a terminal acts on.

    Rich's own styles are not part of the text yet where it passes here.
    """
    from rich.segment import Segment

    class Filtering(console):  # type: ignore[misc, valid-type]
        def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(printable(segment.text), segment.style)

    return Filtering


def _encodable(text: str, stream: TextIO) -> str:
    """The text with what the stream's encoding does not have escaped, as where the locale is C."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(text: str, level: int = NOTICE) -> None:
    """Tell people something that is not the result."""
    text = printable(text)
    if talk.log is not None:
        now = datetime.datetime.now().isoformat(" ", "seconds")
        with contextlib.suppress(OSError):  # a full disk is no reason to stop
            talk.log.write("".join(f"{now} {line}\n" for line in text.splitlines()))
            talk.log.flush()
    if level <= talk.level and sys.stderr is not None:
        with contextlib.suppress(OSError):  # nobody listens; what was done is done
            print(_encodable(text, sys.stderr), file=sys.stderr, flush=True)


@contextmanager
def _stdout() -> Iterator[None]:
    """Print, and be done with it: a reader that goes away (``| head``) does not change what the command did."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # The rest of the buffer must not fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise UnusablePlaceError(f"cannot write to standard output: {error.strerror}") from error


@contextmanager
def working() -> Iterator[Callable[[str], None]]:
    """Run the library: what it and the definitions print goes to stderr, and progress is shown if it takes long.

    Yields:
        A function to call with what is being done now.
    """
    doing, done = ["loading"], threading.Event()

    def report(text: str) -> None:
        if text != doing[0]:
            say(f"{time.monotonic() - talk.started:8.2f} s  {text}", DETAIL)
        doing[0] = text

    with _descriptor_1_to_stderr(), contextlib.redirect_stdout(sys.stderr):
        # Only for a terminal: elsewhere, in a log, a moving line would be noise.
        thread = threading.Thread(target=_spin, args=(doing, done), daemon=True)
        if sys.stderr is not None and sys.stderr.isatty() and talk.level == NOTICE:
            thread.start()
        try:
            yield report
        finally:
            done.set()
            if thread.is_alive():
                thread.join()


@contextmanager
def _descriptor_1_to_stderr() -> Iterator[None]:
    """Keep what programs and libraries write to descriptor 1 out of the result as well: ptxas inherits it."""
    try:
        kept = os.dup(1)
    except OSError:  # closed by whoever started us
        yield
        return
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _spin(doing: list[str], done: threading.Event) -> None:
    if done.wait(PATIENCE):
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn("line"), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(printable(doing[0]))
        while not done.wait(0.1):
            progress.update(task, description=printable(doing[0]))
