# SPDX-License-Identifier: Apache-2.0
"""A limit on the processor time that this process takes for one thing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def limited_time(seconds: float, error: Callable[[], BaseException]) -> Iterator[None]:
    """Raises `error()` in the body after so much processor time of all threads; at the next step of Python's own.

    Signals reach the main thread alone, so in others there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise error()

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
