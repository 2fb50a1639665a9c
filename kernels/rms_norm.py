# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""RMS normalisation over the last dimension; and the same of a sum, with the sum kept in the residual's buffer.

A program holds whole rows in registers, several where they are short, so memory is read once and written once. Rows of
more than REACH elements are read twice, in blocks, the second time mostly from L2. Where a row's length is a multiple
of a 16-byte vector all accesses are of 16 bytes; for dynamic lengths the kernel looks when it runs.

Sums are in fp32, so against float64 an output is off by rounding to its type and, before that, by some 1e-6 relative.
"""

from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl
from aotfactory.kernels import _row_tiles

from aotfactory import AotKernel, Input, Recipe, Tolerance, UsageError, aot_kernel, trtp
from aotfactory.core import dtypes

TYPES = "FP32|FP16|BF16"
AHEAD = tl.constexpr(8192)  # elements up to which a row's weights are loaded with it, not after it: registers are few


@triton.jit
def _load_rows(x_ptr, residual_ptr, at, mask, ADD: tl.constexpr):
    x = tl.load(x_ptr + at, mask=mask, other=0).to(tl.float32)
    if ADD:
        x += tl.load(residual_ptr + at, mask=mask, other=0).to(tl.float32)
    return x


@triton.jit
def _whole_rows(
    x_ptr, residual_ptr, weight_ptr, y_ptr, rows, cols, eps, ADD: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    col = tl.arange(0, BLOCK)
    mask = (row < rows)[:, None] & (col < cols)[None, :]
    at = row[:, None] * cols + col[None, :]
    if BLOCK <= AHEAD:
        weight = tl.load(weight_ptr + col, mask=col < cols, other=0).to(tl.float32)
    x = _load_rows(x_ptr, residual_ptr, at, mask, ADD)
    if ADD:
        tl.store(residual_ptr + at, x.to(residual_ptr.dtype.element_ty), mask=mask)
    scale = tl.rsqrt(tl.sum(x * x, 1) / cols + eps)
    if BLOCK > AHEAD:
        weight = tl.load(weight_ptr + col, mask=col < cols, other=0).to(tl.float32)
    tl.store(y_ptr + at, (x * scale[:, None] * weight[None, :]).to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _long_row(x_ptr, residual_ptr, weight_ptr, y_ptr, cols, eps, ADD: tl.constexpr, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * cols
    squares = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, cols, BLOCK):
        col = first + tl.arange(0, BLOCK)
        x = _load_rows(x_ptr, residual_ptr, start + col, col < cols, ADD)
        squares += x * x
    scale = tl.rsqrt(tl.sum(squares, 0) / cols + eps)
    for first in range(0, cols, BLOCK):
        col = first + tl.arange(0, BLOCK)
        weight = tl.load(weight_ptr + col, mask=col < cols, other=0).to(tl.float32)
        x = _load_rows(x_ptr, residual_ptr, start + col, col < cols, ADD)
        if ADD:
            tl.store(residual_ptr + start + col, x.to(residual_ptr.dtype.element_ty), mask=col < cols)
        tl.store(y_ptr + start + col, (x * scale * weight).to(y_ptr.dtype.element_ty), mask=col < cols)


@triton.jit
def _rows(
    x_ptr, residual_ptr, weight_ptr, y_ptr, rows, cols, eps, ADD: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
    WHOLE: tl.constexpr, STEP: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    if cols % VECTOR == 0:
        # Written so, the compiler sees that rows begin at 16-byte boundaries.
        aligned = cols // VECTOR * VECTOR
        if WHOLE:
            _whole_rows(x_ptr, residual_ptr, weight_ptr, y_ptr, rows, aligned, eps, ADD, ROWS, BLOCK)
        else:
            _long_row(x_ptr, residual_ptr, weight_ptr, y_ptr, aligned, eps, ADD, BLOCK)
    elif STEP == 0:
        _whole_rows(x_ptr, residual_ptr, weight_ptr, y_ptr, rows, cols, eps, ADD, ROWS, BLOCK)
    else:
        _long_row(x_ptr, residual_ptr, weight_ptr, y_ptr, cols, eps, ADD, STEP)


@triton.jit
def rms_norm_kernel(
    x_ptr, weight_ptr, rows, cols, y_ptr, eps,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr, STEP: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    _rows(x_ptr, x_ptr, weight_ptr, y_ptr, rows, cols, eps, False, ROWS, BLOCK, WHOLE, STEP, VECTOR)


@triton.jit
def rms_norm_add_kernel(
    x_ptr, residual_ptr, weight_ptr, rows, cols, y_ptr, sum_ptr, eps,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr, STEP: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    # sum_ptr is the residual's buffer: going through the input pointer alone is right whatever a runtime passes for it.
    _rows(x_ptr, residual_ptr, weight_ptr, y_ptr, rows, cols, eps, True, ROWS, BLOCK, WHOLE, STEP, VECTOR)


def _check(x: trtp.TensorDesc, weight: trtp.TensorDesc) -> None:
    if x.ndim < 1 or weight.ndim != 1:
        raise UsageError(
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
        raise UsageError(f"residual has {residual.ndim} dimensions, x has {x.ndim}", hint="they are of the same shape")
    return x.like(), residual.aliased()


@trtp.autotune("aotfactory::rms_norm")
def rms_norm_autotune(
    x: trtp.TensorDesc, weight: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(", ".join([TYPES] * 3), "LINEAR", _row_tiles.tactics(x))]


@trtp.autotune("aotfactory::rms_norm_add")
def rms_norm_add_autotune(
    x: trtp.TensorDesc,
    residual: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc],
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(", ".join([TYPES] * 5), "LINEAR", _row_tiles.tactics(x))]


@trtp.aot_impl("aotfactory::rms_norm")
def rms_norm_aot(
    x: trtp.TensorDesc, weight: trtp.TensorDesc, eps: float, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> AotKernel:
    *leading, cols = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    arguments = _row_tiles.arguments(*_row_tiles.length(x), 16 // dtypes.of_trt(x.dtype).itemsize, tactic)
    grid = trtp.max(trtp.cdiv(rows, arguments["ROWS"]), 1)
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
    arguments = _row_tiles.arguments(*_row_tiles.length(x), 16 // dtypes.of_trt(x.dtype).itemsize, tactic)
    grid = trtp.max(trtp.cdiv(rows, arguments["ROWS"]), 1)
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
        rows, arguments = x.numel() // cols, _row_tiles.arguments(cols, True, 16 // x.element_size(), tactic)
        rms_norm_kernel[(max(triton.cdiv(rows, arguments["ROWS"]), 1),)](x, weight, rows, cols, y, eps, **arguments)


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
        rows, arguments = x.numel() // cols, _row_tiles.arguments(cols, True, 16 // x.element_size(), tactic)
        grid = (max(triton.cdiv(rows, arguments["ROWS"]), 1),)
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
        odd_shapes=tuple(((*s, d), (*s, d), (d,)) for s, d in (((1, 1), 1), ((3, 5), 61), ((37,), 64), ((2,), 40001))),
    ),
)
