# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""RMS normalisation over the last dimension; and the same of a sum, with the sum kept in the residual's buffer.

A program holds whole rows in registers, several where they are short, so memory is read once and written once. Longer
rows are held by a cluster of blocks together, or read twice, in blocks, the second time mostly from L2. All accesses of
rows are by 16-byte vectors, wherever rows begin; for dynamic lengths the kernel looks when it runs.

Sums are in fp32, so against float64 an output is off by rounding to its type and, before that, by some 1e-6 relative.
"""

from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl
from aotfactory.kernels import _row_pieces, _row_tactics, _row_tiles

from aotfactory import AotKernel, Input, Recipe, Tolerance, UnsupportedError, aot_kernel, trtp

TYPES = "FP32|FP16|BF16"
WORK = 12  # picoseconds of a multiprocessor for an element


@triton.jit
def _whole_row(
    x_ptr, residual_ptr, weight_ptr, y_ptr, rows, cols, eps, ADD: tl.constexpr, ROWS: tl.constexpr,
    CLUSTER: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr,
    ODD: tl.constexpr,
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
    x = tl.load(x_ptr + at, mask=inside, other=0)
    z = x.to(tl.float32)
    if ADD:
        residual = tl.load(residual_ptr + at, mask=inside, other=0)
        z += residual.to(tl.float32)
    if ODD:
        # Before the first reduction: behind its barrier, they would be waited for by themselves.
        place, outside = _row_tiles.ends(count, head, inner, ROWS, VECTOR, 4 if WORDS else 2)
        end_at = _row_tiles.column(start, ROWS) + place
        end_weight_at = _row_tiles.column(first, ROWS) + place
        end_weight = tl.load(weight_ptr + end_weight_at, mask=outside, other=0).to(tl.float32)
        end = tl.load(x_ptr + end_at, mask=outside, other=0).to(tl.float32)
        if ADD:
            end += tl.load(residual_ptr + end_at, mask=outside, other=0).to(tl.float32)
    squares = tl.sum(z * z, -1)
    if ODD:
        squares += tl.sum(end * end, -1)
    if CLUSTER:
        squares = tl.sum(squares, 0) + first * 0.0
    scale = _row_tiles.column(tl.rsqrt(squares / cols + eps), ROWS)
    if not AHEAD:
        weight = _row_tiles.weights(
            weight_ptr, weight_at, weighted, first + head, inner, ROWS, BLOCK, LIMIT, WORDS
        )  # fmt: skip
        never = _row_tiles.column(squares, ROWS) < 0
        z = _row_tiles.again(x, never).to(tl.float32)
        if ADD:
            z += _row_tiles.again(residual, never).to(tl.float32)
    if ADD:
        # Of a tile smaller than the program, several threads hold each element: all have read it before it changes.
        tl.debug_barrier()
        tl.store(residual_ptr + at, z.to(residual_ptr.dtype.element_ty), mask=inside)
        if ODD:
            tl.store(residual_ptr + end_at, end.to(residual_ptr.dtype.element_ty), mask=outside)
    tl.store(y_ptr + at, (z * scale * weight.to(tl.float32)).to(y_ptr.dtype.element_ty), mask=inside)
    if ODD:
        tl.store(y_ptr + end_at, (end * scale * end_weight).to(y_ptr.dtype.element_ty), mask=outside)


@triton.jit
def _load_sum(x_ptr, residual_ptr, at, inside, ADD: tl.constexpr, LATER: tl.constexpr):
    # LATER: it is read again, by this program or its neighbours.
    x = tl.load(x_ptr + at, mask=inside, other=0, eviction_policy="evict_last" if LATER else "").to(tl.float32)
    if ADD:
        x += tl.load(residual_ptr + at, mask=inside, other=0, eviction_policy="evict_last" if LATER else "").to(
            tl.float32
        )
    return x


@triton.jit
def _long_row(
    x_ptr, residual_ptr, weight_ptr, y_ptr, cols, eps, ADD: tl.constexpr, PARTS: tl.constexpr, DEPTH: tl.constexpr,
    LANES: tl.constexpr, VECTOR: tl.constexpr, ODD: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0) % PARTS
    start = (tl.program_id(0) // PARTS).to(tl.int64) * cols
    head, begin, inner = _row_tiles.body(start, cols, VECTOR, ODD)
    WORDS: tl.constexpr = ODD and VECTOR == 8
    if WORDS:
        inner = _row_tiles.body_of_words(0, head, inner, cols, VECTOR)
    squares = tl.zeros((LANES,), tl.float32)
    tile = tl.arange(0, DEPTH)[:, None] * LANES + tl.arange(0, LANES)[None, :]
    if ODD:
        # Before the first reduction, as in _whole_row.
        place, outside = _row_tiles.ends(cols, head, inner, 1, VECTOR, 4 if WORDS else 2)
        mine = outside & (place * 0 + part == PARTS - 1)
        end = _load_sum(x_ptr + start, residual_ptr + start, place, outside, ADD, False)
        end_weight = tl.load(weight_ptr + place, mask=mine, other=0).to(tl.float32)
    for i in range(0, inner, DEPTH * LANES):
        x = _load_sum(x_ptr + begin, residual_ptr + begin, i + tile, i + tile < inner, ADD, True)
        squares += tl.sum(x * x, 0)
    total = tl.sum(squares, 0)
    if ODD:
        total += tl.sum(end * end, 0)
    scale = tl.rsqrt(total / cols + eps)
    if ODD:
        if ADD:
            tl.debug_barrier()  # as in _whole_row
            tl.store(residual_ptr + start + place, end.to(residual_ptr.dtype.element_ty), mask=mine)
        tl.store(y_ptr + start + place, (end * scale * end_weight).to(y_ptr.dtype.element_ty), mask=mine)
    size = _row_tiles.part_size(inner, PARTS, VECTOR)
    last = tl.minimum((part + 1) * size, inner)
    for i in range(part * size, last, LANES):
        at = i + tl.arange(0, LANES)
        weight = _row_tiles.weights(
            weight_ptr, head + at, at < last, head + i, last - i, 1, LANES, LANES, WORDS
        ).to(tl.float32)  # fmt: skip
        x = _load_sum(x_ptr + begin, residual_ptr + begin, at, at < last, ADD, False)
        if ADD:
            tl.store(residual_ptr + begin + at, x.to(residual_ptr.dtype.element_ty), mask=at < last)
        tl.store(y_ptr + begin + at, (x * scale * weight).to(y_ptr.dtype.element_ty), mask=at < last)


@triton.jit
def _row(
    x_ptr, residual_ptr, weight_ptr, y_ptr, rows, cols, eps, ADD: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, CLUSTER: tl.constexpr, PARTS: tl.constexpr,
    DEPTH: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr,
    ODD: tl.constexpr,
):  # fmt: skip
    if PARTS == 0:
        _whole_row(
            x_ptr, residual_ptr, weight_ptr, y_ptr, rows, cols, eps, ADD, ROWS, CLUSTER, BLOCK, LIMIT, VECTOR, AHEAD,
            ODD,
        )  # fmt: skip
    else:
        _long_row(x_ptr, residual_ptr, weight_ptr, y_ptr, cols, eps, ADD, PARTS, DEPTH, BLOCK, VECTOR, ODD)


@triton.jit
def _rows(
    x_ptr, residual_ptr, weight_ptr, y_ptr, rows, cols, eps, ADD: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, CLUSTER: tl.constexpr, PARTS: tl.constexpr,
    DEPTH: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    if cols % VECTOR == 0:
        # Written so, the compiler sees that rows begin at 16-byte boundaries.
        aligned = cols // VECTOR * VECTOR
        _row(
            x_ptr, residual_ptr, weight_ptr, y_ptr, rows, aligned, eps, ADD, ROWS, BLOCK, LIMIT, CLUSTER, PARTS, DEPTH,
            VECTOR, AHEAD, False,
        )  # fmt: skip
    else:
        _row(
            x_ptr, residual_ptr, weight_ptr, y_ptr, rows, cols, eps, ADD, ROWS, BLOCK, LIMIT, CLUSTER, PARTS, DEPTH,
            VECTOR, AHEAD, True,
        )  # fmt: skip


@triton.jit
def rms_norm_kernel(
    x_ptr, weight_ptr, rows, cols, y_ptr, eps,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, CLUSTER: tl.constexpr, PARTS: tl.constexpr,
    DEPTH: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    _rows(
        x_ptr, x_ptr, weight_ptr, y_ptr, rows, cols, eps, False, ROWS, BLOCK, LIMIT, CLUSTER, PARTS, DEPTH, VECTOR,
        AHEAD,
    )  # fmt: skip


@triton.jit
def rms_norm_add_kernel(
    x_ptr, residual_ptr, weight_ptr, rows, cols, y_ptr, sum_ptr, eps,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, CLUSTER: tl.constexpr, PARTS: tl.constexpr,
    DEPTH: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    # sum_ptr is the residual's buffer: going through the input pointer alone is right whatever a runtime passes for it.
    _rows(
        x_ptr, residual_ptr, weight_ptr, y_ptr, rows, cols, eps, True, ROWS, BLOCK, LIMIT, CLUSTER, PARTS, DEPTH,
        VECTOR, AHEAD,
    )  # fmt: skip


def _check(x: trtp.TensorDesc, weight: trtp.TensorDesc) -> None:
    if x.ndim < 1 or weight.ndim != 1:
        raise UnsupportedError(
            f"x has {x.ndim} dimensions and weight {weight.ndim}", hint="x takes 1 or more, weight 1: x's last"
        )


@trtp.register("aotfactory::rms_norm")
def rms_norm_desc(x: trtp.TensorDesc, weight: trtp.TensorDesc, eps: float) -> trtp.TensorDesc:
    """x / sqrt(mean(x^2) + eps) * weight, over the last dimension, D.

    x has the shape (..., D), weight (D,). A row whose squares' sum is beyond fp32's range (3.4e38) comes out as zeros,
    and NaN where it is infinite.

    Attributes:
        eps: Added to the mean of the squares.
    """
    _check(x, weight)
    return x.like()


@trtp.register("aotfactory::rms_norm_add")
def rms_norm_add_desc(
    x: trtp.TensorDesc, residual: trtp.TensorDesc, weight: trtp.TensorDesc, eps: float
) -> Tuple[trtp.TensorDesc, trtp.TensorDesc]:
    """residual += x; and that sum normalised as by rms_norm, before it is rounded to the residual's type.

    x and residual have the shape (..., D), weight (D,). Outputs: the normalised sum, and the sum in residual's buffer.
    The builder needs `PreviewFeature.ALIASED_PLUGIN_IO_10_03`.

    Attributes:
        eps: Added to the mean of the squares.
    """
    _check(x, weight)
    if residual.ndim != x.ndim:
        raise UnsupportedError(
            f"residual has {residual.ndim} dimensions, x has {x.ndim}", hint="they are of the same shape"
        )
    return x.like(), residual.aliased()


@trtp.autotune("aotfactory::rms_norm")
def rms_norm_autotune(
    x: trtp.TensorDesc, weight: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(", ".join([TYPES] * 3), "LINEAR", _row_pieces.tactics(x, WORK))]


@trtp.autotune("aotfactory::rms_norm_add")
def rms_norm_add_autotune(
    x: trtp.TensorDesc,
    residual: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc],
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(", ".join([TYPES] * 5), "LINEAR", _row_tactics.tactics(x, WORK, tensors=2))]


@trtp.aot_impl("aotfactory::rms_norm")
def rms_norm_aot(
    x: trtp.TensorDesc, weight: trtp.TensorDesc, eps: float, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> AotKernel:
    if tactic in _row_pieces.TACTICS:
        return _row_pieces.aot(_row_pieces.RMS_NORM, x, weight, x, eps, outputs[0], tactic)
    *leading, cols = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    arguments = _row_tactics.arguments(_row_tactics.rows_of(x, WORK), tactic)
    grid = trtp.max(_row_tactics.programs(rows, arguments, trtp.cdiv), 1)
    tensors = {"x_ptr": x, "weight_ptr": weight, "y_ptr": outputs[0]}
    return aot_kernel(rms_norm_kernel, **tensors, rows=rows, cols=cols, eps=eps, grid=grid, **arguments)


@trtp.aot_impl("aotfactory::rms_norm_add")
def rms_norm_add_aot(
    x: trtp.TensorDesc,
    residual: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    eps: float,
    outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc],
    tactic: int,
) -> AotKernel:
    *leading, cols = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    arguments = _row_tactics.arguments(_row_tactics.rows_of(x, WORK, tensors=2), tactic)
    grid = trtp.max(_row_tactics.programs(rows, arguments, trtp.cdiv), 1)
    tensors = {"x_ptr": x, "residual_ptr": residual, "weight_ptr": weight, "y_ptr": outputs[0], "sum_ptr": outputs[1]}
    return aot_kernel(rms_norm_add_kernel, **tensors, rows=rows, cols=cols, eps=eps, grid=grid, **arguments)


@trtp.impl("aotfactory::rms_norm")
def rms_norm_jit(
    x: trtp.Tensor, weight: trtp.Tensor, eps: float, outputs: Tuple[trtp.Tensor], stream: int, tactic: int
) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, weight, y = (torch.as_tensor(t, device="cuda") for t in (x, weight, outputs[0]))
        cols = x.shape[-1]
        rows, arguments = x.numel() // cols, _row_tactics.arguments(_row_tactics.rows_like(x, WORK), tactic)
        rms_norm_kernel[(max(_row_tactics.programs(rows, arguments, triton.cdiv), 1),)](
            x, weight, rows, cols, y, eps, **arguments
        )


@trtp.impl("aotfactory::rms_norm_add")
def rms_norm_add_jit(
    x: trtp.Tensor,
    residual: trtp.Tensor,
    weight: trtp.Tensor,
    eps: float,
    outputs: Tuple[trtp.Tensor, trtp.Tensor],
    stream: int,
    tactic: int,
) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, residual, weight, y = (torch.as_tensor(t, device="cuda") for t in (x, residual, weight, outputs[0]))
        cols = x.shape[-1]
        rows, arguments = x.numel() // cols, _row_tactics.arguments(_row_tactics.rows_like(x, WORK, tensors=2), tactic)
        grid = (max(_row_tactics.programs(rows, arguments, triton.cdiv), 1),)
        rms_norm_add_kernel[grid](x, residual, weight, rows, cols, y, residual, eps, **arguments)


def rms_norm_reference(x, weight, eps):
    """In float64; only what fp32 sums or the output's type cannot hold is infinite, as it is in the kernel."""
    return _normalised(x.astype(np.float64), weight, eps, x.dtype)


def rms_norm_add_reference(x, residual, weight, eps):
    with np.errstate(all="ignore"):
        total = _overflow(x.astype(np.float64) + residual.astype(np.float64), np.float32)
    return _normalised(total, weight, eps, x.dtype), _overflow(total, x.dtype)


def _normalised(exact, weight, eps, dtype):
    with np.errstate(all="ignore"):
        squares = _overflow(np.sum(exact * exact, -1, keepdims=True), np.float32)
        y = exact / np.sqrt(squares / exact.shape[-1] + eps) * weight.astype(np.float64)
    return _overflow(y, dtype)


def _overflow(values, dtype):
    """Float64 values, infinite where rounding to this type makes them so."""
    with np.errstate(all="ignore"):
        return np.where(np.isinf(values.astype(dtype).astype(np.float64)), np.copysign(np.inf, values), values)


# fp32: the error of sums and rsqrt. The others: half a unit in the last place (2^-11, 2^-8), and that error.
TOLERANCE = {
    "fp32": Tolerance(atol=1e-6, rtol=1e-5),
    "fp16": Tolerance(atol=1e-6, rtol=6e-4),
    "bf16": Tolerance(atol=1e-6, rtol=4e-3),
}
WEIGHT = Input(name="weight", shape=(4096,), dims=("D",))
DIMS = ("B", "S", "D")

RECIPES = (
    Recipe(
        name="rms_norm",
        plugin="aotfactory::rms_norm",
        summary="x / sqrt(mean(x^2) + eps) * weight over the last dimension",
        inputs=(Input(name="x", shape=(4, 256, 4096), dims=DIMS), WEIGHT),
        dtypes=("fp32", "fp16", "bf16"),
        attributes={"eps": 1e-6},
        reference=rms_norm_reference,
        tolerance=TOLERANCE,
        extremes=True,
        shrink=("B", "S"),
        odd_shapes=tuple(((*s, d), (d,)) for s, d in (((1, 1), 1), ((3, 5), 61), ((37,), 64), ((2,), 40001))),
    ),
    Recipe(
        name="rms_norm_add",
        plugin="aotfactory::rms_norm_add",
        summary="residual += x in place, and rms_norm of the sum",
        inputs=(
            Input(name="x", shape=(4, 256, 4096), dims=DIMS),
            Input(name="residual", shape=(4, 256, 4096), dims=DIMS),
            WEIGHT,
        ),
        dtypes=("fp32", "fp16", "bf16"),
        outputs=("y", "residual_out"),
        attributes={"eps": 1e-6},
        reference=rms_norm_add_reference,
        tolerance=TOLERANCE,
        extremes=True,
        shrink=("B", "S"),
        odd_shapes=tuple(((*s, d), (*s, d), (d,)) for s, d in (((1, 1), 1), ((3, 5), 61), ((37,), 64), ((2,), 40001))),
    ),
)
