# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""The positive elements of a short vector in a row, and their number: a data-dependent shape."""

from typing import Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory.kernel import AotKernel, aot_kernel
from aotfactory.recipe import Input, Recipe

import tensorrt as trt  # isort: skip
import tensorrt.plugin as trtp  # isort: skip


@triton.jit
def positive_kernel(x_ptr, n, found_ptr, number_ptr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n, other=0)
    wanted = (x > 0).to(tl.int32)
    tl.store(found_ptr + tl.cumsum(wanted, 0) - 1, x, mask=wanted != 0)
    tl.store(number_ptr, tl.sum(wanted, 0))


@trtp.register("definitions::positive")
def positive_desc(x: trtp.TensorDesc) -> Tuple[trtp.TensorDesc, trtp.TensorDesc]:
    upper = x.shape_expr.numel()
    number = trtp.size_tensor(upper // 2, upper)
    number.dtype = trt.int32
    return trtp.from_shape_expr((number.expr(),), dtype=x.dtype), number


@trtp.aot_impl("definitions::positive")
def positive_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_kernel(
        positive_kernel, x_ptr=x, n=n, found_ptr=outputs[0], number_ptr=outputs[1], BLOCK=256, num_warps=1, grid=1
    )


RECIPE = Recipe(
    name="positive",
    plugin="definitions::positive",
    summary="the positive elements, and their number",
    inputs=(Input(name="x", shape=(100,), dims=("N",)),),
    dtypes=("fp32",),
    reference=lambda x: (x[x > 0], np.array((x > 0).sum(), np.int32)),
)
