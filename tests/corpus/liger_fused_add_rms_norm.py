# SPDX-License-Identifier: Apache-2.0
"""Liger's RMSNorm of a sum, which it also returns: three outputs."""

from typing import Tuple

import numpy as np
import triton
from liger_kernel.ops.fused_add_rms_norm import _fused_add_rms_norm_forward_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_fused_add_rms_norm")
def liger_fused_add_rms_norm_desc(
    x: TensorDesc, r: TensorDesc, w: TensorDesc, eps: float, offset: float
) -> Tuple[TensorDesc, TensorDesc, TensorDesc]:
    return x.like(), x.like(), trtp.from_shape_expr((x.shape_expr[0],), dtype=trt.float32)


@trtp.aot_impl("corpus::liger_fused_add_rms_norm")
def liger_fused_add_rms_norm_aot(
    x: TensorDesc,
    r: TensorDesc,
    w: TensorDesc,
    eps: float,
    offset: float,
    outputs: Tuple[TensorDesc, TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _fused_add_rms_norm_forward_kernel,
        Y_ptr=outputs[0],
        Y_row_stride=cols,
        S_ptr=outputs[1],
        S_row_stride=cols,
        X_ptr=x,
        X_row_stride=cols,
        R_ptr=r,
        R_row_stride=cols,
        W_ptr=w,
        W_row_stride=1,
        RSTD_ptr=outputs[2],
        RSTD_row_stride=1,
        n_cols=cols,
        eps=eps,
        offset=offset,
        casting_mode=0,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        grid=rows,
    )


def reference(x, r, w, eps, offset):
    s = (x + r).astype(np.float64)
    rstd = 1 / np.sqrt((s**2).mean(-1) + eps)
    return s * rstd[:, None] * (w.astype(np.float64) + offset), s, rstd


RECIPE = Recipe(
    name="liger_fused_add_rms_norm",
    plugin="corpus::liger_fused_add_rms_norm",
    summary="Liger's RMSNorm of a sum, which it also returns: three outputs",
    inputs=(
        Input(name="x", shape=(6, 200), dims=("N", "D")),
        Input(name="r", shape=(6, 200), dims=("N", "D")),
        Input(name="w", shape=(200,), dims=("D",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"eps": 1e-6, "offset": 0.0},
    dynamic=("N",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
