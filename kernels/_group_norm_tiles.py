# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Large groups of `group_norm_silu` for a plugin library: tiles that share a workspace.

Either by two kernels in a row, the statistics of all tiles and then the outputs; or by one whose programs take turns,
each with the statistics of one tile and the outputs of an earlier one (`_in_turn`): so x is read from memory once where
it is larger than L2, and twice by the former.
"""

from dataclasses import dataclass
from typing import List, Tuple

import triton
import triton.language as tl
from aotfactory.kernels import _in_turn

from aotfactory import AotKernel, UnsupportedError, aot_kernels, launch, trt, trtp, workspace
from aotfactory.core import dtypes


@dataclass(frozen=True)
class Tiles:
    """A thread's elements of a tile, a program's warps, and whether programs of one kernel take turns."""

    per_thread: int
    warps: int
    in_turn: bool = False


TACTICS = {
    9: Tiles(32, 8),
    10: Tiles(16, 8),
    11: Tiles(32, 8, in_turn=True),
}

FEW, LARGE = 264, 2**24
"""Groups and bytes: more groups, or fewer bytes, other tactics read at the speed of memory or of L2."""

MOST_TILES = 1024
"""Of a group: what a program of the second kernel joins."""


@triton.jit
def silu(x):
    # x / (1 + exp(-x)), in fewer instructions: a division takes three more than the root.
    root = tl.rsqrt(1 + tl.exp2(x * -1.4426950408889634))
    return x * root * root


@triton.jit
def _tile(tile, pixels, CHANNELS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):
    # Where a tile of a group begins, and how many channels and pixels of it there are.
    across = tl.cdiv(pixels, COLS)
    row, col = tile // across * ROWS, tile % across * COLS
    return row, col, tl.minimum(CHANNELS - row, ROWS), tl.minimum(pixels - col, COLS)


@triton.jit
def _statistics_of_tile(
    x_ptr, partial_ptr, pixels, tiles, CHANNELS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr
):  # fmt: skip
    group, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    first, left, rows, cols = _tile(tile, pixels, CHANNELS, ROWS, COLS)
    row, col = tl.arange(0, ROWS), tl.arange(0, COLS)
    inside = (row < rows)[:, None] & (col < cols)[None, :]
    x_ptr += group.to(tl.int64) * (CHANNELS * pixels)
    at = (first + row)[:, None] * pixels + (left + col)[None, :]
    x = tl.load(x_ptr + at, mask=inside, other=0, eviction_policy="evict_last").to(tl.float32)
    _store_partial(partial_ptr + tl.program_id(0) * 2, x, inside, rows * cols)


@triton.jit
def _store_partial(partial_ptr, x, inside, count):
    mean = tl.sum(tl.sum(x * (1.0 / count), 1), 0)
    apart = tl.where(inside, x - mean, 0)
    tl.store(partial_ptr, mean)
    tl.store(partial_ptr + 1, tl.sum(tl.sum(apart * apart, 1), 0))


@triton.jit
def _join(
    partial_ptr, pixels, tiles, eps, CHANNELS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
    TILES: tl.constexpr,
):  # fmt: skip
    # A group's mean and 1 / sqrt(variance + eps), by those of its tiles.
    size = CHANNELS * pixels
    other = tl.arange(0, TILES)
    _, _, rows, cols = _tile(other, pixels, CHANNELS, ROWS, COLS)
    there = other < tiles
    count = tl.where(there, rows * cols, 0).to(tl.float32)
    # Other programs wrote them, maybe in this very kernel: not from L1.
    means = tl.load(partial_ptr + other * 2, mask=there, other=0, cache_modifier=".cg")
    squares = tl.load(partial_ptr + other * 2 + 1, mask=there, other=0, cache_modifier=".cg")
    mean = tl.sum(means * (count / size), 0)
    apart = tl.where(there, means - mean, 0)
    return mean, tl.rsqrt(tl.sum(squares + apart * apart * count, 0) / size + eps)


@triton.jit
def _outputs_of_tile(
    x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, pixels, tiles, groups, eps,
    CHANNELS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    # The last ones first: they were read last, so that L2 has them.
    program = tl.num_programs(0) - 1 - tl.program_id(0)
    group, tile = program // tiles, program % tiles
    size = CHANNELS * pixels
    mean, scale = _join(partial_ptr + group * tiles * 2, pixels, tiles, eps, CHANNELS, ROWS, COLS, TILES)

    first, left, rows, cols = _tile(tile, pixels, CHANNELS, ROWS, COLS)
    row, col = tl.arange(0, ROWS), tl.arange(0, COLS)
    inside = (row < rows)[:, None] & (col < cols)[None, :]
    at = (first + row)[:, None] * pixels + (left + col)[None, :]
    x_ptr += group.to(tl.int64) * size
    y_ptr += group.to(tl.int64) * size
    x = tl.load(x_ptr + at, mask=inside, eviction_policy="evict_first").to(tl.float32)
    channel = group % groups * CHANNELS + first + row
    weight = tl.load(weight_ptr + channel, mask=row < rows).to(tl.float32)
    bias = tl.load(bias_ptr + channel, mask=row < rows).to(tl.float32)
    y = silu((x - mean) * scale * weight[:, None] + bias[:, None])
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=inside, eviction_policy="evict_first")


@triton.jit
def _in_turns(
    x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, turns_ptr, pixels, tiles, all_tiles, lag, groups, eps,
    CHANNELS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    turn = _in_turn.take(turns_ptr)
    row, col = tl.arange(0, ROWS), tl.arange(0, COLS)
    size = CHANNELS * pixels

    # Both readings are under way before anything is waited for.
    group = turn // tiles
    first, left, rows, cols = _tile(turn % tiles, pixels, CHANNELS, ROWS, COLS)
    inside = (row < rows)[:, None] & (col < cols)[None, :] & (turn < all_tiles)
    at = (first + row)[:, None] * pixels + (left + col)[None, :]
    new = tl.load(x_ptr + group.to(tl.int64) * size + at, mask=inside, other=0, eviction_policy="evict_last")

    before = turn - lag
    old_group = before // tiles
    first, left, old_rows, old_cols = _tile(tl.maximum(before, 0) % tiles, pixels, CHANNELS, ROWS, COLS)
    old_inside = (row < old_rows)[:, None] & (col < old_cols)[None, :] & (before >= 0)
    old_at = (first + row)[:, None] * pixels + (left + col)[None, :]
    x_ptr += old_group.to(tl.int64) * size
    y_ptr += old_group.to(tl.int64) * size
    x = tl.load(x_ptr + old_at, mask=old_inside, other=0, eviction_policy="evict_first")
    channel = old_group % groups * CHANNELS + first + row
    with_weight = (row < old_rows) & (before >= 0)
    weight = tl.load(weight_ptr + channel, mask=with_weight, other=0).to(tl.float32)
    bias = tl.load(bias_ptr + channel, mask=with_weight, other=0).to(tl.float32)

    mean, scale = 0.0, 0.0
    if before >= 0:
        mean, scale = _in_turn.wait(turns_ptr, old_group)
    if turn < all_tiles:
        _store_partial(partial_ptr + turn * 2, new.to(tl.float32), inside, rows * cols)
        if _in_turn.is_last(turns_ptr, group, tiles):
            new_mean, new_scale = _join(
                partial_ptr + group * tiles * 2, pixels, tiles, eps, CHANNELS, ROWS, COLS, TILES
            )  # fmt: skip
            _in_turn.publish(turns_ptr, group, new_mean, new_scale)
    if before >= 0:
        y = silu((x.to(tl.float32) - mean) * scale * weight[:, None] + bias[:, None])
        tl.store(y_ptr + old_at, y.to(y_ptr.dtype.element_ty), mask=old_inside, eviction_policy="evict_first")


@triton.jit
def statistics_kernel(
    x_ptr, partial_ptr, pixels, tiles,
    CHANNELS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    if pixels % VECTOR == 0:
        # Written so, the compiler sees that channels begin at 16-byte boundaries.
        _statistics_of_tile(x_ptr, partial_ptr, pixels // VECTOR * VECTOR, tiles, CHANNELS, ROWS, COLS)
    else:
        _statistics_of_tile(x_ptr, partial_ptr, pixels, tiles, CHANNELS, ROWS, COLS)


@triton.jit
def outputs_kernel(
    x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, pixels, tiles, groups, eps,
    CHANNELS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, TILES: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    if pixels % VECTOR == 0:
        _outputs_of_tile(
            x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, pixels // VECTOR * VECTOR, tiles, groups, eps, CHANNELS,
            ROWS, COLS, TILES,
        )  # fmt: skip
    else:
        _outputs_of_tile(
            x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, pixels, tiles, groups, eps, CHANNELS, ROWS, COLS, TILES
        )  # fmt: skip


@triton.jit
def in_turns_kernel(
    x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, turns_ptr, pixels, tiles, all_tiles, lag, groups, eps,
    CHANNELS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, TILES: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    if pixels % VECTOR == 0:
        _in_turns(
            x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, turns_ptr, pixels // VECTOR * VECTOR, tiles, all_tiles,
            lag, groups, eps, CHANNELS, ROWS, COLS, TILES,
        )  # fmt: skip
    else:
        _in_turns(
            x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, turns_ptr, pixels, tiles, all_tiles, lag, groups, eps,
            CHANNELS, ROWS, COLS, TILES,
        )  # fmt: skip


def tactics(channels: int, pixels: int, groups: int, itemsize: int) -> List[int]:
    """Those for so many groups of so many channels, of at most so many pixels each: turns for few and large ones."""
    large = groups <= FEW and groups * channels * pixels * itemsize > LARGE
    fit = [n for n in TACTICS if _tile_of(channels, pixels, n)[2] <= MOST_TILES]
    return [n for n in fit if large or not TACTICS[n].in_turn]


def _tile_of(channels: int, pixels: int, tactic: int) -> Tuple[int, int, int]:
    """Channels and pixels of a tile, and how many tiles a group of at most so many pixels has."""
    tile = 32 * TACTICS[tactic].warps * TACTICS[tactic].per_thread
    cols = min(triton.next_power_of_2(max(pixels, 16)), tile)
    rows = min(triton.next_power_of_2(channels), tile // cols)
    return rows, cols, -(-channels // rows) * max(-(-pixels // cols), 1)


def in_a_row(
    x, weight, bias, count, pixels, in_group: int, most: int, groups: int, eps: float, outputs, tactic: int
) -> AotKernel:
    """The kernels for `count` groups."""
    rows, cols, most_tiles = _tile_of(in_group, most, tactic)
    if in_group * most + rows * cols > 2**31 - 1:
        raise UnsupportedError(f"a group of up to {in_group * most} elements", hint="at most 2^31: use more groups")
    itemsize = dtypes.of_trt(x.dtype).itemsize
    tiles = trtp.cdiv(pixels, cols) * -(-in_group // rows)
    partial = workspace(count * tiles * 2, trt.float32)
    shared = {
        "x_ptr": x,
        "partial_ptr": partial,
        "pixels": pixels,
        "tiles": tiles,
        "CHANNELS": in_group,
        "ROWS": rows,
        "COLS": cols,
        "VECTOR": 16 // itemsize,
        "num_warps": TACTICS[tactic].warps,
    }
    outputs_of = {
        "weight_ptr": weight,
        "bias_ptr": bias,
        "y_ptr": outputs[0],
        "groups": groups,
        "eps": eps,
        "TILES": triton.next_power_of_2(most_tiles),
    }
    if not TACTICS[tactic].in_turn:
        grid = count * tiles
        return aot_kernels(
            launch(statistics_kernel, **shared, grid=grid), launch(outputs_kernel, **shared, **outputs_of, grid=grid)
        )
    lag = _in_turn.lag(count, tiles, rows * cols * itemsize)
    turns = workspace(_in_turn.size(count), trt.int64)
    return aot_kernels(
        _in_turn.zeros(turns, count),
        launch(
            in_turns_kernel,
            **shared,
            **outputs_of,
            turns_ptr=turns,
            all_tiles=count * tiles,
            lag=lag,
            grid=count * tiles + lag,
        ),
    )
