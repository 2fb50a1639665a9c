# SPDX-License-Identifier: Apache-2.0
"""A limit on the memory that this process takes while it computes what a model of somebody else asks for."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

SHARE = 0.5
"""Share of the memory that the machine has left."""


@contextmanager
def limited_memory() -> Iterator[None]:
    """Asking for more than a share of what is left raises MemoryError, where it would fill the machine's memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _taken() + int(_left() * SHARE)
    within = [n for n in (soft, hard) if n != resource.RLIM_INFINITY]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (min([limit, *within]), hard))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _taken() -> int:
    """Bytes of this process' addresses."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _left() -> int:
    """Bytes that the machine can still give."""
    with open("/proc/meminfo") as file:
        found = dict(line.split(":", 1) for line in file)
    return int(found["MemAvailable"].split()[0]) * 1024
