# SPDX-License-Identifier: Apache-2.0
"""Other programs, run as commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from aotfactory.core.errors import CheckError


class OutOfTimeError(CheckError):
    """A program ran longer than it may; `output` is what it had said by then."""

    output = ""


def run_command(
    command: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    echo: bool = True,
    on_line: Callable[[str], None] | None = None,
) -> tuple[int, str, str]:
    """Runs a command: its exit code, stdout and stderr. Its whole process group ends with this call.

    Args:
        echo: Whether the command is shown on stderr.
        on_line: Is given every line of stdout as it comes.

    Raises:
        OutOfTimeError: It ran longer than `timeout` seconds.
    """
    if echo:
        print("+", " ".join(command), file=sys.stderr, flush=True)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace", env=env, start_new_session=True,
    )  # fmt: skip
    try:
        stdout, stderr = _communicate(process, timeout, on_line)
    except subprocess.TimeoutExpired:
        error = OutOfTimeError(f"stopped after {timeout:g} s: {' '.join(command)}")
        error.output = "".join(_end(process))
        raise error from None
    finally:  # Ctrl-C: compilers and the like must not live on
        if process.poll() is None:
            _end(process)
    return process.returncode, stdout, stderr


def _communicate(
    process: subprocess.Popen[str], timeout: float, on_line: Callable[[str], None] | None
) -> tuple[str, str]:
    if on_line is None:
        return process.communicate(timeout=timeout)
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
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()
