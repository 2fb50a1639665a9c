# SPDX-License-Identifier: Apache-2.0
"""Conch's Gemma RMSNorm, in place through its only pointer."""

from typing import Tuple

import numpy as np
import triton
from conch.kernels.normalization.gemma_rms_norm import _gemma_rms_norm_inplace_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::conch_gemma_rms_norm")
def conch_gemma_rms_norm_desc(x: TensorDesc, w: TensorDesc, eps: float) -> TensorDesc:
    return x.aliased()


@trtp.aot_impl("corpus::conch_gemma_rms_norm")
def conch_gemma_rms_norm_aot(
    x: TensorDesc, w: TensorDesc, eps: float, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _gemma_rms_norm_inplace_kernel,
        x_ptr=x,
        weights_ptr=w,
        hidden_size=cols,
        eps=eps,
        cxpr_block_size=triton.next_power_of_2(cols),
        grid=rows,
    )


def reference(x, w, eps):
    x = x.astype(np.float64)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * (1 + w.astype(np.float64))


RECIPE = Recipe(
    name="conch_gemma_rms_norm",
    plugin="corpus::conch_gemma_rms_norm",
    summary="Conch's Gemma RMSNorm, in place through its only pointer",
    inputs=(
        Input(name="x", shape=(6, 200), dims=("M", "N")),
        Input(name="w", shape=(200,), dims=("N",)),
    ),
    dtypes=("fp32", "fp16"),
    reference=reference,
    attributes={"eps": 1e-6},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6), "fp16": Tolerance(rtol=4e-3, atol=1e-3)},
)
