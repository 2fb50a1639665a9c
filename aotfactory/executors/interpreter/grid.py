# SPDX-License-Identifier: Apache-2.0
"""Grids: which programs are run of one, in which order, and for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aotfactory.executors.interpreter import kernel
from aotfactory.executors.interpreter.kernel import Buffer, Program

WHOLE = 256
"""Programs of a grid that is run as a whole."""

SAMPLE = 64
"""Programs that are run of a larger one."""

FEWEST = 4
"""Programs that are run whatever time they take."""


def run_grid(
    source: Any,
    grid: Program,
    arguments: Sequence[Buffer | int | float],
    seconds: float,
    buffers: Mapping[str, Buffer],
    most: dict[str, int],
    backwards: bool,
    several: bool,
) -> int:
    """Run a grid, or a sample of it; `most` becomes the most elements of each output that a program wrote.

    Args:
        several: Whether it is one of several kernels in a row, which need what all programs of those before wrote.
    """
    before = {name: buffers[name].stores for name in most}
    end = time.process_time() + seconds

    def stop(done: int) -> bool:
        for name in most:
            most[name] = max(most[name], buffers[name].stores - before[name])
            before[name] = buffers[name].stores
        return done >= FEWEST and time.process_time() > end

    if not np.prod(grid, dtype=object):
        return 0
    return kernel.run(source, grid, arguments, programs(grid, backwards, several), stop)


def programs(grid: Program, backwards: bool, several: bool) -> Iterator[Program]:
    """All programs of a small grid; of a larger one the corners, the borders of each axis, and random ones.

    Args:
        backwards: The last ones first, so that one which needs what another does after it is found; and fewer, for all
            have run forwards.
        several: See `run_grid`.
    """
    total = int(np.prod(grid, dtype=object))
    if total <= (SAMPLE if backwards and not several else WHOLE):
        every = list(kernel.every(grid))
        yield from reversed(every) if backwards else every
        return
    ends = [sorted({0, extent - 1}) for extent in grid]
    middles = [sorted({0, 1, extent // 2, extent - 2, extent - 1} & set(range(extent))) for extent in grid]
    first = [(x, y, z) for x in ends[0] for y in ends[1] for z in ends[2]]
    for axis in range(3):
        first += [(*first[0][:axis], n, *first[-1][axis + 1 :]) for n in middles[axis]]  # type: ignore[misc]
    known = list(dict.fromkeys(first))
    yield from reversed(known) if backwards else known
    seen = set(known)
    rng = np.random.default_rng(total % 2**32)
    while len(seen) < SAMPLE:
        program = int(rng.integers(grid[0])), int(rng.integers(grid[1])), int(rng.integers(grid[2]))
        if program not in seen:
            seen.add(program)
            yield program
