# SPDX-License-Identifier: Apache-2.0
"""Liger's causal mask: a grid of three dimensions, a parameter named num_warps."""

from typing import Tuple

import numpy as np
from liger_kernel.ops.multi_token_attention import _mask_fwd_kernel

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_causal_mask")
def liger_causal_mask_desc(scores: TensorDesc, value: float) -> TensorDesc:
    return scores.like()


@trtp.aot_impl("corpus::liger_causal_mask")
def liger_causal_mask_aot(scores: TensorDesc, value: float, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    batch, length, _ = scores.shape_expr
    return aot_kernel(
        _mask_fwd_kernel,
        scores_ptr=scores,
        out_ptr=outputs[0],
        stride_b=length * length,
        stride_m=length,
        stride_n=1,
        L=length,
        mask_val=value,
        BLOCK=32,
        num_warps=4,
        grid=(trtp.cdiv(length, 32), trtp.cdiv(length, 32), batch),
    )


RECIPE = Recipe(
    name="liger_causal_mask",
    plugin="corpus::liger_causal_mask",
    summary="Liger's causal mask: a grid of three dimensions, a parameter named num_warps",
    inputs=(Input(name="scores", shape=(3, 50, 50), dims=("B", "L", "L")),),
    dtypes=("fp32",),
    reference=lambda scores, value: np.where(np.tri(scores.shape[1], dtype=bool), scores, np.float32(value)),
    attributes={"value": -1e9},
)
