# SPDX-License-Identifier: Apache-2.0
"""What TensorRT says while it builds: messages are kept, phases are passed on, and Ctrl-C reaches it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def make_logger(trt: Any, *, verbose: bool = False) -> Any:
    """An `ILogger` that keeps errors and warnings in its lists `errors` and `warnings`.

    Args:
        verbose: Also print every message on stderr.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]  # the base class is only known at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(msg)
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(msg)
            if verbose:
                print(f"TensorRT {severity.name}: {msg}", file=sys.stderr)

    return Logger()


def make_monitor(trt: Any, progress: Callable[[str], None]) -> Any:
    """An `IProgressMonitor` that tells `progress` of each phase. Ctrl-C stops the build and sets `interrupted`."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            self._tell(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(f"{phase_name} {step + 1}/{self._steps.get(phase_name, 0)}")
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def _tell(self, text: str) -> None:
            # What is raised here would be lost in TensorRT; it is asked to stop at the next step instead.
            try:
                progress(text)
            except KeyboardInterrupt:
                self.interrupted = True

    return Monitor()
