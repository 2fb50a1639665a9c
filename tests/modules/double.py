# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""y = 2x for several types and formats, with two tactics; as a Triton kernel by `aot_kernel`."""

from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory.kernel import AotKernel, aot_kernel
from aotfactory.recipe import Input, Recipe

import tensorrt.plugin as trtp  # isort: skip

TYPES = "FP32|FP16|BF16|INT8|INT32"
BLOCKS = {1: 64, 2: 128}


@triton.jit
def double_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    tl.store(y_ptr + i, (x + x).to(x.dtype), mask=i < n)


@trtp.register("definitions::double")
def double_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.autotune("definitions::double")
def double_autotune(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    plain = trtp.AutoTuneCombination(f"{TYPES}, {TYPES}", "LINEAR", [1, 2])
    channels_last = trtp.AutoTuneCombination("FP16, FP16", "HWC")
    return [plain, channels_last] if x.ndim == 4 else [plain]


@trtp.aot_impl("definitions::double")
def double_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    block = BLOCKS.get(tactic, 64)
    return aot_kernel(double_kernel, x_ptr=x, y_ptr=outputs[0], n=n, BLOCK=block, num_warps=1, grid=trtp.cdiv(n, block))


def double_reference(x):
    return x + x if np.issubdtype(x.dtype, np.integer) else 2 * x.astype(np.float64)


RECIPE = Recipe(
    name="double",
    plugin="definitions::double",
    summary="y = 2x",
    inputs=(Input(name="x", shape=(2, 48), dims=("N", "C"), limits="any"),),
    dtypes=("fp32", "fp16", "bf16", "int8", "int32"),
    reference=double_reference,
)
