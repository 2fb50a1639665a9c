# SPDX-License-Identifier: Apache-2.0
# ruff: noqa
"""A bias that is taken without "% channels": right for a batch of one alone."""

from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl
from aotfactory.kernel import AotKernel, aot_kernel
from aotfactory.recipe import Input, Recipe, Tolerance

import tensorrt.plugin as trtp


@triton.jit
def bias_relu_kernel(x_ptr, b_ptr, y_ptr, count, channels, hw, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < count
    c = i // hw
    x = tl.load(x_ptr + i, mask=mask).to(tl.float32)
    b = tl.load(b_ptr + c, mask=mask).to(tl.float32)
    tl.store(y_ptr + i, tl.maximum(x + b, 0.0, propagate_nan=tl.PropagateNan.ALL), mask=mask)


@trtp.register("my::bias_relu")
def bias_relu_desc(x: trtp.TensorDesc, bias: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.autotune("my::bias_relu")
def bias_relu_autotune(
    x: trtp.TensorDesc, bias: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32|FP16, FP32|FP16, FP32|FP16", "LINEAR", [1, 2])]


@trtp.aot_impl("my::bias_relu")
def bias_relu_aot(x: trtp.TensorDesc, bias: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n, c, h, w = x.shape_expr
    count = x.shape_expr.numel()
    block = {1: 256, 2: 1024}[tactic]
    return aot_kernel(
        bias_relu_kernel,
        x_ptr=x,
        b_ptr=bias,
        y_ptr=outputs[0],
        count=count,
        channels=c,
        hw=h * w,
        BLOCK=block,
        grid=trtp.cdiv(count, block),
    )


RECIPE = Recipe(
    name="bias_relu",
    plugin="my::bias_relu",
    summary="relu(x + bias), bias per channel",
    inputs=(
        Input(name="x", shape=(2, 16, 14, 14), dims=("N", "C", "H", "W")),
        Input(name="bias", shape=(16,), dims=("C",)),
    ),
    dtypes=("fp32", "fp16"),
    attributes={},
    reference=lambda x, bias: np.maximum(x.astype(np.float64) + bias.astype(np.float64)[None, :, None, None], 0),
    tolerance={"fp32": Tolerance(rtol=1e-6), "fp16": Tolerance(rtol=1e-3, atol=1e-6)},
)
