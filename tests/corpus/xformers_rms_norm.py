# SPDX-License-Identifier: Apache-2.0
"""xFormers' RMSNorm in two passes over blocks of a row, libdevice's rsqrt."""

from typing import Tuple

import numpy as np
from xformers.ops._triton.rmsnorm_kernels import _rms_norm_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::xformers_rms_norm")
def xformers_rms_norm_desc(x: TensorDesc, w: TensorDesc, eps: float) -> TensorDesc:
    return x.like()


@trtp.aot_impl("corpus::xformers_rms_norm")
def xformers_rms_norm_aot(
    x: TensorDesc, w: TensorDesc, eps: float, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _rms_norm_kernel,
        x_ptr=x,
        h1_ptr=outputs[0],
        w_ptr=w,
        eps=eps,
        stride=cols,
        N_COLS=cols,
        BLOCK_SIZE=128,
        INCLUDE_WEIGHT=True,
        grid=rows,
    )


def reference(x, w, eps):
    x = x.astype(np.float64)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * w


RECIPE = Recipe(
    name="xformers_rms_norm",
    plugin="corpus::xformers_rms_norm",
    summary="xFormers' RMSNorm in two passes over blocks of a row, libdevice's rsqrt",
    inputs=(
        Input(name="x", shape=(5, 300), dims=("M", "N")),
        Input(name="w", shape=(300,), dims=("N",)),
    ),
    dtypes=("fp32", "fp16", "bf16"),
    reference=reference,
    attributes={"eps": 1e-6},
    dynamic=("M",),
    tolerance={
        "fp32": Tolerance(rtol=1e-5, atol=1e-6),
        "fp16": Tolerance(rtol=2e-3, atol=1e-5),
        "bf16": Tolerance(rtol=2e-2, atol=1e-5),
    },
)
