# SPDX-License-Identifier: Apache-2.0
"""Options that every command takes, after its name or before it: how much is told, and where."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from aotfactory.cli import terminal
from aotfactory.cli.signature import Command, parameters, with_parameters

Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say each step, and how long it took.", show_default=False)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors on stderr.", show_default=False)]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file", metavar="FILE", help="Add all that -v says to a file, with the time.", show_default=False
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", show_default=False)]

_OPTIONS = {"verbose": (Verbose, False), "quiet": (Quiet, False), "log_file": (LogFile, None), "debug": (Debug, False)}


class Application(typer.Typer):
    """A Typer whose commands all take these options."""

    def command(self, *args: Any, **kwargs: Any) -> Callable[[Command], Command]:
        register = super().command(*args, **kwargs)

        def decorate(command: Command) -> Command:
            register(with_talk(command))
            return command

        return decorate


def with_talk(command: Command) -> Command:
    """Give a command these options; it does not see them."""
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def wrapper(**given: Any) -> Any:
        terminal.configure(**{name: given.pop(name) for name in _OPTIONS})
        return command(**given)

    return cast(Command, with_parameters(wrapper, [*parameters(command), *options]))
