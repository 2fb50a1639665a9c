# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Softmax over the last dimension; and the same with an additive mask that rows share.

A program holds whole rows in registers, several where they are short, so memory is read once and written once. Longer
rows are held by a cluster of blocks together, or read twice, the second time mostly from L2: a running maximum and sum
of each lane, then the outputs. All accesses of rows are by 16-byte vectors, wherever rows begin; for dynamic lengths
the kernel looks when it runs.

Arithmetic is in fp32. Against float64 an output y is off by rounding to its type and, before that, by about
1e-6 * y * max(1, |ln y| / 10), since the exponential is one of powers of two.

A row with NaN or +inf is NaN, and so is a row that is -inf everywhere, as in torch.
"""

from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl
from aotfactory.kernels import _row_pieces, _row_tactics, _row_tiles

from aotfactory import AotKernel, Input, Recipe, Tolerance, UnsupportedError, aot_kernel, trtp

TYPES = "FP32|FP16|BF16"
WORK = 30  # picoseconds of a multiprocessor for an element
LOWEST = tl.constexpr(-3.4028234663852886e38)


@triton.jit
def _load(x_ptr, mask_ptr, at, mask_at, inside, MASKED: tl.constexpr, LATER: tl.constexpr):
    # LATER: x is read again, by this program or its neighbours.
    x = tl.load(x_ptr + at, mask=inside, other=float("-inf"), eviction_policy="evict_last" if LATER else "")
    if MASKED:
        # The mask is read again for every head: x is not to drive it out of L2.
        mask = tl.load(mask_ptr + mask_at, mask=inside, other=0, eviction_policy="evict_last")
        x = x.to(tl.float32) + mask.to(tl.float32)
    return x


@triton.jit
def _exp(x):
    # As a power of two: tl.exp also looks after results below 1.2e-38, at three instructions each.
    return tl.exp2(x * 1.4426950408889634)


@triton.jit
def _merge(one, other):
    most, total = _row_tiles.unpack(one)
    others_most, others_total = _row_tiles.unpack(other)
    top = tl.maximum(most, others_most)
    return _row_tiles.pack(top, total * _exp(most - top) + others_total * _exp(others_most - top))


@triton.jit
def _tile(
    x_ptr, mask_ptr, y_ptr, rows, mask_rows, cols, MASKED: tl.constexpr, ROWS: tl.constexpr, CLUSTER: tl.constexpr,
    BLOCK: tl.constexpr, LIMIT: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr, ODD: tl.constexpr,
):  # fmt: skip
    # Lines that are held in registers.
    row, start, first, count = _row_tiles.lines(tl.program_id(0), rows, cols, ROWS, CLUSTER, VECTOR)
    head, begin, inner = _row_tiles.body(start, count, VECTOR, ODD)
    mask_start = (row % mask_rows).to(tl.int64) * cols + first
    lane = _row_tiles.lanes(ROWS, BLOCK)
    inside = (lane < _row_tiles.column(inner, ROWS)) & (lane < LIMIT)
    at = _row_tiles.column(begin, ROWS) + lane
    x = _load(x_ptr, mask_ptr, at, _row_tiles.column(mask_start + head, ROWS) + lane, inside, MASKED, False)
    if ODD:
        # Before the first reduction: behind its barrier, they would be waited for by themselves.
        place, outside = _row_tiles.ends(count, head, inner, ROWS, VECTOR)
        end_at = _row_tiles.column(start, ROWS) + place
        end = _load(x_ptr, mask_ptr, end_at, _row_tiles.column(mask_start, ROWS) + place, outside, MASKED, False)
    most = tl.max(x, -1).to(tl.float32)
    if ODD:
        most = tl.maximum(most, tl.max(end, -1).to(tl.float32))
    if CLUSTER:
        # A part may be -inf everywhere where its row is not: the difference of two infinities would be NaN.
        most = tl.maximum(most, LOWEST)
    # To keep x in its own type alone takes half the registers: twice as many programs are under way.
    LEAN: tl.constexpr = CLUSTER and not AHEAD and not MASKED
    if LEAN:
        x = _row_tiles.again(x, _row_tiles.column(most, ROWS) == float("inf"))
    e = _exp(x.to(tl.float32) - _row_tiles.column(most, ROWS))
    total = tl.sum(e, -1)
    if ODD:
        end = _exp(end.to(tl.float32) - _row_tiles.column(most, ROWS))
        total += tl.sum(end, -1)
    if CLUSTER:
        top, whole = _row_tiles.unpack(tl.reduce(_row_tiles.pack(most, total), 0, _merge))
        scale = _exp(most - top) * (1 / whole)
    else:
        scale = 1 / total
    scale = _row_tiles.column(scale, ROWS)
    if LEAN:
        e = _exp(_row_tiles.again(x, scale < 0).to(tl.float32) - _row_tiles.column(most, ROWS))
    tl.store(y_ptr + at, (e * scale).to(y_ptr.dtype.element_ty), mask=inside)
    if ODD:
        tl.store(y_ptr + end_at, (end * scale).to(y_ptr.dtype.element_ty), mask=outside)


@triton.jit
def _long_row(
    x_ptr, mask_ptr, y_ptr, mask_rows, cols, MASKED: tl.constexpr, PARTS: tl.constexpr, DEPTH: tl.constexpr,
    LANES: tl.constexpr, VECTOR: tl.constexpr, ODD: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) // PARTS
    part = tl.program_id(0) % PARTS
    start = row.to(tl.int64) * cols
    mask_start = (row % mask_rows).to(tl.int64) * cols
    head, begin, inner = _row_tiles.body(start, cols, VECTOR, ODD)
    x_begin = x_ptr + begin
    mask_begin = mask_ptr + (mask_start + head)
    # LOWEST, not -inf: the difference of two infinities would be NaN.
    most = tl.full((LANES,), LOWEST, tl.float32)
    total = tl.zeros((LANES,), tl.float32)
    tile = tl.arange(0, DEPTH)[:, None] * LANES + tl.arange(0, LANES)[None, :]
    if ODD:
        # Before the first reduction, as in _tile.
        place, outside = _row_tiles.ends(cols, head, inner, 1, VECTOR)
        end = _load(x_ptr + start, mask_ptr + mask_start, place, place, outside, MASKED, False).to(tl.float32)
    for i in range(0, inner, DEPTH * LANES):
        at = i + tile
        x = _load(x_begin, mask_begin, at, at, at < inner, MASKED, True).to(tl.float32)
        grown = tl.maximum(most, tl.max(x, 0))
        total = total * _exp(most - grown) + tl.sum(_exp(x - grown[None, :]), 0)
        most = grown
    top = tl.max(most, 0)
    if ODD:
        top = tl.maximum(top, tl.max(end, 0))
    whole = tl.sum(total * _exp(most - top), 0)
    if ODD:
        end = _exp(end - top)
        whole += tl.sum(end, 0)
    scale = 1 / whole
    if ODD:
        tl.store(
            y_ptr + start + place,
            (end * scale).to(y_ptr.dtype.element_ty),
            mask=outside & (place * 0 + part == PARTS - 1),
        )
    size = _row_tiles.part_size(inner, PARTS, VECTOR)
    last = tl.minimum((part + 1) * size, inner)
    for i in range(part * size, last, LANES):
        at = i + tl.arange(0, LANES)
        x = _load(x_begin, mask_begin, at, at, at < last, MASKED, False).to(tl.float32)
        tl.store(y_ptr + begin + at, (_exp(x - top) * scale).to(y_ptr.dtype.element_ty), mask=at < last)


@triton.jit
def _rows(
    x_ptr, mask_ptr, y_ptr, rows, mask_rows, cols, MASKED: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, CLUSTER: tl.constexpr, PARTS: tl.constexpr,
    DEPTH: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr, ODD: tl.constexpr,
):  # fmt: skip
    if PARTS == 0:
        _tile(
            x_ptr, mask_ptr, y_ptr, rows, mask_rows, cols, MASKED, ROWS, CLUSTER, BLOCK, LIMIT, VECTOR, AHEAD, ODD
        )  # fmt: skip
    else:
        _long_row(x_ptr, mask_ptr, y_ptr, mask_rows, cols, MASKED, PARTS, DEPTH, BLOCK, VECTOR, ODD)


@triton.jit
def _softmax(
    x_ptr, mask_ptr, y_ptr, rows, mask_rows, cols, MASKED: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, CLUSTER: tl.constexpr, PARTS: tl.constexpr,
    DEPTH: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    if cols % VECTOR == 0:
        # Written so, the compiler sees that rows begin at 16-byte boundaries.
        aligned = cols // VECTOR * VECTOR
        _rows(
            x_ptr, mask_ptr, y_ptr, rows, mask_rows, aligned, MASKED, ROWS, BLOCK, LIMIT, CLUSTER, PARTS, DEPTH,
            VECTOR, AHEAD, False,
        )  # fmt: skip
    else:
        _rows(
            x_ptr, mask_ptr, y_ptr, rows, mask_rows, cols, MASKED, ROWS, BLOCK, LIMIT, CLUSTER, PARTS, DEPTH, VECTOR,
            AHEAD, True,
        )  # fmt: skip


@triton.jit
def softmax_kernel(
    x_ptr, rows, cols, y_ptr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, CLUSTER: tl.constexpr, PARTS: tl.constexpr,
    DEPTH: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    _softmax(x_ptr, x_ptr, y_ptr, rows, 1, cols, False, ROWS, BLOCK, LIMIT, CLUSTER, PARTS, DEPTH, VECTOR, AHEAD)


@triton.jit
def masked_softmax_kernel(
    x_ptr, mask_ptr, rows, mask_rows, cols, y_ptr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, CLUSTER: tl.constexpr, PARTS: tl.constexpr,
    DEPTH: tl.constexpr, VECTOR: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    _softmax(
        x_ptr, mask_ptr, y_ptr, rows, mask_rows, cols, True, ROWS, BLOCK, LIMIT, CLUSTER, PARTS, DEPTH, VECTOR, AHEAD
    )


@trtp.register("aotfactory::softmax")
def softmax_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    """exp(x) / sum(exp(x)) over the last dimension of a tensor of any shape."""
    if x.ndim < 1:
        raise UnsupportedError("softmax of a scalar", hint="x takes 1 dimension or more")
    return x.like()


@trtp.register("aotfactory::masked_softmax")
def masked_softmax_desc(x: trtp.TensorDesc, mask: trtp.TensorDesc) -> trtp.TensorDesc:
    """Softmax of x + mask, added in fp32, over the last dimension.

    The mask is of x's type (0 where kept, -inf where not), and of the shape of x's last dimensions, as many as it has:
    for x of (B, H, Q, K) it may be (B, H, Q, K), (Q, K), or (K,). A row that is masked out everywhere is NaN.
    """
    if not 1 <= mask.ndim <= x.ndim:
        raise UnsupportedError(
            f"the mask has {mask.ndim} dimensions, x has {x.ndim}",
            hint="it takes the shape of x's last dimensions, such as (Q, K) for (B, H, Q, K)",
        )
    for k in range(1, mask.ndim + 1):
        ours, theirs = mask.shape_expr[mask.ndim - k], x.shape_expr[x.ndim - k]
        if not (ours.is_fake or theirs.is_fake) and ours.is_constant and theirs.is_constant:
            sizes = ours.constant_value(), theirs.constant_value()
            if sizes[0] != sizes[1]:
                raise UnsupportedError(
                    f"dimension {mask.ndim - k} of the mask is {sizes[0]}, but that of x {sizes[1]}",
                    hint="the mask is not broadcast within its dimensions: give all of them, or leave leading ones out",
                )
    return x.like()


@trtp.autotune("aotfactory::softmax")
def softmax_autotune(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(f"{TYPES}, {TYPES}", "LINEAR", _row_pieces.tactics(x, WORK, weights=False))]


@trtp.autotune("aotfactory::masked_softmax")
def masked_softmax_autotune(
    x: trtp.TensorDesc, mask: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [
        trtp.AutoTuneCombination(f"{TYPES}, {TYPES}, {TYPES}", "LINEAR", _row_tactics.tactics(x, WORK, weights=False))
    ]


@trtp.aot_impl("aotfactory::softmax")
def softmax_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    if tactic in _row_pieces.TACTICS:
        return _row_pieces.aot(_row_pieces.SOFTMAX, x, x, x, 0.0, outputs[0], tactic)
    *leading, cols = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    arguments = _row_tactics.arguments(_row_tactics.rows_of(x, WORK, weights=False), tactic)
    grid = trtp.max(_row_tactics.programs(rows, arguments, trtp.cdiv), 1)
    return aot_kernel(softmax_kernel, x_ptr=x, y_ptr=outputs[0], rows=rows, cols=cols, grid=grid, **arguments)


@trtp.aot_impl("aotfactory::masked_softmax")
def masked_softmax_aot(
    x: trtp.TensorDesc, mask: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> AotKernel:
    *leading, cols = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    mask_rows = trtp.ShapeExprs.from_tuple(list(mask.shape_expr)[:-1]).numel()
    arguments = _row_tactics.arguments(_row_tactics.rows_of(x, WORK, weights=False), tactic)
    grid = trtp.max(_row_tactics.programs(rows, arguments, trtp.cdiv), 1)
    tensors = {"x_ptr": x, "mask_ptr": mask, "y_ptr": outputs[0]}
    return aot_kernel(
        masked_softmax_kernel, **tensors, rows=rows, mask_rows=mask_rows, cols=cols, grid=grid, **arguments
    )


@trtp.impl("aotfactory::softmax")
def softmax_jit(x: trtp.Tensor, outputs: Tuple[trtp.Tensor], stream: int, tactic: int) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, y = torch.as_tensor(x, device="cuda"), torch.as_tensor(outputs[0], device="cuda")
        cols = x.shape[-1]
        rows, arguments = (
            x.numel() // cols,
            _row_tactics.arguments(_row_tactics.rows_like(x, WORK, weights=False), tactic),
        )
        softmax_kernel[(max(_row_tactics.programs(rows, arguments, triton.cdiv), 1),)](x, rows, cols, y, **arguments)


@trtp.impl("aotfactory::masked_softmax")
def masked_softmax_jit(
    x: trtp.Tensor, mask: trtp.Tensor, outputs: Tuple[trtp.Tensor], stream: int, tactic: int
) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, mask, y = (torch.as_tensor(t, device="cuda") for t in (x, mask, outputs[0]))
        cols = x.shape[-1]
        rows, arguments = (
            x.numel() // cols,
            _row_tactics.arguments(_row_tactics.rows_like(x, WORK, weights=False), tactic),
        )
        grid = (max(_row_tactics.programs(rows, arguments, triton.cdiv), 1),)
        masked_softmax_kernel[grid](x, mask, rows, mask.numel() // cols, cols, y, **arguments)


def softmax_reference(x):
    return _softmax_of(x.astype(np.float64))


def masked_softmax_reference(x, mask):
    with np.errstate(all="ignore"):
        # The sum is defined as that of fp32: its rounding, times x, is in the exponent.
        return _softmax_of((x.astype(np.float32) + mask.astype(np.float32)).astype(np.float64))


def _softmax_of(x):
    with np.errstate(all="ignore"):
        e = np.exp(x - np.fmax.reduce(x, -1, keepdims=True))
        return e / np.sum(e, -1, keepdims=True)


# fp32: the exponential of numbers down to -100. The others: half a unit in the last place (2^-11, 2^-8), and
# that error.
TOLERANCE = {
    "fp32": Tolerance(atol=1e-30, rtol=2e-5),
    "fp16": Tolerance(atol=1e-7, rtol=6e-4),
    "bf16": Tolerance(atol=1e-30, rtol=4e-3),
}
ROWS_OF = (((1, 1), 1), ((3, 5), 61), ((37,), 64), ((2,), 40001))

RECIPES = (
    Recipe(
        name="softmax",
        plugin="aotfactory::softmax",
        summary="softmax over the last dimension",
        inputs=(Input(name="x", shape=(4, 256, 4096), dims=("B", "S", "D")),),
        dtypes=("fp32", "fp16", "bf16"),
        reference=softmax_reference,
        tolerance=TOLERANCE,
        extremes=True,
        shrink=("B", "S"),
        odd_shapes=tuple(((*s, d),) for s, d in ROWS_OF),
    ),
    Recipe(
        name="masked_softmax",
        plugin="aotfactory::masked_softmax",
        summary="softmax of x + mask over the last dimension; the mask has x's last dimensions",
        inputs=(
            Input(name="x", shape=(2, 8, 256, 1024), dims=("B", "H", "Q", "K")),
            Input(name="mask", shape=(256, 1024), dims=("Q", "K")),
        ),
        dtypes=("fp32", "fp16", "bf16"),
        reference=masked_softmax_reference,
        tolerance=TOLERANCE,
        extremes=True,
        shrink=("B", "H"),
        odd_shapes=(*(((*s, d), (*s[1:], d)) for s, d in ROWS_OF), ((3, 7, 33), (33,)), ((5, 9), (5, 9))),
    ),
)
