# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Group normalisation of (N, C, ...) tensors with weight and bias per channel, then SiLU.

A group's channels lie side by side. A group of up to REACH elements (channels and pixels, each rounded up to a power of
two) is held in registers by one program: read once, written once. A larger one is read twice: for its mean and
variance, by running means and sums of squares per lane (Welford), DEPTH elements of a lane at a time so that as many
loads are under way; then to make the outputs. The second reading is from L2 where the groups in flight fit there: so
programs are large, few groups are under way at a time, and hints keep x in L2 between its two readings and everything
else out. Where there are fewer groups than multiprocessors, SPLIT programs share a group's outputs, each after finding
the statistics for itself, for one kernel has no way to pass them on. For a plugin library (--road library) there are
tactics of several kernels, whose programs share tiles of groups through a workspace (`_group_norm_tiles`): so all
multiprocessors work on however few groups, and x is read from memory once.

Where a channel is a multiple of a 16-byte vector all accesses are of 16 bytes; elsewhere of the widest vectors that
divide a group, for dynamic sizes going by its number of channels. Such a vector may begin in one channel and end in the
next.

Arithmetic is in fp32. Against float64 an output is off by rounding to its type and, before that, by some 1e-6 of a unit
(of the normalised group) and up to 1e-5 relative, by the exponential.
"""

from dataclasses import dataclass
from math import gcd, prod
from typing import Any, List, Tuple

import numpy as np
import triton
import triton.language as tl
from aotfactory.kernels import _group_norm_tiles

from aotfactory import AotKernel, Input, Recipe, Tolerance, UnsupportedError, aot_kernel, road, trtp
from aotfactory.core import dtypes

TYPES = "FP32|FP16|BF16"
MOST_CHANNELS = 2**20  # of a group: up to there _quotient is exact
REACH = 16384  # elements of a group that a program holds in registers
MAX_WARPS = 16  # of such a program: a thread has the 128 registers that 32 elements and narrow accesses can take


@triton.jit
def _quotient(at, pixels):
    # at // pixels, in fewer instructions than a division takes. Below MOST_CHANNELS, fp32 is 1 off at most.
    pixels = tl.maximum(pixels, 1)
    row = (at.to(tl.float32) * (1.0 / pixels.to(tl.float32))).to(tl.int32)
    left = at - row * pixels
    return row - (left < 0) + (left >= pixels)


@triton.jit
def _of_vectors(
    x, at, scale, pixels, channel, weight_ptr, bias_ptr, CHANNELS: tl.constexpr, ALIGNED: tl.constexpr
):  # fmt: skip
    # Outputs of vectors of elements, minus their mean, at these places of their group. A vector lies in one channel
    # (ALIGNED) or two.
    row = _quotient(at, pixels)
    here = channel + tl.minimum(row, CHANNELS - 1)
    weight = tl.load(weight_ptr + here).to(tl.float32)[:, None]
    bias = tl.load(bias_ptr + here).to(tl.float32)[:, None]
    if not ALIGNED:
        after = channel + tl.minimum(row + 1, CHANNELS - 1)
        is_here = (at - row * pixels)[:, None] + tl.arange(0, x.shape[1])[None, :] < pixels
        weight = tl.where(is_here, weight, tl.load(weight_ptr + after).to(tl.float32)[:, None])
        bias = tl.where(is_here, bias, tl.load(bias_ptr + after).to(tl.float32)[:, None])
    return _group_norm_tiles.silu(x * scale * weight + bias)


@triton.jit
def _whole_group(
    x_ptr, weight_ptr, bias_ptr, y_ptr, size, pixels, groups, eps,
    CHANNELS: tl.constexpr, TILE: tl.constexpr, VECTOR: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    at = tl.arange(0, TILE // VECTOR) * VECTOR
    places = tl.program_id(0).to(tl.int64) * size + at[:, None] + tl.arange(0, VECTOR)[None, :]
    inside = (at < size)[:, None]
    x = tl.load(x_ptr + places, mask=inside, other=0).to(tl.float32)
    # Each element is divided first: the sum of large ones could leave fp32's range where their mean does not.
    mean = tl.sum(tl.sum(x * (1.0 / size), 1), 0)
    x = tl.where(inside, x - mean, 0)
    scale = tl.rsqrt(tl.sum(tl.sum(x * x, 1), 0) / size + eps)
    channel = tl.program_id(0) % groups * CHANNELS
    y = _of_vectors(x, at, scale, pixels, channel, weight_ptr, bias_ptr, CHANNELS, ALIGNED)
    tl.store(y_ptr + places, y.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _merge(mean, squares, seen, more_mean, more_squares, more):
    # The mean, and the sum of squared differences from it, of `seen` numbers and `more` others.
    # Not mean + (more_mean - mean) * share: that difference may leave fp32's range.
    share = more / (seen + more)
    moved = mean * (1 - share) + more_mean * share
    return moved, squares + more_squares + (more_mean - mean) * (more_mean - moved) * more


@triton.jit
def _statistics(x_ptr, size, eps, DEPTH: tl.constexpr, LANES: tl.constexpr):
    # Of a group: its mean, and 1 / sqrt(variance + eps); each lane keeps its own until the end.
    STEP: tl.constexpr = DEPTH * LANES
    lane = tl.arange(0, LANES)
    at = tl.arange(0, DEPTH)[:, None] * LANES + lane[None, :]
    mean = tl.zeros((LANES,), tl.float32)
    squares = tl.zeros((LANES,), tl.float32)
    seen = 0.0
    for step in range(size // STEP):
        x = tl.load(x_ptr + step * STEP + at, eviction_policy="evict_last").to(tl.float32)
        middle = tl.sum(x * (1.0 / DEPTH), 0)
        apart = x - middle[None, :]
        mean, squares = _merge(mean, squares, seen, middle, tl.sum(apart * apart, 0), DEPTH * 1.0)
        seen += DEPTH
    # What is left, in two steps at most: masks take registers, too.
    PART: tl.constexpr = (DEPTH + 1) // 2
    in_part = tl.arange(0, PART)[:, None] * LANES + lane[None, :]
    for first in range(size // STEP * STEP, size, PART * LANES):
        real = first + in_part < size
        x = tl.load(x_ptr + first + in_part, mask=real, other=0, eviction_policy="evict_last").to(tl.float32)
        more = tl.minimum((tl.maximum(size - first - lane, 0) + (LANES - 1)) // LANES, PART).to(tl.float32)
        middle = tl.sum(x * (1 / tl.maximum(more, 1))[None, :], 0)
        apart = tl.where(real, x - middle[None, :], 0)
        moved, grown = _merge(mean, squares, seen, middle, tl.sum(apart * apart, 0), more)
        mean, squares = tl.where(more > 0, moved, mean), tl.where(more > 0, grown, squares)
        seen += PART
    # Elements that each lane saw; its share of the group's mean and squares goes by them.
    count = ((size - lane + (LANES - 1)) // LANES).to(tl.float32)
    total = tl.sum(mean * (count / size), 0)
    # A lane of a group smaller than the lanes may have seen none: its 0 is no mean.
    apart = tl.where(count > 0, mean - total, 0)
    return total, tl.rsqrt(tl.sum(squares + apart * apart * count, 0) / size + eps)


@triton.jit
def _tiles_of_group(
    x_ptr, weight_ptr, bias_ptr, y_ptr, mean, scale, pixels, part, channel,
    CHANNELS: tl.constexpr, SPLIT: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    # Outputs by tiles of ROWS channels and COLS pixels: a tile has few channels, each with one weight.
    across = tl.cdiv(pixels, COLS)
    # Backwards: what was read last is the likeliest to be in L2 still.
    for tile in range(tl.cdiv(CHANNELS, ROWS) * across - 1 - part, -1, -SPLIT):
        row = tile // across * ROWS + tl.arange(0, ROWS)
        col = tile % across * COLS + tl.arange(0, COLS)
        inside = (row < CHANNELS)[:, None] & (col < pixels)[None, :]
        at = row[:, None] * pixels + col[None, :]
        # x is not needed again, and y not here: neither is to drive what other programs still need out of L2.
        x = tl.load(x_ptr + at, mask=inside, eviction_policy="evict_first").to(tl.float32)
        weight = tl.load(weight_ptr + (channel + row), mask=row < CHANNELS).to(tl.float32)
        bias = tl.load(bias_ptr + (channel + row), mask=row < CHANNELS).to(tl.float32)
        y = _group_norm_tiles.silu((x - mean) * scale * weight[:, None] + bias[:, None])
        tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=inside, eviction_policy="evict_first")


@triton.jit
def _vectors_of_group(
    x_ptr, weight_ptr, bias_ptr, y_ptr, mean, scale, size, pixels, part, channel,
    CHANNELS: tl.constexpr, SPLIT: tl.constexpr, TILE: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    # Outputs by vectors, wherever channels begin. As above: backwards, and out of L2.
    for tile in range(tl.cdiv(size, TILE) - 1 - part, -1, -SPLIT):
        at = tile * TILE + tl.arange(0, TILE // VECTOR) * VECTOR
        places = at[:, None] + tl.arange(0, VECTOR)[None, :]
        inside = (at < size)[:, None]
        x = tl.load(x_ptr + places, mask=inside, eviction_policy="evict_first").to(tl.float32)
        y = _of_vectors(x - mean, at, scale, pixels, channel, weight_ptr, bias_ptr, CHANNELS, False)
        tl.store(y_ptr + places, y.to(y_ptr.dtype.element_ty), mask=inside, eviction_policy="evict_first")


@triton.jit
def _group(
    x_ptr, weight_ptr, bias_ptr, y_ptr, pixels, groups, eps,
    CHANNELS: tl.constexpr, SPLIT: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, TILE: tl.constexpr,
    THREADS: tl.constexpr, VECTOR: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    # Written so, the compiler sees that groups begin at multiples of a vector.
    size = CHANNELS * pixels // VECTOR * VECTOR
    if SPLIT == 0:
        _whole_group(x_ptr, weight_ptr, bias_ptr, y_ptr, size, pixels, groups, eps, CHANNELS, TILE, VECTOR, ALIGNED)
    else:
        group = tl.program_id(0) // SPLIT
        part = tl.program_id(0) % SPLIT
        x_ptr += group.to(tl.int64) * size
        y_ptr += group.to(tl.int64) * size
        mean, scale = _statistics(x_ptr, size, eps, TILE // THREADS // VECTOR, THREADS * VECTOR)
        channel = group % groups * CHANNELS
        if ALIGNED:
            _tiles_of_group(
                x_ptr, weight_ptr, bias_ptr, y_ptr, mean, scale, pixels, part, channel, CHANNELS, SPLIT, ROWS, COLS
            )  # fmt: skip
        else:
            _vectors_of_group(
                x_ptr, weight_ptr, bias_ptr, y_ptr, mean, scale, size, pixels, part, channel, CHANNELS, SPLIT, TILE,
                VECTOR,
            )  # fmt: skip


@triton.jit
def group_norm_silu_kernel(
    x_ptr, weight_ptr, bias_ptr, pixels, y_ptr, groups, eps,
    CHANNELS: tl.constexpr, SPLIT: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, TILE: tl.constexpr,
    THREADS: tl.constexpr, VECTOR: tl.constexpr, GROUP_VECTOR: tl.constexpr, NARROW: tl.constexpr,
    GROUP_NARROW: tl.constexpr,
):  # fmt: skip
    # CHANNELS of a group; SPLIT programs share a group; 0: one program holds it in registers. Accesses are of VECTOR
    # elements, or of GROUP_VECTOR where a channel is no multiple of that, or of one. The latter take more registers,
    # so there steps are smaller, by GROUP_NARROW and NARROW.
    if pixels % VECTOR == 0:
        # Written so, the compiler sees that channels begin at 16-byte boundaries.
        aligned = pixels // VECTOR * VECTOR
        _group(
            x_ptr, weight_ptr, bias_ptr, y_ptr, aligned, groups, eps, CHANNELS, SPLIT, ROWS, COLS, TILE, THREADS,
            VECTOR, True,
        )  # fmt: skip
    elif (pixels < GROUP_VECTOR) | (GROUP_VECTOR == 1):
        _group(
            x_ptr, weight_ptr, bias_ptr, y_ptr, pixels, groups, eps, CHANNELS, SPLIT, ROWS, COLS // NARROW,
            TILE // NARROW, THREADS, 1, True,
        )  # fmt: skip
    else:
        _group(
            x_ptr, weight_ptr, bias_ptr, y_ptr, pixels, groups, eps, CHANNELS, SPLIT, ROWS, COLS, TILE // GROUP_NARROW,
            THREADS, GROUP_VECTOR, False,
        )  # fmt: skip


@dataclass(frozen=True)
class Tactic:
    """Elements for a thread; programs that share a group, 0 where one holds it in registers; their warps."""

    per_thread: int
    split: int
    warps: int = MAX_WARPS


TACTICS = {
    1: Tactic(16, 0),
    2: Tactic(32, 0),
    3: Tactic(32, 1, 8),
    4: Tactic(16, 1, 16),
    5: Tactic(32, 1, 16),
    6: Tactic(16, 2, 32),
    7: Tactic(32, 2, 32),
    8: Tactic(32, 4, 32),
}


def _whole(channels: int, pixels: int) -> bool:
    return channels * pixels <= REACH


def _tactics(channels: int, pixels: int, groups: int, itemsize: int) -> List[int]:
    """Tactics that differ for so many groups of so many channels and pixels."""
    if not _whole(channels, pixels):
        tiles = _group_norm_tiles.tactics(channels, pixels, groups, itemsize) if road() == "library" else []
        return [*(n for n, tactic in TACTICS.items() if tactic.split), *tiles]
    sizes = {_arguments(channels, pixels, True, 4, n)["num_warps"]: n for n in (2, 1)}
    return sorted(sizes.values())


def _arguments(channels: int, pixels: int, static: bool, itemsize: int, tactic: int) -> dict:
    """Of groups of so many channels and, at most, pixels."""
    chosen = TACTICS[tactic]
    vector = 16 // itemsize
    split = 0 if _whole(channels, pixels) else max(chosen.split, 1)
    threads = 32 * chosen.warps
    tile = threads * chosen.per_thread if split else triton.next_power_of_2(max(channels * pixels, 16))
    cols = min(triton.next_power_of_2(max(pixels, 16)), tile)
    group_vector = gcd(channels * pixels if static else channels, vector)
    narrow = 1 if split == 0 else 2 if static else 8
    return {
        "CHANNELS": channels,
        "SPLIT": split,
        "ROWS": min(triton.next_power_of_2(channels), tile // cols),
        "COLS": cols,
        "TILE": tile,
        "THREADS": threads,
        "VECTOR": vector,
        "GROUP_VECTOR": group_vector,
        "NARROW": narrow,
        "GROUP_NARROW": min(narrow, vector // group_vector),
        "num_warps": chosen.warps if split else min(max(tile // (32 * chosen.per_thread), 1), chosen.warps),
    }


def _most_pixels(x: trtp.TensorDesc) -> int:
    return prod((x.shape.max if x.shape.is_dynamic else tuple(x.shape))[2:])


def _channels(dimension: Any, groups: int) -> int:
    """Channels of a group; how many there are must be known when the engine is built."""
    if not dimension.is_constant:
        raise UnsupportedError("dimension 1 of x is dynamic", hint="make the number of channels static")
    channels = int(dimension.constant_value())
    if groups < 1 or channels % groups:
        raise UnsupportedError(f"groups is {groups}, of {channels} channels", hint="use a divisor of the channels")
    if channels // groups > MOST_CHANNELS:
        raise UnsupportedError(f"a group of {channels // groups} channels", hint="at most 2^20: use more groups")
    return max(channels // groups, 1)


@trtp.register("aotfactory::group_norm_silu")
def group_norm_silu_desc(
    x: trtp.TensorDesc, weight: trtp.TensorDesc, bias: trtp.TensorDesc, groups: int, eps: float
) -> trtp.TensorDesc:
    """silu((x - mean) / sqrt(variance + eps) * weight + bias), mean and variance of each group of channels.

    x has the shape (N, C, ...), weight and bias (C,); C is static. silu(a) is a / (1 + exp(-a)). A group with NaN or an
    infinity is NaN; one whose variance is beyond fp32's range (3.4e38) comes out as silu(bias).

    Attributes:
        groups: Number of groups, a divisor of C.
        eps: Added to the variance.
    """
    if x.ndim < 3 or weight.ndim != 1 or bias.ndim != 1:
        raise UnsupportedError(
            f"x has {x.ndim} dimensions, weight {weight.ndim} and bias {bias.ndim}",
            hint="x takes (N, C, ...), 3 or more; weight and bias 1, the channels",
        )
    if not x.shape_expr[1].is_fake:
        _channels(x.shape_expr[1], groups)
    return x.like()


@trtp.autotune("aotfactory::group_norm_silu")
def group_norm_silu_autotune(
    x: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    bias: trtp.TensorDesc,
    groups: int,
    outputs: Tuple[trtp.TensorDesc],
) -> List[trtp.AutoTuneCombination]:
    usual = x.shape.opt if x.shape.is_dynamic else tuple(x.shape)
    channels, itemsize = max(int(usual[1]) // groups, 1), dtypes.of_trt(x.dtype).itemsize
    tactics = _tactics(channels, _most_pixels(x), int(usual[0]) * groups, itemsize)
    return [trtp.AutoTuneCombination(", ".join([TYPES] * 4), "LINEAR", tactics)]


@trtp.aot_impl("aotfactory::group_norm_silu")
def group_norm_silu_aot(
    x: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    bias: trtp.TensorDesc,
    groups: int,
    eps: float,
    outputs: Tuple[trtp.TensorDesc],
    tactic: int,
) -> AotKernel:
    batch, channels, *spatial = x.shape_expr
    pixels, most = trtp.ShapeExprs.from_tuple(spatial).numel(), _most_pixels(x)
    in_group = _channels(channels, groups)
    if tactic in _group_norm_tiles.TACTICS:
        return _group_norm_tiles.in_a_row(
            x, weight, bias, batch * groups, pixels, in_group, most, groups, eps, outputs, tactic
        )
    arguments = _arguments(in_group, most, pixels.is_constant, dtypes.of_trt(x.dtype).itemsize, tactic)
    if in_group * most + arguments["TILE"] > 2**31 - 1:
        raise UnsupportedError(f"a group of up to {in_group * most} elements", hint="at most 2^31: use more groups")
    return aot_kernel(
        group_norm_silu_kernel,
        x_ptr=x,
        weight_ptr=weight,
        bias_ptr=bias,
        y_ptr=outputs[0],
        pixels=pixels,
        groups=groups,
        eps=eps,
        grid=trtp.max(batch * (groups * max(arguments["SPLIT"], 1)), 1),
        **arguments,
    )


@trtp.impl("aotfactory::group_norm_silu")
def group_norm_silu_jit(
    x: trtp.Tensor,
    weight: trtp.Tensor,
    bias: trtp.Tensor,
    groups: int,
    eps: float,
    outputs: Tuple[trtp.Tensor],
    stream: int,
    tactic: int,
) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, weight, bias, y = (torch.as_tensor(t, device="cuda") for t in (x, weight, bias, outputs[0]))
        pixels = prod(x.shape[2:])
        arguments = _arguments(x.shape[1] // groups, pixels, True, x.element_size(), tactic)
        grid = (max(x.shape[0] * groups * max(arguments["SPLIT"], 1), 1),)
        group_norm_silu_kernel[grid](x, weight, bias, pixels, y, groups, eps, **arguments)


def group_norm_silu_reference(x, weight, bias, groups, eps):
    """In float64; only what fp32 or the output's type cannot hold is infinite, as it is in the kernel."""
    each = (1, x.shape[1], *(1 for _ in x.shape[2:]))
    exact = x.astype(np.float64).reshape(x.shape[0], groups, -1)
    with np.errstate(all="ignore"):
        apart = _overflow(exact - np.mean(exact, -1, keepdims=True), np.float32)
        squares = _overflow(np.sum(apart * apart, -1, keepdims=True), np.float32)
        y = (apart / np.sqrt(squares / exact.shape[-1] + eps)).reshape(x.shape)
        y = y * weight.astype(np.float64).reshape(each) + bias.astype(np.float64).reshape(each)
        y = _overflow(y, np.float32)
        return _overflow(y / (1 + np.exp(-y)), x.dtype)


def _overflow(values, dtype):
    """Float64 values, infinite where rounding to this type makes them so."""
    with np.errstate(all="ignore"):
        return np.where(np.isinf(values.astype(dtype).astype(np.float64)), np.copysign(np.inf, values), values)


RECIPE = Recipe(
    name="group_norm_silu",
    plugin="aotfactory::group_norm_silu",
    summary="group normalisation with weight and bias, then SiLU",
    inputs=(
        Input(name="x", shape=(2, 320, 64, 64), dims=("N", "C", "H", "W")),
        Input(name="weight", shape=(320,), dims=("C",)),
        Input(name="bias", shape=(320,), dims=("C",)),
    ),
    dtypes=("fp32", "fp16", "bf16"),
    attributes={"groups": 32, "eps": 1e-5},
    reference=group_norm_silu_reference,
    dynamic=("N", "H", "W"),
    # Absolute: the mean's rounding, 6e-8 |x|, times up to 1 / sqrt(eps) where the elements are nearly alike. Relative:
    # the exponential; for fp16 and bf16 also half a unit in the last place (2^-11, 2^-8).
    tolerance={
        "fp32": Tolerance(atol=1e-4, rtol=2e-5),
        "fp16": Tolerance(atol=1e-4, rtol=6e-4),
        "bf16": Tolerance(atol=1e-4, rtol=4e-3),
    },
    extremes=True,
    shrink=("N",),
    odd_shapes=tuple(
        ((n, c, h, w), (c,), (c,))
        for n, c, h, w in (
            (1, 32, 1, 1),
            (2, 64, 3, 5),
            (1, 96, 8, 8),
            (1, 32, 150, 121),
            (1, 128, 65, 65),
            (1, 96, 96, 64),
        )
    ),
)
