# SPDX-License-Identifier: Apache-2.0
"""Programs of one kernel that pass on what they find, through a workspace: the jit functions of kernels that do.

A tensor is taken by tiles, several to a group. A program takes the statistics of one tile, and then writes the outputs
of another, `lag` tiles before it, with what all tiles of that one's group give together. So the whole tensor is read
from memory once: the second reading of a tile is soon after its first, from L2, where two kernels in a row would have
read all of it in between.

A program waits for nobody who comes after it: its number is not the grid's but a turn that it takes when it runs, and
what it waits for are tiles of earlier turns, for lag is at least a group. Who took those turns runs, and waits only for
still earlier ones. So there is always progress, however many programs the GPU runs at a time, beside whatever else, and
no launch has to be cooperative. The interpreter, which runs programs one after the other, can judge them.

The workspace is of int64: the next turn, then for each group, EACH apart, how many of its tiles are done, and what they
give, two fp32 numbers in one, which is 0 before. `zeros_kernel` comes first in the row.
"""

import triton
import triton.language as tl

from aotfactory import launch, trtp

EACH = tl.constexpr(4)
CLEARED = 1024

AHEAD = 2**23
"""Bytes: with fewer, programs wait; of more, and what is written meanwhile, L2 does not hold all."""


@triton.jit
def zeros_kernel(turns_ptr, count, SIZE: tl.constexpr):
    at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    tl.store(turns_ptr + at, at.to(tl.int64) * 0, mask=at < count)


@triton.jit
def take(turns_ptr):
    """A program's turn."""
    return tl.atomic_add(turns_ptr, 1, sem="relaxed").to(tl.int32)


@triton.jit
def is_last(turns_ptr, group, tiles):
    """Whether this tile is the last of so many of its group, whose stores can be read then."""
    tl.debug_barrier()
    return tl.atomic_add(turns_ptr + EACH * (group + 1), 1, sem="acq_rel") == tiles - 1


@triton.jit
def publish(turns_ptr, group, first, second):
    """What the tiles of a group give: two fp32 numbers, of which the second is not negative, or NaN."""
    high = first.to(tl.uint32, bitcast=True).to(tl.uint64) << 32
    low = second.to(tl.uint32, bitcast=True) | 0x80000000  # as if negative: so it is never 0
    tl.atomic_xchg(turns_ptr + (EACH * (group + 1) + 1), (high | low).to(tl.int64, bitcast=True), sem="relaxed")


@triton.jit
def wait(turns_ptr, group):
    """The two numbers of a group, all of whose tiles were of earlier turns."""
    found = tl.atomic_add(turns_ptr + (EACH * (group + 1) + 1), 0, sem="relaxed")
    while found == 0:
        found = tl.atomic_add(turns_ptr + (EACH * (group + 1) + 1), 0, sem="relaxed")
    both = found.to(tl.uint64, bitcast=True)
    first = (both >> 32).to(tl.uint32).to(tl.float32, bitcast=True)
    return first, (both.to(tl.uint32) & 0x7FFFFFFF).to(tl.float32, bitcast=True)


def size(groups):
    """Elements of the workspace."""
    return (groups + 1) * EACH.value


def zeros(turns, groups):
    """The launch that comes first."""
    count = size(groups)
    return launch(zeros_kernel, turns_ptr=turns, count=count, SIZE=CLEARED, grid=trtp.cdiv(count, CLEARED))


def lag(groups, tiles, tile_bytes: int):
    """Tiles between a program's two: a group, and AHEAD for the last of its tiles to be done by then."""
    return trtp.max(trtp.min(groups * tiles, tiles + max(AHEAD // tile_bytes, 1)), 1)
