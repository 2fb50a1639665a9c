# SPDX-License-Identifier: Apache-2.0
"""x minus its mean, for a plugin library: two kernels that share a workspace."""

import numpy as np
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernels, launch, quotient, trt, trtp, workspace


@triton.jit
def sum_kernel(x_ptr, n, sums_ptr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(sums_ptr + tl.program_id(0), tl.sum(tl.load(x_ptr + i, mask=i < n, other=0.0), 0))


@triton.jit
def minus_kernel(sums_ptr, blocks, scale, n, y_ptr, x_ptr, BLOCK: tl.constexpr):
    total = 0.0
    for i in range(blocks):
        total += tl.load(sums_ptr + i)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + i, tl.load(x_ptr + i, mask=i < n) - total * scale, mask=i < n)


@trtp.register("road::center")
def register(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.autotune("road::center")
def autotune(x: trtp.TensorDesc, outputs: tuple[trtp.TensorDesc]) -> list[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32", "LINEAR")]


@trtp.aot_impl("road::center")
def aot_impl(x: trtp.TensorDesc, outputs: tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    blocks = trtp.cdiv(n, 64)
    sums = workspace(blocks, trt.float32)
    first = launch(sum_kernel, x_ptr=x, n=n, sums_ptr=sums, BLOCK=64, grid=blocks)
    second = launch(
        minus_kernel,
        sums_ptr=sums,
        blocks=blocks,
        scale=quotient(1, n),
        n=n,
        y_ptr=outputs[0],
        x_ptr=x,
        BLOCK=64,
        grid=blocks,
    )
    return aot_kernels(first, second)


RECIPE = Recipe(
    name="center",
    plugin="road::center",
    summary="x minus its mean",
    inputs=(Input(name="x", shape=(8, 48), dims=("N", "C")),),
    dtypes=("fp32",),
    reference=lambda x: x - x.astype(np.float64).mean(),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-5)},
)
