# SPDX-License-Identifier: Apache-2.0
"""The limit on processor time: what runs too long is interrupted, and nothing is left of the limit afterwards."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from aotfactory.core.processor_time import limited_time


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_it_interrupts() -> None:
    before = signal.getsignal(signal.SIGPROF)
    with pytest.raises(KeyError, match="late"), limited_time(0.05, lambda: KeyError("late")):
        spin(60)
    assert signal.getsignal(signal.SIGPROF) is before
    spin(0.1)  # no signal comes after it


def test_in_time_nothing_happens() -> None:
    with limited_time(60, lambda: KeyError("late")):
        spin(0.01)
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_other_threads_have_no_limit() -> None:
    done = []

    def work() -> None:
        with limited_time(0.01, lambda: KeyError("late")):
            spin(0.05)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
