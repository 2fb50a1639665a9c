# SPDX-License-Identifier: Apache-2.0
"""unsloth's RMSNorm: strides and epsilon are tl.constexpr."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import unsloth

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

rms = unsloth("rms_layernorm")


@trtp.register("corpus::unsloth_rms_norm")
def unsloth_rms_norm_desc(x: TensorDesc, w: TensorDesc, eps: float) -> Tuple[TensorDesc, TensorDesc]:
    return x.like(), trtp.from_shape_expr((x.shape_expr[0],), dtype=trt.float32)


@trtp.aot_impl("corpus::unsloth_rms_norm")
def unsloth_rms_norm_aot(
    x: TensorDesc, w: TensorDesc, eps: float, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        rms._rms_layernorm_forward,
        Y=outputs[0],
        Y_row_stride=cols,
        X=x,
        X_row_stride=cols,
        W=w,
        W_row_stride=1,
        r=outputs[1],
        r_row_stride=1,
        n_cols=cols,
        eps=eps,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        grid=rows,
    )


def reference(x, w, eps):
    x = x.astype(np.float64)
    r = 1 / np.sqrt((x**2).mean(-1) + eps)
    return (x * r[:, None]).astype(w.dtype).astype(np.float64) * w, r


RECIPE = Recipe(
    name="unsloth_rms_norm",
    plugin="corpus::unsloth_rms_norm",
    summary="unsloth's RMSNorm: strides and epsilon are tl.constexpr",
    inputs=(
        Input(name="x", shape=(5, 300), dims=("M", "N")),
        Input(name="w", shape=(300,), dims=("N",)),
    ),
    dtypes=("fp16", "bf16", "fp32"),
    reference=reference,
    attributes={"eps": 1e-6},
    dynamic=("M",),
    tolerance={
        "fp16": Tolerance(rtol=3e-3, atol=1e-5),
        "bf16": Tolerance(rtol=2e-2, atol=1e-5),
        "fp32": Tolerance(rtol=1e-5, atol=1e-5),
    },
)
