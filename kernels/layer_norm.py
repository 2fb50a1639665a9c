# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Layer normalisation over the last dimension, with weight and bias.

A program holds whole rows in registers, several where they are short, so memory is read once and written once; the
variance is that of the differences from the mean, never a difference of sums. Rows of more than REACH elements are read
twice, the second time mostly from L2: first every lane keeps a running mean and sum of squared differences (Welford),
then the outputs are made. Where a row's length is a multiple of a 16-byte vector all accesses are of 16 bytes; for
dynamic lengths the kernel looks when it runs.

Arithmetic is in fp32. Against float64 an output is off by rounding to its type and, before that, by some 1e-6 of a unit
(of the normalised row) as long as the mean is not much larger than the deviation: an fp32 input holds no more.
"""

from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl
from aotfactory.kernels import _row_tiles

from aotfactory import AotKernel, Input, Recipe, Tolerance, UsageError, aot_kernel, trtp
from aotfactory.core import dtypes

TYPES = "FP32|FP16|BF16"
AHEAD = tl.constexpr(2048)  # elements up to which a row's weights are loaded with it, not after it: registers are few


@triton.jit
def _whole_rows(x_ptr, weight_ptr, bias_ptr, y_ptr, rows, cols, eps, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    col = tl.arange(0, BLOCK)
    real = col < cols
    inside = (row < rows)[:, None] & real[None, :]
    at = row[:, None] * cols + col[None, :]
    x = tl.load(x_ptr + at, mask=inside, other=0).to(tl.float32)
    if BLOCK <= AHEAD:
        weight = tl.load(weight_ptr + col, mask=real).to(tl.float32)
        bias = tl.load(bias_ptr + col, mask=real).to(tl.float32)
    # Each element is divided first: the sum of large ones could leave fp32's range where their mean does not.
    mean = tl.sum(x * (1.0 / cols), 1)
    x = tl.where(real[None, :], x - mean[:, None], 0)
    scale = tl.rsqrt(tl.sum(x * x, 1) / cols + eps)
    if BLOCK > AHEAD:
        weight = tl.load(weight_ptr + col, mask=real).to(tl.float32)
        bias = tl.load(bias_ptr + col, mask=real).to(tl.float32)
    y = x * scale[:, None] * weight[None, :] + bias[None, :]
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _long_row(x_ptr, weight_ptr, bias_ptr, y_ptr, cols, eps, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * cols
    mean = tl.zeros((BLOCK,), tl.float32)
    squares = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, cols, BLOCK):
        col = first + tl.arange(0, BLOCK)
        real = col < cols
        x = tl.load(x_ptr + start + col, mask=real, other=0).to(tl.float32)
        share = 1.0 / (first // BLOCK + 1)
        # Not mean + (x - mean) * share: that difference may leave fp32's range.
        moved = mean * (1 - share) + x * share
        squares = tl.where(real, squares + (x - mean) * (x - moved), squares)
        mean = tl.where(real, moved, mean)
    # Elements that each lane saw; its share of the row's mean and squares goes by them.
    count = ((cols - tl.arange(0, BLOCK) + (BLOCK - 1)) // BLOCK).to(tl.float32)
    total = tl.sum(mean * (count / cols), 0)
    # A lane of a row shorter than the block may have seen none: its 0 is no mean.
    apart = tl.where(count > 0, mean - total, 0)
    scale = tl.rsqrt(tl.sum(squares + apart * apart * count, 0) / cols + eps)
    for first in range(0, cols, BLOCK):
        col = first + tl.arange(0, BLOCK)
        real = col < cols
        x = tl.load(x_ptr + start + col, mask=real, other=0).to(tl.float32)
        weight = tl.load(weight_ptr + col, mask=real).to(tl.float32)
        bias = tl.load(bias_ptr + col, mask=real).to(tl.float32)
        y = (x - total) * scale * weight + bias
        tl.store(y_ptr + start + col, y.to(y_ptr.dtype.element_ty), mask=real)


@triton.jit
def layer_norm_kernel(
    x_ptr, weight_ptr, bias_ptr, rows, cols, y_ptr, eps,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr, STEP: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    if cols % VECTOR == 0:
        # Written so, the compiler sees that rows begin at 16-byte boundaries.
        aligned = cols // VECTOR * VECTOR
        if WHOLE:
            _whole_rows(x_ptr, weight_ptr, bias_ptr, y_ptr, rows, aligned, eps, ROWS, BLOCK)
        else:
            _long_row(x_ptr, weight_ptr, bias_ptr, y_ptr, aligned, eps, BLOCK)
    elif STEP == 0:
        _whole_rows(x_ptr, weight_ptr, bias_ptr, y_ptr, rows, cols, eps, ROWS, BLOCK)
    else:
        _long_row(x_ptr, weight_ptr, bias_ptr, y_ptr, cols, eps, STEP)


@trtp.register("aotfactory::layer_norm")
def layer_norm_desc(x: trtp.TensorDesc, weight: trtp.TensorDesc, bias: trtp.TensorDesc, eps: float) -> trtp.TensorDesc:
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last dimension, D.

    x has the shape (..., D), weight and bias (D,). The variance is that of the row, divided by D. A row with NaN or an
    infinity is NaN; one whose variance is beyond fp32's range (3.4e38) comes out as the bias.

    Attributes:
        eps: Added to the variance.
    """
    if x.ndim < 1 or weight.ndim != 1 or bias.ndim != 1:
        raise UsageError(
            f"x has {x.ndim} dimensions, weight {weight.ndim} and bias {bias.ndim}",
            hint="x takes 1 or more, weight and bias 1: the last of x",
        )
    return x.like()


@trtp.autotune("aotfactory::layer_norm")
def layer_norm_autotune(
    x: trtp.TensorDesc, weight: trtp.TensorDesc, bias: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(", ".join([TYPES] * 4), "LINEAR", _row_tiles.tactics(x))]


@trtp.aot_impl("aotfactory::layer_norm")
def layer_norm_aot(
    x: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    bias: trtp.TensorDesc,
    eps: float,
    outputs: Tuple[trtp.TensorDesc],
    tactic: int,
) -> AotKernel:
    *leading, cols = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    # Not static, even if it is: here, narrow rows are faster in steps.
    arguments = _row_tiles.arguments(_row_tiles.length(x)[0], False, 16 // dtypes.of_trt(x.dtype).itemsize, tactic)
    grid = trtp.max(trtp.cdiv(rows, arguments["ROWS"]), 1)
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
        rows, arguments = x.numel() // cols, _row_tiles.arguments(cols, False, 16 // x.element_size(), tactic)
        grid = (max(triton.cdiv(rows, arguments["ROWS"]), 1),)
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
    # Absolute: the mean's rounding, 6e-8 |x|, times up to 1 / sqrt(eps) where the elements are nearly alike. Relative:
    # fp32's arithmetic; for the others also half a unit in the last place (2^-11, 2^-8).
    tolerance={
        "fp32": Tolerance(atol=1e-4, rtol=1e-5),
        "fp16": Tolerance(atol=1e-4, rtol=6e-4),
        "bf16": Tolerance(atol=1e-4, rtol=4e-3),
    },
    extremes=True,
    odd_shapes=tuple(((*s, d), (d,), (d,)) for s, d in (((1, 1), 1), ((3, 5), 61), ((37,), 64), ((2,), 40001))),
)
