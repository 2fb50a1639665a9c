# SPDX-License-Identifier: Apache-2.0
"""Other programs, run as commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from aotfactory.errors import CheckError


def run_command(
    command: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Echoes and runs a command: its exit code, stdout and stderr. Its whole process group ends with this call.

    Raises:
        CheckError: It ran longer than `timeout` seconds.
    """
    print("+", " ".join(command), file=sys.stderr, flush=True)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace", env=env, start_new_session=True,
    )  # fmt: skip
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise CheckError(f"stopped after {timeout:g} s: {' '.join(command)}") from None
    finally:  # the time ran out, or Ctrl-C: compilers and the like must not live on
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode, stdout, stderr
