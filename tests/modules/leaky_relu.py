# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""x where it is positive, alpha * x elsewhere."""

from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, trtp


@triton.jit
def leaky_relu_kernel(x_ptr, y_ptr, n, ALPHA: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n).to(tl.float32)
    tl.store(y_ptr + i, tl.where(x > 0, x, x * ALPHA), mask=i < n)


@trtp.register("my::leaky_relu")
def leaky_relu_desc(x: trtp.TensorDesc, alpha: float) -> trtp.TensorDesc:
    return x.like()


@trtp.autotune("my::leaky_relu")
def leaky_relu_autotune(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32|FP16|BF16, FP32|FP16|BF16")]


@trtp.aot_impl("my::leaky_relu")
def leaky_relu_aot(x: trtp.TensorDesc, alpha: float, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    grid = trtp.cdiv(n, 128)
    return aot_kernel(leaky_relu_kernel, x_ptr=x, y_ptr=outputs[0], n=n, ALPHA=alpha, BLOCK=128, grid=grid)


RECIPE = Recipe(
    name="leaky_relu",
    plugin="my::leaky_relu",
    summary="x where it is positive, alpha * x elsewhere",
    inputs=(Input(name="x", shape=(2, 64), dims=("N", "C")),),
    dtypes=("fp32", "fp16", "bf16"),
    attributes={"alpha": 0.25},
    reference=lambda x, alpha: np.where(x > 0, x.astype(np.float64), x.astype(np.float64) * alpha),
    tolerance={name: Tolerance(rtol=1e-2) for name in ("fp32", "fp16", "bf16")},
)
