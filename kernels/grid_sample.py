# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Bilinear sampling of an image at the points of a grid, as torch.nn.functional.grid_sample.

A program takes a tile of the output and some channels: a point's four neighbours and weights are found once for all of
its channels, and rows that its points share come from L1, several channels' loads under way at a time. How many bytes
of memory that takes depends on the grid, so the floor (image, grid and output once each) can be reached only by grids
whose points lie near each other's.

The result is defined by fp32 arithmetic in torch's order: coordinates, weights, and the sum of four products, upper row
first. Against float64 interpolation at the same coordinates an output is off by rounding to its type and, before that,
by some 3e-7 of its largest neighbour: much, where large neighbours cancel. So no product is fused with a sum, the
reference rounds where the kernel does, and the two are the same bit for bit.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, List, Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, UnsupportedError, aot_kernel, trtp

TYPES = "FP32|FP16|BF16"
PADDINGS = ("zeros", "border")
FAR = tl.constexpr(1073741824.0)  # 2^30: beyond every image, and within int32


@triton.jit
def _coordinate(position, size, ALIGN_CORNERS: tl.constexpr, BORDER: tl.constexpr):
    # Pixels from -1 to 1. The limits make numbers that fit int32 of all, NaN too, which becomes -FAR.
    if ALIGN_CORNERS:
        pixel = tl.minimum(tl.maximum((position + 1) * (size - 1), -FAR), FAR) * 0.5
    else:
        pixel = (tl.minimum(tl.maximum((position + 1) * size, -FAR), FAR) - 1) * 0.5
    if BORDER:
        pixel = tl.minimum(tl.maximum(pixel, 0.0), (size - 1).to(tl.float32))
    return pixel


@triton.jit
def _sample(upper, lower, has_a, has_b, has_c, has_d, a_weight, b_weight, c_weight, d_weight):
    # The neighbours are a b, and c d below them.
    a = tl.load(upper, mask=has_a, other=0).to(tl.float32)
    b = tl.load(upper + 1, mask=has_b, other=0).to(tl.float32)
    c = tl.load(lower, mask=has_c, other=0).to(tl.float32)
    d = tl.load(lower + 1, mask=has_d, other=0).to(tl.float32)
    return (a * a_weight + b * b_weight) + (c * c_weight + d * d_weight)


@triton.jit
def grid_sample_kernel(
    x_ptr, grid_ptr, channels, height, width, out_height, out_width, points, across, tiles, channel_blocks, y_ptr,
    BORDER: tl.constexpr, ALIGN_CORNERS: tl.constexpr, CHANNELS: tl.constexpr, UNROLL: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    # A program takes ROWS by COLS pixels of the output, one of `tiles`, and CHANNELS, UNROLL at a time.
    tile = tl.program_id(0) % tiles
    first = tl.program_id(0) // tiles % channel_blocks * CHANNELS
    batch = (tl.program_id(0) // tiles // channel_blocks).to(tl.int64)
    pixel = tl.arange(0, ROWS * COLS)
    out_row = tile // across * ROWS + pixel // COLS
    out_column = tile % across * COLS + pixel % COLS
    inside = (out_row < out_height) & (out_column < out_width)
    # Of int32 and int64, for a constant extent has no type.
    height = tl.full((1,), 0, tl.int32) + height
    width = tl.full((1,), 0, tl.int32) + width
    points = tl.full((1,), 0, tl.int64) + points
    point = out_row * out_width + out_column
    at = grid_ptr + (batch * points + point) * 2
    x = _coordinate(tl.load(at, mask=inside, other=0).to(tl.float32), width, ALIGN_CORNERS, BORDER)
    y = _coordinate(tl.load(at + 1, mask=inside, other=0).to(tl.float32), height, ALIGN_CORNERS, BORDER)
    left, top = tl.floor(x), tl.floor(y)
    right_weight, bottom_weight = x - left, y - top
    left_weight, top_weight = 1 - right_weight, 1 - bottom_weight
    column, row = left.to(tl.int32), top.to(tl.int32)
    has_left = inside & (column >= 0) & (column < width)
    has_right = inside & (column >= -1) & (column < width - 1)
    has_top = (row >= 0) & (row < height)
    has_bottom = (row >= -1) & (row < height - 1)
    has_a, has_b, has_c, has_d = has_left & has_top, has_right & has_top, has_left & has_bottom, has_right & has_bottom
    a_weight, b_weight = left_weight * top_weight, right_weight * top_weight
    c_weight, d_weight = left_weight * bottom_weight, right_weight * bottom_weight

    size = height.to(tl.int64) * width
    plane = batch * channels + first
    upper = x_ptr + plane * size + (row.to(tl.int64) * width + column)
    lower = upper + width
    y_ptr += plane * points + point
    count = tl.minimum(channels - first, CHANNELS)
    for _ in range(count // UNROLL):
        # All loads before the first store, behind which the compiler moves none: it may be to the same memory.
        samples = ()
        for k in tl.static_range(UNROLL):
            above, below = upper + k * size, lower + k * size
            sample = _sample(above, below, has_a, has_b, has_c, has_d, a_weight, b_weight, c_weight, d_weight)
            samples = samples + (sample,)  # noqa: RUF005  (what Triton takes)
        for k in tl.static_range(UNROLL):
            tl.store(y_ptr + k * points, samples[k].to(y_ptr.dtype.element_ty), mask=inside)
        upper += UNROLL * size
        lower += UNROLL * size
        y_ptr += UNROLL * points
    for _ in range(count % UNROLL):
        sample = _sample(upper, lower, has_a, has_b, has_c, has_d, a_weight, b_weight, c_weight, d_weight)
        tl.store(y_ptr, sample.to(y_ptr.dtype.element_ty), mask=inside)
        upper += size
        lower += size
        y_ptr += points


@dataclass(frozen=True)
class Tactic:
    """Rows, columns and, at most, channels of the output for a program; a thread takes one pixel of them."""

    rows: int
    columns: int
    channels: int


TACTICS = {1: Tactic(4, 64, 16), 2: Tactic(8, 128, 16), 3: Tactic(4, 32, 1), 4: Tactic(4, 32, 4)}


def _tactics(channels: int, columns: int) -> List[int]:
    """Tactics that differ for outputs of so many channels and columns at most."""
    constants = {n: tuple(_constants("zeros", False, channels, columns, True, n).values()) for n in reversed(TACTICS)}
    return sorted({values: n for n, values in constants.items()}.values())


def _constants(padding: str, align_corners: bool, channels: int, columns: int, static: bool, tactic: int) -> dict:
    """For outputs of so many channels and columns at most."""
    chosen = TACTICS[tactic]
    in_row = min(chosen.columns, triton.next_power_of_2(max(columns, 1)))
    of_program = min(chosen.channels, triton.next_power_of_2(max(channels, 1)))
    return {
        "BORDER": padding == "border",
        "ALIGN_CORNERS": bool(align_corners),
        "CHANNELS": of_program,
        # Each of those under way takes registers, and more where strides are no constants.
        "UNROLL": min(4 if static else 2, of_program),
        "ROWS": chosen.rows * chosen.columns // in_row,
        "COLS": in_row,
        "num_warps": chosen.rows * chosen.columns // 32,
        "enable_fp_fusion": False,  # roundings are part of the definition
    }


def _most(dimensions: Any, axis: int) -> int:
    return int((dimensions.max if dimensions.is_dynamic else tuple(dimensions))[axis])


@trtp.register("aotfactory::grid_sample")
def grid_sample_desc(x: trtp.TensorDesc, grid: trtp.TensorDesc, padding: str, align_corners: bool) -> trtp.TensorDesc:
    """x of (N, C, H, W), sampled at the points (x, y) of a grid of (N, Hout, Wout, 2): (N, C, Hout, Wout).

    -1 and 1 are the image's ends. A coordinate that is NaN lies before the image. A neighbour counts with its weight
    even if that is 0, so NaN and infinities next to a point show.

    Attributes:
        padding: What is outside: "zeros", or "border", the nearest pixel.
        align_corners: The image's ends are the centres of the outermost pixels, instead of their outer edges.
    """
    if x.ndim != 4 or grid.ndim != 4:
        raise UnsupportedError(
            f"x has {x.ndim} dimensions and grid {grid.ndim}", hint="give (N, C, H, W) and (N, Hout, Wout, 2)"
        )
    if padding not in PADDINGS:
        raise UnsupportedError(f"padding is {padding!r}", hint=f"use one of {', '.join(PADDINGS)}")
    pair = grid.shape_expr[3]
    if not pair.is_fake and not (pair.is_constant and pair.constant_value() == 2):
        raise UnsupportedError(
            "the last dimension of grid is not 2", hint="give (N, Hout, Wout, 2): x, y of each point"
        )
    y = x.like()
    y.shape_expr[2], y.shape_expr[3] = grid.shape_expr[1], grid.shape_expr[2]
    return y


@trtp.autotune("aotfactory::grid_sample")
def grid_sample_autotune(
    x: trtp.TensorDesc, grid: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    tactics = _tactics(_most(x.shape, 1), _most(grid.shape, 2))
    return [trtp.AutoTuneCombination(f"{TYPES}, {TYPES}, {TYPES}", "LINEAR", tactics)]


@trtp.aot_impl("aotfactory::grid_sample")
def grid_sample_aot(
    x: trtp.TensorDesc,
    grid: trtp.TensorDesc,
    padding: str,
    align_corners: bool,
    outputs: Tuple[trtp.TensorDesc],
    tactic: int,
) -> AotKernel:
    batch, channels, height, width = x.shape_expr
    _, out_height, out_width, _ = grid.shape_expr
    static = all(extent.is_constant for extent in (height, width, out_height, out_width))
    constants = _constants(padding, align_corners, _most(x.shape, 1), _most(grid.shape, 2), static, tactic)
    across = trtp.max(trtp.cdiv(out_width, constants["COLS"]), 1)
    tiles = across * trtp.max(trtp.cdiv(out_height, constants["ROWS"]), 1)
    channel_blocks = trtp.max(trtp.cdiv(channels, constants["CHANNELS"]), 1)
    return aot_kernel(
        grid_sample_kernel,
        x_ptr=x,
        grid_ptr=grid,
        y_ptr=outputs[0],
        channels=channels,
        height=height,
        width=width,
        out_height=out_height,
        out_width=out_width,
        points=out_height * out_width,
        across=across,
        tiles=tiles,
        channel_blocks=channel_blocks,
        grid=trtp.max(batch * channel_blocks * tiles, 1),
        **constants,
    )


@trtp.impl("aotfactory::grid_sample")
def grid_sample_jit(
    x: trtp.Tensor,
    grid: trtp.Tensor,
    padding: str,
    align_corners: bool,
    outputs: Tuple[trtp.Tensor],
    stream: int,
    tactic: int,
) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, grid, y = (torch.as_tensor(t, device="cuda") for t in (x, grid, outputs[0]))
        batch, channels, *image = x.shape
        sizes = channels, *image, *y.shape[2:], prod(y.shape[2:])
        constants = _constants(padding, align_corners, channels, y.shape[3], False, tactic)
        across = max(triton.cdiv(y.shape[3], constants["COLS"]), 1)
        tiles = across * max(triton.cdiv(y.shape[2], constants["ROWS"]), 1)
        channel_blocks = max(triton.cdiv(channels, constants["CHANNELS"]), 1)
        programs = (max(batch * channel_blocks * tiles, 1),)
        grid_sample_kernel[programs](x, grid, *sizes, across, tiles, channel_blocks, y, **constants)


def _coordinates(position, size, padding, align_corners):
    """The left or upper neighbour, and the weights of it and of the one after it."""
    one, far = np.float32(1), np.float32(2**30)
    with np.errstate(all="ignore"):
        scaled = (position.astype(np.float32) + one) * np.float32(size - 1 if align_corners else size)
        scaled = np.fmin(np.fmax(scaled, -far), far)
        pixel = scaled * np.float32(0.5) if align_corners else (scaled - one) * np.float32(0.5)
    if padding == "border":
        pixel = np.clip(pixel, np.float32(0), np.float32(size - 1))
    before = np.floor(pixel)
    return before.astype(np.int64), one - (pixel - before), pixel - before


def grid_sample_reference(x, grid, padding, align_corners):
    """In fp32, as the kernel rounds."""
    batch, _, height, width = x.shape
    column, left, right = _coordinates(grid[..., 0], width, padding, align_corners)
    row, top, bottom = _coordinates(grid[..., 1], height, padding, align_corners)
    exact = x.astype(np.float32)

    def neighbours(rows, columns, weight):
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        at = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
        found = exact[(np.arange(batch)[:, None, None], slice(None), *at)]
        return np.where(inside[..., None], found, np.float32(0)) * weight[..., None]

    with np.errstate(all="ignore"):
        upper = neighbours(row, column, left * top) + neighbours(row, column + 1, right * top)
        lower = neighbours(row + 1, column, left * bottom) + neighbours(row + 1, column + 1, right * bottom)
        return np.ascontiguousarray(np.moveaxis(upper + lower, -1, 1)).astype(x.dtype)


RECIPE = Recipe(
    name="grid_sample",
    plugin="aotfactory::grid_sample",
    summary="bilinear sampling at the points of a grid, padded by zeros or the border",
    inputs=(
        Input(name="x", shape=(2, 64, 128, 128), dims=("N", "C", "H", "W")),
        Input(name="grid", shape=(2, 128, 128, 2), dims=("N", "Hout", "Wout", "xy")),
    ),
    dtypes=("fp32", "fp16", "bf16"),
    attributes={"padding": "zeros", "align_corners": False},
    reference=grid_sample_reference,
    dynamic=("N", "C", "H", "W", "Hout", "Wout"),
    extremes=True,
    shrink=("N", "C"),
    odd_shapes=(
        ((1, 1, 1, 1), (1, 1, 1, 2)),
        ((2, 3, 5, 7), (2, 11, 13, 2)),
        ((1, 7, 16, 16), (1, 3, 100, 2)),
        ((1, 70, 3, 2), (1, 2, 2, 2)),
    ),
)
