# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""SiLU of the first half of the last dimension, times the second half (the gate of SwiGLU).

A program takes a tile of rows and columns, so that no element needs a division to find its row; a row longer than the
tile is shared by programs. Where a half is a multiple of a 16-byte vector all accesses are of 16 bytes or, by the
tactic of few elements a thread, of 8; for dynamic lengths the kernel looks when it runs.

Arithmetic is in fp32. Against float64 an output is off by rounding to its type and, before that, by up to 1e-5 relative
(a power of two makes the exponential); below -88, where exp(-x) leaves fp32's range, it is 0.
"""

from dataclasses import dataclass
from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, Tolerance, UnsupportedError, aot_kernel, trtp
from aotfactory.core import dtypes

TYPES = "FP32|FP16|BF16"


@triton.jit
def _tile_of(x_ptr, y_ptr, rows, width, cols, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    blocks = tl.maximum(tl.cdiv(cols, BLOCK), 1)
    program = tl.program_id(0)
    band = program // blocks
    row = band * ROWS + tl.arange(0, ROWS)
    col = (program - band * blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (col < cols)[None, :]
    at = row.to(tl.int64)[:, None] * width + col[None, :]
    gate = tl.load(x_ptr + at, mask=inside).to(tl.float32)
    value = tl.load(x_ptr + at + cols, mask=inside).to(tl.float32)
    y = gate / (1 + tl.exp(-gate)) * value
    tl.store(y_ptr + row.to(tl.int64)[:, None] * cols + col[None, :], y.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def silu_and_mul_kernel(x_ptr, rows, width, y_ptr, ROWS: tl.constexpr, BLOCK: tl.constexpr, VECTOR: tl.constexpr):
    if width % (2 * VECTOR) == 0:
        # Written so, the compiler sees that rows and halves begin at 16-byte boundaries.
        vectors = width // (2 * VECTOR)
        _tile_of(x_ptr, y_ptr, rows, vectors * (2 * VECTOR), vectors * VECTOR, ROWS, BLOCK)
    else:
        _tile_of(x_ptr, y_ptr, rows, width, width // 2, ROWS, BLOCK)


@dataclass(frozen=True)
class Tactic:
    """Elements of the output for a program, and its warps."""

    tile: int
    warps: int


TACTICS = {1: Tactic(512, 4), 2: Tactic(1024, 4)}


def _tile(longest: int, tactic: int) -> Tuple[int, int]:
    """Rows and columns of the output that a program makes, for rows of up to this length."""
    size = TACTICS[tactic].tile
    block = min(triton.next_power_of_2(max(longest, 16)), size)
    return size // block, block


def _longest(x: trtp.TensorDesc) -> int:
    return int((x.shape.max if x.shape.is_dynamic else tuple(x.shape))[-1]) // 2


@trtp.register("aotfactory::silu_and_mul")
def silu_and_mul_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    """silu(x[..., :D]) * x[..., D:] for x of (..., 2 D), where silu(a) = a / (1 + exp(-a)).

    An odd dynamic extent leaves its last element out; silu(-inf) is NaN, as in torch.
    """
    if x.ndim < 1:
        raise UnsupportedError("silu_and_mul of a scalar", hint="x takes 1 dimension or more")
    width = x.shape_expr[x.ndim - 1]
    if not width.is_fake and width.is_constant and width.constant_value() % 2:
        raise UnsupportedError(
            f"the last dimension of x is {width.constant_value()}", hint="it is halved: make it even"
        )
    y = x.like()
    y.shape_expr[x.ndim - 1] = width // 2
    return y


@trtp.autotune("aotfactory::silu_and_mul")
def silu_and_mul_autotune(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(f"{TYPES}, {TYPES}", "LINEAR", sorted(TACTICS))]


@trtp.aot_impl("aotfactory::silu_and_mul")
def silu_and_mul_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    *leading, width = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    band, block = _tile(_longest(x), tactic)
    return aot_kernel(
        silu_and_mul_kernel,
        x_ptr=x,
        y_ptr=outputs[0],
        rows=rows,
        width=width,
        ROWS=band,
        BLOCK=block,
        VECTOR=16 // dtypes.of_trt(x.dtype).itemsize,
        num_warps=TACTICS[tactic].warps,
        grid=trtp.max(trtp.cdiv(rows, band) * trtp.cdiv(width // 2, block), 1),
    )


@trtp.impl("aotfactory::silu_and_mul")
def silu_and_mul_jit(x: trtp.Tensor, outputs: Tuple[trtp.Tensor], stream: int, tactic: int) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, y = torch.as_tensor(x, device="cuda"), torch.as_tensor(outputs[0], device="cuda")
        width = x.shape[-1]
        rows, (band, block) = x.numel() // width, _tile(width // 2, tactic)
        grid = (max(triton.cdiv(rows, band) * triton.cdiv(width // 2, block), 1),)
        silu_and_mul_kernel[grid](
            x, rows, width, y, band, block, 16 // x.element_size(), num_warps=TACTICS[tactic].warps
        )


def silu_and_mul_reference(x):
    half = x.shape[-1] // 2
    gate, value = x[..., :half].astype(np.float64), x[..., half : 2 * half].astype(np.float64)
    with np.errstate(all="ignore"):
        # Rounded to fp32, for the smallest denormal's is 0 there, which matters where the other factor is infinite.
        y = (gate / (1 + np.exp(-gate))).astype(np.float32) * value
        # What the output's type cannot hold is infinite, as it is in the kernel.
        return np.where(np.isinf(y.astype(x.dtype).astype(np.float64)), np.copysign(np.inf, y), y)


RECIPE = Recipe(
    name="silu_and_mul",
    plugin="aotfactory::silu_and_mul",
    summary="silu(first half of the last dimension) * second half",
    inputs=(Input(name="x", shape=(4, 256, 8192), dims=("B", "S", "D2")),),
    dtypes=("fp32", "fp16", "bf16"),
    reference=silu_and_mul_reference,
    # fp32: the exponential. The others: half a unit in the last place (2^-11, 2^-8), and that error. Absolute: denormal
    # numbers times large ones.
    tolerance={
        "fp32": Tolerance(atol=1e-6, rtol=2e-5),
        "fp16": Tolerance(atol=1e-6, rtol=6e-4),
        "bf16": Tolerance(atol=1e-6, rtol=4e-3),
    },
    extremes=True,
    shrink=("B", "S"),
    odd_shapes=(((1, 1, 2),), ((3, 5, 62),), ((37, 128),), ((2, 9002),), ((3, 4096),)),
)
