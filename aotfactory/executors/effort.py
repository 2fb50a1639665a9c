# SPDX-License-Identifier: Apache-2.0
"""How much the interpreter check may take. Apart from it, so that reading an option loads no Triton."""

from __future__ import annotations

from dataclasses import dataclass

CHECK_TIME = 10.0
"""Seconds of processor time for all variants of a network, of each process."""

SPENT = "of --check-time were spent"
"""Says of a run that it did not take place for lack of time."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much a check may take.

    Attributes:
        seconds: Processor time of each process; what does not fit is reported as not run.
        processes: How many; None: one for each processor.
    """

    seconds: float = CHECK_TIME
    processes: int | None = None


DEFAULT_EFFORT = Effort()
