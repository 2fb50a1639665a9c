# SPDX-License-Identifier: Apache-2.0
"""TensorRT's messages while it builds: messages are kept, phases are passed on, and Ctrl-C reaches it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def make_logger(trt: Any) -> Any:
    """An `ILogger` that keeps errors and warnings in its lists `errors` and `warnings`."""

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

    return Logger()


def make_monitor(trt: Any, progress: Callable[[str], None]) -> Any:
    """An `IProgressMonitor` that tells `progress` of each phase, and stops the build once `interrupted` is set."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            progress(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(f"{phase_name} {step + 1}/{self._steps.get(phase_name, 0)}")
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()


@contextmanager
def interruptible(monitor: Any) -> Iterator[None]:
    """Have Ctrl-C stop the build at its next step.

    Python would raise in whatever callback it is, and TensorRT prints and loses what a callback raises.

    Raises:
        KeyboardInterrupt: After the build, if it was interrupted.
    """

    def interrupt(*args: object) -> None:
        monitor.interrupted = True

    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's affair
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
        if monitor.interrupted:
            raise KeyboardInterrupt
