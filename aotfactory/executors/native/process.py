# SPDX-License-Identifier: Apache-2.0
"""Other programs, run as commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from aotfactory.core.errors import CheckError


class OutOfTimeError(CheckError):
    """A program ran longer than it may; `output` is what it had said by then."""

    output = ""


def run_command(
    command: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Echoes and runs a command: its exit code, stdout and stderr. Its whole process group ends with this call.

    Raises:
        OutOfTimeError: It ran longer than `timeout` seconds.
    """
    print("+", " ".join(command), file=sys.stderr, flush=True)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace", env=env, start_new_session=True,
    )  # fmt: skip
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        error = OutOfTimeError(f"stopped after {timeout:g} s: {' '.join(command)}")
        error.output = "".join(_end(process))
        raise error from None
    finally:  # Ctrl-C: compilers and the like must not live on
        if process.poll() is None:
            _end(process)
    return process.returncode, stdout, stderr


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()
