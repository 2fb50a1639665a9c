# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Softmax over the last dimension; and the same with an additive mask that rows share.

A program holds whole rows in registers, several where they are short, so memory is read once and written once. Rows of
more than REACH elements are read twice, the second time mostly from L2: a running maximum and sum of each lane, then
the outputs. Where a row's length is a multiple of a 16-byte vector all accesses are of 16 bytes; for dynamic lengths
the kernel looks when it runs.

Arithmetic is in fp32. Against float64 an output y is off by rounding to its type and, before that, by about
1e-6 * y * max(1, |ln y| / 10), since the exponential is one of powers of two.

A row with NaN or +inf is NaN, and so is a row that is -inf everywhere, as in torch.
"""

from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl
from aotfactory.kernels import _row_tiles

from aotfactory import AotKernel, Input, Recipe, Tolerance, UsageError, aot_kernel, trtp
from aotfactory.core import dtypes

TYPES = "FP32|FP16|BF16"
LOWEST = tl.constexpr(-3.4028234663852886e38)


@triton.jit
def _load(x_ptr, mask_ptr, at, mask_at, inside, MASKED: tl.constexpr):
    x = tl.load(x_ptr + at, mask=inside, other=float("-inf")).to(tl.float32)
    if MASKED:
        # The mask is read again for every head: x is not to drive it out of L2.
        x += tl.load(mask_ptr + mask_at, mask=inside, other=0, eviction_policy="evict_last").to(tl.float32)
    return x


@triton.jit
def _whole_rows(
    x_ptr, mask_ptr, y_ptr, rows, mask_rows, cols, MASKED: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    col = tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (col < cols)[None, :]
    at = row.to(tl.int64)[:, None] * cols + col[None, :]
    mask_at = (row % mask_rows).to(tl.int64)[:, None] * cols + col[None, :]
    x = _load(x_ptr, mask_ptr, at, mask_at, inside, MASKED)
    e = tl.exp(x - tl.max(x, 1)[:, None])
    tl.store(y_ptr + at, (e * (1 / tl.sum(e, 1))[:, None]).to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _long_row(x_ptr, mask_ptr, y_ptr, mask_rows, cols, MASKED: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    start = row.to(tl.int64) * cols
    mask_start = (row % mask_rows).to(tl.int64) * cols
    # LOWEST, not -inf: the difference of two infinities would be NaN.
    most = tl.full((BLOCK,), LOWEST, tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, cols, BLOCK):
        col = first + tl.arange(0, BLOCK)
        x = _load(x_ptr, mask_ptr, start + col, mask_start + col, col < cols, MASKED)
        grown = tl.maximum(most, x)
        total = total * tl.exp(most - grown) + tl.exp(x - grown)
        most = grown
    top = tl.max(most, 0)
    scale = 1 / tl.sum(total * tl.exp(most - top), 0)
    for first in range(0, cols, BLOCK):
        col = first + tl.arange(0, BLOCK)
        x = _load(x_ptr, mask_ptr, start + col, mask_start + col, col < cols, MASKED)
        tl.store(y_ptr + start + col, (tl.exp(x - top) * scale).to(y_ptr.dtype.element_ty), mask=col < cols)


@triton.jit
def _softmax(
    x_ptr, mask_ptr, y_ptr, rows, mask_rows, cols, MASKED: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr, STEP: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    if cols % VECTOR == 0:
        # Written so, the compiler sees that rows begin at 16-byte boundaries.
        aligned = cols // VECTOR * VECTOR
        if WHOLE:
            _whole_rows(x_ptr, mask_ptr, y_ptr, rows, mask_rows, aligned, MASKED, ROWS, BLOCK)
        else:
            _long_row(x_ptr, mask_ptr, y_ptr, mask_rows, aligned, MASKED, BLOCK)
    elif STEP == 0:
        _whole_rows(x_ptr, mask_ptr, y_ptr, rows, mask_rows, cols, MASKED, ROWS, BLOCK)
    else:
        _long_row(x_ptr, mask_ptr, y_ptr, mask_rows, cols, MASKED, STEP)


@triton.jit
def softmax_kernel(
    x_ptr, rows, cols, y_ptr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr, STEP: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    _softmax(x_ptr, x_ptr, y_ptr, rows, 1, cols, False, ROWS, BLOCK, WHOLE, STEP, VECTOR)


@triton.jit
def masked_softmax_kernel(
    x_ptr, mask_ptr, rows, mask_rows, cols, y_ptr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr, STEP: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    _softmax(x_ptr, mask_ptr, y_ptr, rows, mask_rows, cols, True, ROWS, BLOCK, WHOLE, STEP, VECTOR)


@trtp.register("aotfactory::softmax")
def softmax_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    """exp(x) / sum(exp(x)) over the last dimension of a tensor of any shape."""
    if x.ndim < 1:
        raise UsageError("softmax of a scalar", hint="x takes 1 dimension or more")
    return x.like()


@trtp.register("aotfactory::masked_softmax")
def masked_softmax_desc(x: trtp.TensorDesc, mask: trtp.TensorDesc) -> trtp.TensorDesc:
    """Softmax of x + mask, added in fp32, over the last dimension.

    The mask is of x's type (0 where kept, -inf where not), and of the shape of x's last dimensions, as many as it has:
    for x of (B, H, Q, K) it may be (B, H, Q, K), (Q, K), or (K,). A row that is masked out everywhere is NaN.
    """
    if not 1 <= mask.ndim <= x.ndim:
        raise UsageError(
            f"the mask has {mask.ndim} dimensions, x has {x.ndim}",
            hint="it takes the shape of x's last dimensions, such as (Q, K) for (B, H, Q, K)",
        )
    for k in range(1, mask.ndim + 1):
        ours, theirs = mask.shape_expr[mask.ndim - k], x.shape_expr[x.ndim - k]
        if not (ours.is_fake or theirs.is_fake) and ours.is_constant and theirs.is_constant:
            sizes = ours.constant_value(), theirs.constant_value()
            if sizes[0] != sizes[1]:
                raise UsageError(
                    f"dimension {mask.ndim - k} of the mask is {sizes[0]}, but that of x {sizes[1]}",
                    hint="the mask is not broadcast within its dimensions: give all of them, or leave leading ones out",
                )
    return x.like()


@trtp.autotune("aotfactory::softmax")
def softmax_autotune(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(f"{TYPES}, {TYPES}", "LINEAR", _row_tiles.tactics(x))]


@trtp.autotune("aotfactory::masked_softmax")
def masked_softmax_autotune(
    x: trtp.TensorDesc, mask: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(f"{TYPES}, {TYPES}, {TYPES}", "LINEAR", _row_tiles.tactics(x))]


@trtp.aot_impl("aotfactory::softmax")
def softmax_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    *leading, cols = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    arguments = _row_tiles.arguments(*_row_tiles.length(x), 16 // dtypes.of_trt(x.dtype).itemsize, tactic)
    grid = trtp.max(trtp.cdiv(rows, arguments["ROWS"]), 1)
    return aot_kernel(softmax_kernel, x_ptr=x, y_ptr=outputs[0], rows=rows, cols=cols, grid=grid, **arguments)


@trtp.aot_impl("aotfactory::masked_softmax")
def masked_softmax_aot(
    x: trtp.TensorDesc, mask: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> AotKernel:
    *leading, cols = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    mask_rows = trtp.ShapeExprs.from_tuple(list(mask.shape_expr)[:-1]).numel()
    arguments = _row_tiles.arguments(*_row_tiles.length(x), 16 // dtypes.of_trt(x.dtype).itemsize, tactic)
    grid = trtp.max(trtp.cdiv(rows, arguments["ROWS"]), 1)
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
        rows, arguments = x.numel() // cols, _row_tiles.arguments(cols, True, 16 // x.element_size(), tactic)
        softmax_kernel[(max(triton.cdiv(rows, arguments["ROWS"]), 1),)](x, rows, cols, y, **arguments)


@trtp.impl("aotfactory::masked_softmax")
def masked_softmax_jit(
    x: trtp.Tensor, mask: trtp.Tensor, outputs: Tuple[trtp.Tensor], stream: int, tactic: int
) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, mask, y = (torch.as_tensor(t, device="cuda") for t in (x, mask, outputs[0]))
        cols = x.shape[-1]
        rows, arguments = x.numel() // cols, _row_tiles.arguments(cols, True, 16 // x.element_size(), tactic)
        grid = (max(triton.cdiv(rows, arguments["ROWS"]), 1),)
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
        odd_shapes=(*(((*s, d), (*s[1:], d)) for s, d in ROWS_OF), ((3, 7, 33), (33,)), ((5, 9), (5, 9))),
    ),
)
