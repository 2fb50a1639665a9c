# SPDX-License-Identifier: Apache-2.0
"""The terminal: results go to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import enum
import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aotfactory.core.errors import MissingError

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


def print_json(value: Any) -> None:
    """Print a command's result for programs."""
    with _stdout():
        print(json.dumps(value, indent=1))


def show(render: Callable[[Console], None]) -> None:
    """Print a command's result for people: `render` prints it to the console it is given."""
    from rich.console import Console

    if sys.stdout is None:  # closed by whoever started us
        return
    terminal = sys.stdout.isatty()
    width = None if terminal or "COLUMNS" in os.environ else PIPE_WIDTH
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width)
    render(console)
    with _stdout():
        print(re.sub(r" +$", "", console.file.getvalue(), flags=re.MULTILINE), end="")  # type: ignore[attr-defined]


def say(text: str) -> None:
    """Tell people something that is not the result."""
    print(text, file=sys.stderr)


@contextmanager
def _stdout() -> Iterator[None]:
    """Print, and be done with it: a reader that goes away (``| head``) does not change what the command did."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer must not fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise MissingError(f"cannot write to standard output: {error.strerror}") from error


@contextmanager
def working() -> Iterator[Callable[[str], None]]:
    """Run the library: what it and the definitions print goes to stderr, and progress is shown if it takes long.

    Yields:
        A function to call with what is being done now.
    """
    doing, done = ["loading"], threading.Event()

    def report(text: str) -> None:
        doing[0] = text

    with contextlib.redirect_stdout(sys.stderr):
        # Only for a terminal: elsewhere, in a log, a moving line would be noise.
        thread = threading.Thread(target=_spin, args=(doing, done), daemon=True)
        if sys.stderr is not None and sys.stderr.isatty():
            thread.start()
        try:
            yield report
        finally:
            done.set()
            if thread.is_alive():
                thread.join()


def _spin(doing: list[str], done: threading.Event) -> None:
    if done.wait(PATIENCE):
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn("line"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(escape(doing[0]))
        while not done.wait(0.1):
            progress.update(task, description=escape(doing[0]))
