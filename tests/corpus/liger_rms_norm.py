# SPDX-License-Identifier: Apache-2.0
"""Liger's RMSNorm: libdevice, and `.to()` on scalar arguments."""

from typing import List, Tuple

import numpy as np
import triton
from liger_kernel.ops.rms_norm import _rms_norm_forward_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_rms_norm")
def liger_rms_norm_desc(x: TensorDesc, w: TensorDesc, eps: float, offset: float) -> Tuple[TensorDesc, TensorDesc]:
    return x.like(), trtp.from_shape_expr((x.shape_expr[0],), dtype=trt.float32)


@trtp.autotune("corpus::liger_rms_norm")
def liger_rms_norm_autotune(
    x: TensorDesc, w: TensorDesc, outputs: Tuple[TensorDesc, TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32|FP16, FP32|FP16, FP32|FP16, FP32", "LINEAR")]


@trtp.aot_impl("corpus::liger_rms_norm")
def liger_rms_norm_aot(
    x: TensorDesc, w: TensorDesc, eps: float, offset: float, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _rms_norm_forward_kernel,
        Y_ptr=outputs[0],
        Y_row_stride=cols,
        X_ptr=x,
        X_row_stride=cols,
        W_ptr=w,
        W_row_stride=1,
        RSTD_ptr=outputs[1],
        RSTD_row_stride=1,
        n_cols=cols,
        eps=eps,
        offset=offset,
        casting_mode=0,
        elementwise_affine=True,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        grid=rows,
    )


def reference(x, w, eps, offset):
    x = x.astype(np.float64)
    rstd = 1 / np.sqrt((x**2).mean(-1) + eps)
    return x * rstd[:, None] * (w.astype(np.float64) + offset), rstd


RECIPE = Recipe(
    name="liger_rms_norm",
    plugin="corpus::liger_rms_norm",
    summary="Liger's RMSNorm: libdevice, and `.to()` on scalar arguments",
    inputs=(
        Input(name="x", shape=(8, 300), dims=("N", "D")),
        Input(name="w", shape=(300,), dims=("D",)),
    ),
    dtypes=("fp32", "fp16"),
    reference=reference,
    attributes={"eps": 1e-6, "offset": 0.0},
    dynamic=("N",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6), "fp16": Tolerance(rtol=4e-3, atol=1e-3)},
)
