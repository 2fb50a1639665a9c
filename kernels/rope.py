# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Rotary position embedding of queries or keys, rotating the two halves of each head (as GPT-NeoX and Llama do).

A program takes a tile of heads, several positions where heads are few or short: both halves of a head are read once and
written once, and the tables, which all heads and batches share, come from L1 and L2. Where half a head is a multiple of
a 16-byte vector all accesses are of 16 bytes or, by the tactic of few elements a thread, of 8.

Arithmetic is in fp32. Against float64 an output is off by rounding to its type and, before that, by 1e-7 of the larger
of its two products.
"""

from dataclasses import dataclass
from typing import Any, List, Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, Tolerance, UnsupportedError, aot_kernel, trtp

TYPES = "FP32|FP16|BF16"
LARGEST = 8192  # elements of half a head


@triton.jit
def rope_kernel(
    x_ptr, cos_ptr, sin_ptr, rows, positions, heads, y_ptr,
    HALF: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # A row is one head at one position.
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    col = tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (col < HALF)[None, :]
    angle = ((row // heads) % positions)[:, None].to(tl.int64) * HALF + col[None, :]
    at = row.to(tl.int64)[:, None] * (2 * HALF) + col[None, :]
    first = tl.load(x_ptr + at, mask=inside).to(tl.float32)
    second = tl.load(x_ptr + at + HALF, mask=inside).to(tl.float32)
    # The tables are read again for every head: x is not to drive them out of L2.
    cos = tl.load(cos_ptr + angle, mask=inside, eviction_policy="evict_last").to(tl.float32)
    sin = tl.load(sin_ptr + angle, mask=inside, eviction_policy="evict_last").to(tl.float32)
    turned_first = first * cos - second * sin
    turned_second = second * cos + first * sin
    tl.store(y_ptr + at, turned_first.to(y_ptr.dtype.element_ty), mask=inside)
    tl.store(y_ptr + at + HALF, turned_second.to(y_ptr.dtype.element_ty), mask=inside)


@dataclass(frozen=True)
class Tactic:
    """Pairs of elements for a program, and its warps."""

    tile: int
    warps: int


TACTICS = {1: Tactic(512, 4), 2: Tactic(1024, 4)}


def _arguments(half: int, tactic: int) -> dict:
    block = triton.next_power_of_2(half)
    return {
        "HALF": half,
        "ROWS": max(TACTICS[tactic].tile // block, 1),
        "BLOCK": block,
        "num_warps": TACTICS[tactic].warps,
        # Fused with their sum, one of two products would be exact, the other rounded, and infinite beyond fp32's range.
        "enable_fp_fusion": False,
    }


def _half(dimension: Any) -> int:
    """Half of a head's size, which must be known when the engine is built."""
    if not dimension.is_constant:
        raise UnsupportedError("the last dimension of x is dynamic", hint="make the size of a head static")
    size = int(dimension.constant_value())
    if size % 2 or not 2 <= size <= 2 * LARGEST:
        raise UnsupportedError(
            f"the last dimension of x is {size}", hint=f"use an even size of a head, 2 to {2 * LARGEST}"
        )
    return size // 2


@trtp.register("aotfactory::rope")
def rope_desc(x: trtp.TensorDesc, cos: trtp.TensorDesc, sin: trtp.TensorDesc) -> trtp.TensorDesc:
    """Each head's halves (a, b) turned by its position's angles: (a cos - b sin, b cos + a sin).

    x has the shape (batch, positions, heads, D), cos and sin (positions, D / 2): row p for position p, whatever the
    model makes of it. D is static and even.
    """
    if (x.ndim, cos.ndim, sin.ndim) != (4, 2, 2):
        raise UnsupportedError(
            f"x has {x.ndim} dimensions, cos {cos.ndim} and sin {sin.ndim}",
            hint="x takes 4, (batch, positions, heads, D); cos and sin take 2, (positions, D / 2)",
        )
    if not x.shape_expr[3].is_fake:
        _half(x.shape_expr[3])
    return x.like()


@trtp.autotune("aotfactory::rope")
def rope_autotune(
    x: trtp.TensorDesc, cos: trtp.TensorDesc, sin: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(", ".join([TYPES] * 4), "LINEAR", sorted(TACTICS))]


@trtp.aot_impl("aotfactory::rope")
def rope_aot(
    x: trtp.TensorDesc, cos: trtp.TensorDesc, sin: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> AotKernel:
    batch, positions, heads, size = x.shape_expr
    rows, arguments = batch * positions * heads, _arguments(_half(size), tactic)
    return aot_kernel(
        rope_kernel,
        x_ptr=x,
        cos_ptr=cos,
        sin_ptr=sin,
        y_ptr=outputs[0],
        rows=rows,
        positions=positions,
        heads=heads,
        grid=trtp.max(trtp.cdiv(rows, arguments["ROWS"]), 1),
        **arguments,
    )


@trtp.impl("aotfactory::rope")
def rope_jit(
    x: trtp.Tensor, cos: trtp.Tensor, sin: trtp.Tensor, outputs: Tuple[trtp.Tensor], stream: int, tactic: int
) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, cos, sin, y = (torch.as_tensor(t, device="cuda") for t in (x, cos, sin, outputs[0]))
        batch, positions, heads, size = x.shape
        rows, arguments = batch * positions * heads, _arguments(size // 2, tactic)
        grid = (max(triton.cdiv(rows, arguments["ROWS"]), 1),)
        rope_kernel[grid](x, cos, sin, rows, positions, heads, y, **arguments)


def rope_reference(x, cos, sin):
    """In float64; only products and sums that fp32 cannot hold are infinite, as they are in the kernel."""
    half = x.shape[-1] // 2
    a, b = x[..., :half].astype(np.float64), x[..., half:].astype(np.float64)
    cos, sin = (table.astype(np.float64)[None, :, None, :] for table in (cos, sin))
    with np.errstate(all="ignore"):
        first = _overflow(a * cos, np.float32) - _overflow(b * sin, np.float32)
        second = _overflow(b * cos, np.float32) + _overflow(a * sin, np.float32)
    return _overflow(np.concatenate([first, second], -1), x.dtype)


def _overflow(values, dtype):
    """Float64 values, infinite where rounding to this type makes them so."""
    with np.errstate(all="ignore"):
        return np.where(np.isinf(values.astype(dtype).astype(np.float64)), np.copysign(np.inf, values), values)


TABLE = ("S", "E")

RECIPE = Recipe(
    name="rope",
    plugin="aotfactory::rope",
    summary="rotary position embedding, halves of each head; tables of (positions, D / 2)",
    inputs=(
        Input(name="x", shape=(2, 512, 32, 128), dims=("B", "S", "H", "D")),
        Input(name="cos", shape=(512, 64), dims=TABLE),
        Input(name="sin", shape=(512, 64), dims=TABLE),
    ),
    dtypes=("fp32", "fp16", "bf16"),
    reference=rope_reference,
    dynamic=("B", "S", "H"),
    # Absolute: where the two products cancel. Relative: fp32's arithmetic; for the others also half a unit in the last
    # place (2^-11, 2^-8).
    tolerance={
        "fp32": Tolerance(atol=1e-6, rtol=1e-5),
        "fp16": Tolerance(atol=1e-6, rtol=6e-4),
        "bf16": Tolerance(atol=1e-6, rtol=4e-3),
    },
    extremes=True,
    shrink=("B",),
    odd_shapes=tuple(
        ((b, s, h, 2 * e), (s, e), (s, e))
        for b, s, h, e in ((1, 1, 1, 1), (2, 3, 5, 13), (3, 7, 2, 32), (1, 5, 8, 64), (2, 2, 1, 700))
    ),
)
