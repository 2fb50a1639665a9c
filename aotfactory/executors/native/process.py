# SPDX-License-Identifier: Apache-2.0
"""Other programs, run as commands that are shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from aotfactory.core.errors import OutOfTimeError as OutOfTimeError
from aotfactory.core.processes import run_program
from aotfactory.core.text import printable


def run_command(
    command: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    echo: bool = True,
    on_line: Callable[[str], None] | None = None,
    family: bool = False,
    leaf: bool = False,
) -> tuple[int, str, str]:
    """Runs a command: its exit code, stdout and stderr. See `run_program`.

    Args:
        echo: Whether the command is shown on stderr.

    Raises:
        OutOfTimeError: It ran longer than `timeout` seconds.
    """
    if echo:
        print("+", printable(" ".join(command)), file=sys.stderr, flush=True)
    done = run_program(command, timeout=timeout, env=env, family=family, leaf=leaf, on_line=on_line)
    return done.code, done.stdout, done.stderr
