# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Layer normalisation over the last dimension, with weight and bias.

A program holds whole rows in registers, several where they are short, so memory is read once and written once; the
variance is that of the differences from the mean. Longer rows are held by a cluster of blocks, or read twice, the
second time mostly from L2: first every lane sums differences from the mean of what it sees first, and their squares,
then the outputs are made. All accesses of rows are by 16-byte vectors, wherever rows begin; for dynamic lengths the
kernel looks when it runs.

Arithmetic is in fp32. Against float64 an output is off by rounding to its type and, before that, by some 1e-6 of a unit
(of the normalised row) as long as the mean is not much larger than the deviation: an fp32 input holds no more.
"""

from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl
from aotfactory.kernels import _row_pieces, _row_tactics, _row_tiles

from aotfactory import AotKernel, Input, Recipe, Tolerance, UnsupportedError, aot_kernel, trtp

TYPES = "FP32|FP16|BF16"
WORK = 20  # picoseconds of a multiprocessor for an element


@triton.jit
def _whole_row(
    x_ptr, weight_ptr, bias_ptr, y_ptr, rows, cols, eps, ROWS: tl.constexpr, CLUSTER: tl.constexpr,
    BLOCK: tl.constexpr, LIMIT: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr, ODD: tl.constexpr,
):  # fmt: skip
    # Lines that are held in registers.
    _, start, first, count = _row_tiles.lines(tl.program_id(0), rows, cols, ROWS, CLUSTER, VECTOR)
    head, begin, inner = _row_tiles.body(start, count, VECTOR, ODD)
    WORDS: tl.constexpr = ODD and VECTOR == 8 and BLOCK >= 2048 and not CLUSTER
    if WORDS:
        inner = _row_tiles.body_of_words(first, head, inner, cols, VECTOR)
    lane = _row_tiles.lanes(ROWS, BLOCK)
    inside = (lane < _row_tiles.column(inner, ROWS)) & (lane < LIMIT)
    at = _row_tiles.column(begin, ROWS) + lane
    if CLUSTER or ODD:
        weight_at = _row_tiles.column(first + head, ROWS) + lane
        weighted = inside
    else:
        weight_at = lane
        weighted = (lane < cols) & (lane < LIMIT)
    if AHEAD:
        weight = _row_tiles.weights(
            weight_ptr, weight_at, weighted, first + head, inner, ROWS, BLOCK, LIMIT, WORDS
        )  # fmt: skip
        bias = _row_tiles.weights(
            bias_ptr, weight_at, weighted, first + head, inner, ROWS, BLOCK, LIMIT, WORDS
        )  # fmt: skip
    x = tl.load(x_ptr + at, mask=inside, other=0)
    if ODD:
        # Before the first reduction: behind its barrier, they would be waited for by themselves.
        place, outside = _row_tiles.ends(count, head, inner, ROWS, VECTOR, 4 if WORDS else 2)
        end_at = _row_tiles.column(start, ROWS) + place
        end_weight_at = _row_tiles.column(first, ROWS) + place
        end_weight = tl.load(weight_ptr + end_weight_at, mask=outside, other=0).to(tl.float32)
        end_bias = tl.load(bias_ptr + end_weight_at, mask=outside, other=0).to(tl.float32)
        end = tl.load(x_ptr + end_at, mask=outside, other=0).to(tl.float32)
    # Each element is divided first: the sum of large ones could leave fp32's range where their mean does not.
    share = 1.0 / (tl.maximum(count, 1) if CLUSTER else cols + first * 0).to(tl.float32)
    z = x.to(tl.float32)
    mean = tl.sum(z * _row_tiles.column(share, ROWS), -1)
    if ODD:
        mean += tl.sum(end * _row_tiles.column(share, ROWS), -1)
    if not AHEAD:
        # An infinite mean is of a row with an infinity, of which nothing comes but NaN.
        z = _row_tiles.again(x, _row_tiles.column(mean, ROWS) == float("inf")).to(tl.float32)
    z = tl.where(inside, z - _row_tiles.column(mean, ROWS), 0)
    squares = tl.sum(z * z, -1)
    if ODD:
        end = tl.where(outside, end - _row_tiles.column(mean, ROWS), 0)
        squares += tl.sum(end * end, -1)
    apart = first * 0.0
    if CLUSTER:
        means, all_squares = _row_tiles.of_every_line(mean, squares, ROWS)
        size = _row_tiles.part_size(cols, ROWS, VECTOR)
        counts = tl.maximum(tl.minimum(cols - tl.arange(0, ROWS) * size, size), 0).to(tl.float32)
        middle = tl.sum(means * (counts / cols), 0)
        apart = means - middle
        squares = tl.sum(all_squares + apart * apart * counts, 0) + first * 0.0
        apart = mean - middle
    scale = _row_tiles.column(tl.rsqrt(squares / cols + eps), ROWS)
    if not AHEAD:
        weight = _row_tiles.weights(
            weight_ptr, weight_at, weighted, first + head, inner, ROWS, BLOCK, LIMIT, WORDS
        )  # fmt: skip
        bias = _row_tiles.weights(
            bias_ptr, weight_at, weighted, first + head, inner, ROWS, BLOCK, LIMIT, WORDS
        )  # fmt: skip
        z = _row_tiles.again(x, _row_tiles.column(squares, ROWS) < 0).to(tl.float32)
        z -= _row_tiles.column(mean, ROWS)
    # A line's mean is not its row's where a row has several.
    z += _row_tiles.column(apart, ROWS)
    y = z * scale * weight.to(tl.float32) + bias.to(tl.float32)
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=inside)
    if ODD:
        y = (end + _row_tiles.column(apart, ROWS)) * scale * end_weight + end_bias
        tl.store(y_ptr + end_at, y.to(y_ptr.dtype.element_ty), mask=outside)


@triton.jit
def _apart(x, real, middle, share):
    # Of each lane: half the mean difference from twice `middle`, and a quarter of the differences' squares. Halves, for
    # a difference itself may leave fp32's range.
    apart = tl.where(real, x * 0.5 - middle[None, :], 0)
    return tl.sum(apart * share[None, :], 0), tl.sum(apart * apart, 0)


@triton.jit
def _long_row(
    x_ptr, weight_ptr, bias_ptr, y_ptr, cols, eps, PARTS: tl.constexpr, DEPTH: tl.constexpr, LANES: tl.constexpr,
    VECTOR: tl.constexpr, ODD: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0) % PARTS
    start = (tl.program_id(0) // PARTS).to(tl.int64) * cols
    head, begin, inner = _row_tiles.body(start, cols, VECTOR, ODD)
    WORDS: tl.constexpr = ODD and VECTOR == 8
    if WORDS:
        inner = _row_tiles.body_of_words(0, head, inner, cols, VECTOR)
    lane = tl.arange(0, LANES)
    tile = tl.arange(0, DEPTH)[:, None] * LANES + lane[None, :]
    # Elements that each lane sees; its share of the row's mean and squares goes by them.
    count = ((tl.maximum(inner - lane, 0) + (LANES - 1)) // LANES).to(tl.float32)
    share = 1 / tl.maximum(count, 1)
    # Differences are of what each lane sees first: the mean of some of its elements. However far that is from the mean
    # of all, it makes their variance larger too: the difference of sums keeps all but log2(all / some) of its bits.
    seen = tl.load(x_ptr + begin + tile, mask=tile < inner, other=0, eviction_policy="evict_last").to(tl.float32)
    if ODD:
        # Before the first reduction, as in _whole_row.
        place, outside = _row_tiles.ends(cols, head, inner, 1, VECTOR, 4 if WORDS else 2)
        mine = outside & (place * 0 + part == PARTS - 1)
        end = tl.load(x_ptr + start + place, mask=outside, other=0).to(tl.float32)
        end_weight = tl.load(weight_ptr + place, mask=mine, other=0).to(tl.float32)
        end_bias = tl.load(bias_ptr + place, mask=mine, other=0).to(tl.float32)
    middle = tl.sum(seen * (0.5 / tl.maximum(tl.minimum(count, DEPTH), 1))[None, :], 0)
    moved, squares = _apart(seen, tile < inner, middle, share)
    for i in range(DEPTH * LANES, inner, DEPTH * LANES):
        within = i + tile < inner
        seen = tl.load(x_ptr + begin + (i + tile), mask=within, other=0, eviction_policy="evict_last").to(tl.float32)
        more_moved, more_squares = _apart(seen, within, middle, share)
        moved += more_moved
        squares += more_squares
    squares = tl.where(squares < float("inf"), tl.maximum(squares - moved * moved * count, 0), squares) * 4
    mean = (middle + moved) * 2
    total = tl.sum(mean * (count / cols), 0)
    if ODD:
        total += tl.sum(end * (1.0 / cols), 0)
    # A lane of a row shorter than the block may have seen none: its 0 is no mean.
    apart = tl.where(count > 0, mean - total, 0)
    whole = tl.sum(squares + apart * apart * count, 0)
    if ODD:
        end = tl.where(outside, end - total, 0)
        whole += tl.sum(end * end, 0)
    scale = tl.rsqrt(whole / cols + eps)
    if ODD:
        tl.store(y_ptr + start + place, (end * scale * end_weight + end_bias).to(y_ptr.dtype.element_ty), mask=mine)
    size = _row_tiles.part_size(inner, PARTS, VECTOR)
    last = tl.minimum((part + 1) * size, inner)
    for i in range(part * size, last, LANES):
        at = i + lane
        real = at < last
        weight = _row_tiles.weights(
            weight_ptr, head + at, real, head + i, last - i, 1, LANES, LANES, WORDS
        ).to(tl.float32)  # fmt: skip
        bias = _row_tiles.weights(
            bias_ptr, head + at, real, head + i, last - i, 1, LANES, LANES, WORDS
        ).to(tl.float32)  # fmt: skip
        x = tl.load(x_ptr + begin + at, mask=real, other=0).to(tl.float32)
        y = (x - total) * scale * weight + bias
        tl.store(y_ptr + begin + at, y.to(y_ptr.dtype.element_ty), mask=real)


@triton.jit
def _row(
    x_ptr, weight_ptr, bias_ptr, y_ptr, rows, cols, eps,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, CLUSTER: tl.constexpr, PARTS: tl.constexpr,
    DEPTH: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr,
    ODD: tl.constexpr,
):  # fmt: skip
    if PARTS == 0:
        _whole_row(
            x_ptr, weight_ptr, bias_ptr, y_ptr, rows, cols, eps, ROWS, CLUSTER, BLOCK, LIMIT, VECTOR, AHEAD, ODD
        )  # fmt: skip
    else:
        _long_row(x_ptr, weight_ptr, bias_ptr, y_ptr, cols, eps, PARTS, DEPTH, BLOCK, VECTOR, ODD)


@triton.jit
def layer_norm_kernel(
    x_ptr, weight_ptr, bias_ptr, rows, cols, y_ptr, eps,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, CLUSTER: tl.constexpr, PARTS: tl.constexpr,
    DEPTH: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    if cols % VECTOR == 0:
        # Written so, the compiler sees that rows begin at 16-byte boundaries.
        aligned = cols // VECTOR * VECTOR
        _row(
            x_ptr, weight_ptr, bias_ptr, y_ptr, rows, aligned, eps, ROWS, BLOCK, LIMIT, CLUSTER, PARTS, DEPTH, VECTOR,
            AHEAD, False,
        )  # fmt: skip
    else:
        _row(
            x_ptr, weight_ptr, bias_ptr, y_ptr, rows, cols, eps, ROWS, BLOCK, LIMIT, CLUSTER, PARTS, DEPTH, VECTOR,
            AHEAD, True,
        )  # fmt: skip


@trtp.register("aotfactory::layer_norm")
def layer_norm_desc(x: trtp.TensorDesc, weight: trtp.TensorDesc, bias: trtp.TensorDesc, eps: float) -> trtp.TensorDesc:
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last dimension, D.

    x has the shape (..., D), weight and bias (D,). The variance is that of the row, divided by D. A row with NaN or an
    infinity is NaN; one whose variance is beyond fp32's range (3.4e38) comes out as the bias.

    Attributes:
        eps: Added to the variance.
    """
    if x.ndim < 1 or weight.ndim != 1 or bias.ndim != 1:
        raise UnsupportedError(
            f"x has {x.ndim} dimensions, weight {weight.ndim} and bias {bias.ndim}",
            hint="x takes 1 or more, weight and bias 1: the last of x",
        )
    return x.like()


@trtp.autotune("aotfactory::layer_norm")
def layer_norm_autotune(
    x: trtp.TensorDesc, weight: trtp.TensorDesc, bias: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(", ".join([TYPES] * 4), "LINEAR", _row_pieces.tactics(x, WORK))]


@trtp.aot_impl("aotfactory::layer_norm")
def layer_norm_aot(
    x: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    bias: trtp.TensorDesc,
    eps: float,
    outputs: Tuple[trtp.TensorDesc],
    tactic: int,
) -> AotKernel:
    if tactic in _row_pieces.TACTICS:
        return _row_pieces.aot(_row_pieces.LAYER_NORM, x, weight, bias, eps, outputs[0], tactic)
    *leading, cols = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    arguments = _row_tactics.arguments(_row_tactics.rows_of(x, WORK), tactic)
    grid = trtp.max(_row_tactics.programs(rows, arguments, trtp.cdiv), 1)
    tensors = {"x_ptr": x, "weight_ptr": weight, "bias_ptr": bias, "y_ptr": outputs[0]}
    return aot_kernel(layer_norm_kernel, **tensors, rows=rows, cols=cols, eps=eps, grid=grid, **arguments)


@trtp.impl("aotfactory::layer_norm")
def layer_norm_jit(
    x: trtp.Tensor,
    weight: trtp.Tensor,
    bias: trtp.Tensor,
    eps: float,
    outputs: Tuple[trtp.Tensor],
    stream: int,
    tactic: int,
) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, weight, bias, y = (torch.as_tensor(t, device="cuda") for t in (x, weight, bias, outputs[0]))
        cols = x.shape[-1]
        rows, arguments = x.numel() // cols, _row_tactics.arguments(_row_tactics.rows_like(x, WORK), tactic)
        grid = (max(_row_tactics.programs(rows, arguments, triton.cdiv), 1),)
        layer_norm_kernel[grid](x, weight, bias, rows, cols, y, eps, **arguments)


def layer_norm_reference(x, weight, bias, eps):
    """In float64; only what fp32 or the output's type cannot hold is infinite, as it is in the kernel."""
    exact = x.astype(np.float64)
    with np.errstate(all="ignore"):
        apart = _overflow(exact - np.mean(exact, -1, keepdims=True), np.float32)
        squares = _overflow(np.sum(apart * apart, -1, keepdims=True), np.float32)
        y = apart / np.sqrt(squares / x.shape[-1] + eps) * weight.astype(np.float64) + bias.astype(np.float64)
    return _overflow(y, x.dtype)


def _overflow(values, dtype):
    """Float64 values, infinite where rounding to this type makes them so."""
    with np.errstate(all="ignore"):
        return np.where(np.isinf(values.astype(dtype).astype(np.float64)), np.copysign(np.inf, values), values)


SIZE = Input(name="weight", shape=(4096,), dims=("D",)), Input(name="bias", shape=(4096,), dims=("D",))

RECIPE = Recipe(
    name="layer_norm",
    plugin="aotfactory::layer_norm",
    summary="(x - mean) / sqrt(variance + eps) * weight + bias over the last dimension",
    inputs=(Input(name="x", shape=(4, 256, 4096), dims=("B", "S", "D")), *SIZE),
    dtypes=("fp32", "fp16", "bf16"),
    attributes={"eps": 1e-5},
    reference=layer_norm_reference,
    # No extremes in the data: where weight and bias are near the largest numbers and cancel, fp32's rounding is all
    # that is left, which no tolerance relative to the result covers (seen on a GPU).
    # Absolute: the mean's rounding, 6e-8 |x|, times up to 1 / sqrt(eps) where the elements are nearly alike. Relative:
    # fp32's arithmetic; for the others also half a unit in the last place (2^-11, 2^-8).
    tolerance={
        "fp32": Tolerance(atol=1e-4, rtol=1e-5),
        "fp16": Tolerance(atol=1e-4, rtol=6e-4),
        "bf16": Tolerance(atol=1e-4, rtol=4e-3),
    },
    shrink=("B", "S"),
    odd_shapes=tuple(((*s, d), (d,), (d,)) for s, d in (((1, 1), 1), ((3, 5), 61), ((37,), 64), ((2,), 40001))),
)
