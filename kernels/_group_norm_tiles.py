# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Large groups of `group_norm_silu` by two kernels in a row, for a plugin library: tiles that share a workspace."""

from typing import List, Tuple

import triton
import triton.language as tl

from aotfactory import AotKernel, UnsupportedError, aot_kernels, launch, trt, trtp, workspace
from aotfactory.core import dtypes

TACTICS = {9: (32, 8), 10: (16, 8)}
"""A thread's elements of a tile, and the warps of both kernels."""

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
    mean = tl.sum(tl.sum(x * (1.0 / (rows * cols)), 1), 0)
    apart = tl.where(inside, x - mean, 0)
    tl.store(partial_ptr + tl.program_id(0) * 2, mean)
    tl.store(partial_ptr + tl.program_id(0) * 2 + 1, tl.sum(tl.sum(apart * apart, 1), 0))


@triton.jit
def _outputs_of_tile(
    x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, pixels, tiles, groups, eps,
    CHANNELS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    # The last ones first: they were read last, so that L2 has them.
    program = tl.num_programs(0) - 1 - tl.program_id(0)
    group, tile = program // tiles, program % tiles
    size = CHANNELS * pixels
    other = tl.arange(0, TILES)
    _, _, rows, cols = _tile(other, pixels, CHANNELS, ROWS, COLS)
    there = other < tiles
    count = tl.where(there, rows * cols, 0).to(tl.float32)
    means = tl.load(partial_ptr + (group * tiles + other) * 2, mask=there, other=0)
    squares = tl.load(partial_ptr + (group * tiles + other) * 2 + 1, mask=there, other=0)
    mean = tl.sum(means * (count / size), 0)
    apart = tl.where(there, means - mean, 0)
    scale = tl.rsqrt(tl.sum(squares + apart * apart * count, 0) / size + eps)

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


def tactics(channels: int, pixels: int) -> List[int]:
    """Those for a group of at most so many pixels in each channel."""
    return [n for n in TACTICS if _tile_of(channels, pixels, n)[2] <= MOST_TILES]


def _tile_of(channels: int, pixels: int, tactic: int) -> Tuple[int, int, int]:
    """Channels and pixels of a tile, and how many tiles a group of at most so many pixels has."""
    per_thread, warps = TACTICS[tactic]
    tile = 32 * warps * per_thread
    cols = min(triton.next_power_of_2(max(pixels, 16)), tile)
    rows = min(triton.next_power_of_2(channels), tile // cols)
    return rows, cols, -(-channels // rows) * max(-(-pixels // cols), 1)


def in_a_row(
    x, weight, bias, count, pixels, in_group: int, most: int, groups: int, eps: float, outputs, tactic: int
) -> AotKernel:
    """Two kernels for `count` groups."""
    rows, cols, most_tiles = _tile_of(in_group, most, tactic)
    if in_group * most + rows * cols > 2**31 - 1:
        raise UnsupportedError(f"a group of up to {in_group * most} elements", hint="at most 2^31: use more groups")
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
        "VECTOR": 16 // dtypes.of_trt(x.dtype).itemsize,
        "num_warps": TACTICS[tactic][1],
        "grid": trtp.max(count * tiles, 1),
    }
    return aot_kernels(
        launch(statistics_kernel, **shared),
        launch(
            outputs_kernel,
            weight_ptr=weight,
            bias_ptr=bias,
            y_ptr=outputs[0],
            groups=groups,
            eps=eps,
            TILES=triton.next_power_of_2(most_tiles),
            **shared,
        ),
    )
