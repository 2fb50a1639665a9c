# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Kernels with inline assembly: rounding to TF32, an approximation, two numbers packed at a time, one not known."""

from typing import Any, Tuple

import ml_dtypes
import numpy as np
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp  # isort: skip

BLOCK = 64


@triton.jit
def rounded(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    y = tl.inline_asm_elementwise("cvt.rna.tf32.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    tl.store(y_ptr + i, y, mask=i < n)


@triton.jit
def squashed(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    text: tl.constexpr = "{ .reg .f32 half; mul.f32 half, $1, 0f3F000000; tanh.approx.f32 $0, half; }"
    y = tl.inline_asm_elementwise(text, "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    tl.store(y_ptr + i, y, mask=i < n)


@triton.jit
def packed(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    text: tl.constexpr = "cvt.rn.bf16x2.f32 $0, $2, $1;"
    y = tl.inline_asm_elementwise(text, "=r,f,f", [x], dtype=tl.bfloat16, is_pure=True, pack=2)
    tl.store(y_ptr + i, y, mask=i < n)


@triton.jit
def swapped(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    text: tl.constexpr = "cvt.rn.bf16x2.f32 $0, $1, $2;"  # the lower number comes last
    y = tl.inline_asm_elementwise(text, "=r,f,f", [x], dtype=tl.bfloat16, is_pure=True, pack=2)
    tl.store(y_ptr + i, y, mask=i < n)


@triton.jit
def unknown(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    y = tl.inline_asm_elementwise("copysign.f32 $0, $1, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    tl.store(y_ptr + i, y, mask=i < n)


def _plugin(kernel: Any, kind: Any = None) -> str:
    name = f"assembly::{kernel.__name__}"

    @trtp.register(name)
    def desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
        y = x.like()
        if kind is not None:
            y.dtype = kind
        return y

    @trtp.aot_impl(name)
    def aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
        n = x.shape_expr.numel()
        return aot_kernel(kernel, x_ptr=x, y_ptr=outputs[0], n=n, BLOCK=BLOCK, grid=trtp.cdiv(n, BLOCK))

    return name


def tf32(x: np.ndarray) -> np.ndarray:
    """By arithmetic: numbers of 11 bits, halves away from zero."""
    finite = np.isfinite(x)
    mantissa, exponent = np.frexp(np.where(finite, x, 0).astype(np.float64))
    scaled = mantissa * 2**11
    return np.where(finite, np.ldexp(np.sign(scaled) * np.floor(np.abs(scaled) + 0.5) / 2**11, exponent), x)


def _recipe(kernel: Any, reference: Any, tolerance: Tolerance | None = None, kind: Any = None) -> Recipe:
    return Recipe(
        name=kernel.__name__,
        plugin=_plugin(kernel, kind),
        summary="",
        inputs=(Input(name="x", shape=(7, 48), limits=(-4.0, 4.0)),),
        dtypes=("fp32",),
        reference=reference,
        tolerance={"fp32": tolerance} if tolerance else {},
    )


BF16 = __import__("tensorrt").bfloat16
RECIPES = (
    _recipe(rounded, tf32),
    _recipe(squashed, lambda x: np.tanh(x.astype(np.float64) / 2), Tolerance(atol=1e-3)),
    _recipe(packed, lambda x: x.astype(ml_dtypes.bfloat16), kind=BF16),
    _recipe(swapped, lambda x: x.astype(ml_dtypes.bfloat16), kind=BF16),
    _recipe(unknown, lambda x: x),
)
