# SPDX-License-Identifier: Apache-2.0
"""Whether kernels can be compiled in clusters here, and tactics that are not offered because they can't."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

CLUSTERS_SINCE = (3, 9)
"""The oldest Triton known to compile clusters."""

_left_out: ContextVar[dict[int, str] | None] = ContextVar("left_out", default=None)


def capability() -> int:
    """The compute capability that kernels are compiled for now, as 90 for 9.0; 0 where there is no telling."""
    import triton

    if triton.knobs.runtime.interpret:
        return 0
    try:
        return int(triton.runtime.driver.active.get_current_target().arch)
    except (RuntimeError, ValueError):  # no GPU, or not NVIDIA's
        return 0


def no_clusters() -> str:
    """Why kernels can't be compiled in clusters now, for an `autotune` to offer none; empty where they can."""
    import triton

    if triton.knobs.runtime.interpret:
        return ""
    if capability() < 90:
        return f"clusters take sm_90 or later, and this is sm_{capability()}"
    if tuple(map(int, triton.__version__.split(".")[:2])) < CLUSTERS_SINCE:
        # Seen: 3.5 and 3.6 fail in TritonGPUPlanCTAPass where what was reduced has one dimension.
        return f"Triton {triton.__version__} cannot compile clusters; 3.9 can"
    return ""


def leave_out(tactic: int, reason: str) -> None:
    """Tell the build of a tactic that an `autotune` does not offer, for a reason that is this machine's."""
    if (told := _left_out.get()) is not None:
        told[tactic] = reason


@contextmanager
def left_out() -> Iterator[dict[int, str]]:
    """Tactics, with the reason, that were left out while this was open."""
    told: dict[int, str] = {}
    token = _left_out.set(told)
    try:
        yield told
    finally:
        _left_out.reset(token)
