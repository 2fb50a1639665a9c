# SPDX-License-Identifier: Apache-2.0
# ruff: noqa
"""asin by libdevice, imported in the way of Triton's own tutorial and in the CUDA-specific way; and inline PTX."""

from typing import Tuple

import numpy as np
import triton
import triton.language as tl
from aotfactory.kernel import AotKernel, aot_kernel
from aotfactory.recipe import Input, Recipe, Tolerance
from triton.language.extra import libdevice
from triton.language.extra.cuda import libdevice as cuda_libdevice

import tensorrt.plugin as trtp


@triton.jit
def generic(x_ptr, n, y_ptr, W: tl.constexpr):
    at = tl.program_id(0) * W + tl.arange(0, W)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    tl.store(y_ptr + at, libdevice.asin(x), mask=at < n)


@triton.jit
def specific(x_ptr, n, y_ptr, W: tl.constexpr):
    at = tl.program_id(0) * W + tl.arange(0, W)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    tl.store(y_ptr + at, cuda_libdevice.asin(x), mask=at < n)


@triton.jit
def assembly(x_ptr, n, y_ptr, W: tl.constexpr):
    at = tl.program_id(0) * W + tl.arange(0, W)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    y = tl.inline_asm_elementwise("add.f32 $0, $1, $1;", "=r,r", [x], dtype=tl.float32, is_pure=True, pack=1)
    tl.store(y_ptr + at, y, mask=at < n)


@triton.jit
def clock(x_ptr, n, y_ptr, W: tl.constexpr):
    at = tl.program_id(0) * W + tl.arange(0, W)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    t = tl.extra.cuda.globaltimer()
    tl.store(y_ptr + at, x + (t * 0).to(tl.float32), mask=at < n)


RECIPES = ()
for kernel, reference in (
    (generic, np.arcsin),
    (specific, np.arcsin),
    (assembly, lambda x: x + x),
    (clock, lambda x: x),
):

    def define(kernel=kernel):
        name = f"demo::{kernel.fn.__name__}"

        @trtp.register(name)
        def desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
            return x.like()

        @trtp.aot_impl(name)
        def aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
            n = x.shape_expr.numel()
            return aot_kernel(kernel, x_ptr=x, y_ptr=outputs[0], n=n, W=128, grid=trtp.cdiv(n, 128))

        return name

    RECIPES += (
        Recipe(
            name=kernel.fn.__name__,
            plugin=define(),
            summary="one function",
            inputs=(Input(name="x", shape=(4, 100)),),
            dtypes=("fp32",),
            reference=lambda x, r=reference: r(x.astype(np.float64)),
            tolerance={"fp32": Tolerance(rtol=1e-5)},
        ),
    )
