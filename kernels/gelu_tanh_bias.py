# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""GELU, in its tanh form, of a sum with a bias along the last dimension.

A program takes a tile of rows and columns, so that no element needs a division to find its row, and reads the bias
once for all rows of the tile; a row longer than the tile is shared by programs. Where a row's length is a multiple of a
16-byte vector all accesses are of 16 bytes or, by the tactic of few elements a thread, of 8; for dynamic lengths the
kernel looks when it runs.

tanh is written with one exponential: (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)), which keeps the relative accuracy of
large negative inputs. Arithmetic is in fp32. Against float64 an output is off by rounding to its type and, before that,
by up to 3e-5 relative for sums down to -10; below, where exp leaves fp32's range, it is 0.
"""

from dataclasses import dataclass
from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, Tolerance, UnsupportedError, aot_kernel, trtp
from aotfactory.core import dtypes

TYPES = "FP32|FP16|BF16"
LINEAR = tl.constexpr(-1.5957691216057308)  # -2 sqrt(2 / pi)
CUBIC = tl.constexpr(-0.07135481282553585)  # the same times 0.044715


@triton.jit
def _tile_of(x_ptr, bias_ptr, y_ptr, rows, cols, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    blocks = tl.maximum(tl.cdiv(cols, BLOCK), 1)
    program = tl.program_id(0)
    band = program // blocks
    row = band * ROWS + tl.arange(0, ROWS)
    col = (program - band * blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (col < cols)[None, :]
    at = row.to(tl.int64)[:, None] * cols + col[None, :]
    bias = tl.load(bias_ptr + col, mask=col < cols).to(tl.float32)
    x = tl.load(x_ptr + at, mask=inside).to(tl.float32) + bias[None, :]
    y = x / (1 + tl.exp(x * (LINEAR + CUBIC * x * x)))
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def gelu_tanh_bias_kernel(
    x_ptr, bias_ptr, rows, cols, y_ptr, ROWS: tl.constexpr, BLOCK: tl.constexpr, VECTOR: tl.constexpr
):  # fmt: skip
    if cols % VECTOR == 0:
        # Written so, the compiler sees that rows begin at 16-byte boundaries.
        _tile_of(x_ptr, bias_ptr, y_ptr, rows, cols // VECTOR * VECTOR, ROWS, BLOCK)
    else:
        _tile_of(x_ptr, bias_ptr, y_ptr, rows, cols, ROWS, BLOCK)


@dataclass(frozen=True)
class Tactic:
    """Elements for a program, and its warps."""

    tile: int
    warps: int


TACTICS = {1: Tactic(512, 4), 2: Tactic(1024, 4), 3: Tactic(2048, 4)}


def _tile(longest: int, tactic: int) -> Tuple[int, int]:
    """Rows and columns that a program takes, for rows of up to this length."""
    size = TACTICS[tactic].tile
    block = min(triton.next_power_of_2(max(longest, 16)), size)
    return size // block, block


def _longest(x: trtp.TensorDesc) -> int:
    return int((x.shape.max if x.shape.is_dynamic else tuple(x.shape))[-1])


@trtp.register("aotfactory::gelu_tanh_bias")
def gelu_tanh_bias_desc(x: trtp.TensorDesc, bias: trtp.TensorDesc) -> trtp.TensorDesc:
    """gelu(x + bias), gelu(v) = v / 2 * (1 + tanh(sqrt(2 / pi) * (v + 0.044715 v^3))), for x (..., D) and bias (D,).

    The sum is of fp32, whatever the tensors' type; gelu(-inf) is NaN, as in torch.
    """
    if x.ndim < 1 or bias.ndim != 1:
        raise UnsupportedError(
            f"x has {x.ndim} dimensions and bias {bias.ndim}", hint="x takes 1 or more, bias 1: the last of x"
        )
    return x.like()


@trtp.autotune("aotfactory::gelu_tanh_bias")
def gelu_tanh_bias_autotune(
    x: trtp.TensorDesc, bias: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(f"{TYPES}, {TYPES}, {TYPES}", "LINEAR", sorted(TACTICS))]


@trtp.aot_impl("aotfactory::gelu_tanh_bias")
def gelu_tanh_bias_aot(
    x: trtp.TensorDesc, bias: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> AotKernel:
    *leading, cols = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    band, block = _tile(_longest(x), tactic)
    return aot_kernel(
        gelu_tanh_bias_kernel,
        x_ptr=x,
        bias_ptr=bias,
        y_ptr=outputs[0],
        rows=rows,
        cols=cols,
        ROWS=band,
        BLOCK=block,
        VECTOR=16 // dtypes.of_trt(x.dtype).itemsize,
        num_warps=TACTICS[tactic].warps,
        grid=trtp.max(trtp.cdiv(rows, band) * trtp.cdiv(cols, block), 1),
    )


@trtp.impl("aotfactory::gelu_tanh_bias")
def gelu_tanh_bias_jit(
    x: trtp.Tensor, bias: trtp.Tensor, outputs: Tuple[trtp.Tensor], stream: int, tactic: int
) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, bias, y = (torch.as_tensor(t, device="cuda") for t in (x, bias, outputs[0]))
        cols = x.shape[-1]
        rows, (band, block) = x.numel() // cols, _tile(cols, tactic)
        grid = (max(triton.cdiv(rows, band) * triton.cdiv(cols, block), 1),)
        gelu_tanh_bias_kernel[grid](
            x, bias, rows, cols, y, band, block, 16 // x.element_size(), num_warps=TACTICS[tactic].warps
        )


def gelu_tanh_bias_reference(x, bias):
    with np.errstate(all="ignore"):
        v = (x.astype(np.float32) + bias.astype(np.float32)).astype(np.float64)
        y = v / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * (v + 0.044715 * v**3)))
        # What the output's type cannot hold is infinite, as it is in the kernel.
        return np.where(np.isinf(y.astype(x.dtype).astype(np.float64)), np.copysign(np.inf, y), y)


RECIPE = Recipe(
    name="gelu_tanh_bias",
    plugin="aotfactory::gelu_tanh_bias",
    summary="gelu(x + bias) in the tanh form, bias along the last dimension",
    inputs=(
        Input(name="x", shape=(4, 256, 4096), dims=("B", "S", "D")),
        Input(name="bias", shape=(4096,), dims=("D",)),
    ),
    dtypes=("fp32", "fp16", "bf16"),
    reference=gelu_tanh_bias_reference,
    # fp32: the exponential of numbers of up to 88. The others: half a unit in the last place (2^-11, 2^-8), and
    # that error.
    tolerance={
        "fp32": Tolerance(atol=1e-30, rtol=3e-5),
        "fp16": Tolerance(atol=1e-7, rtol=6e-4),
        "bf16": Tolerance(atol=1e-30, rtol=4e-3),
    },
    extremes=True,
    shrink=("B", "S"),
    odd_shapes=tuple(((*s, d), (d,)) for s, d in (((1, 1), 1), ((3, 5), 61), ((37,), 64), ((2,), 9001))),
)
