# SPDX-License-Identifier: Apache-2.0
"""Liger's RMSNorm for short rows: several rows in a program."""

from typing import Tuple

import numpy as np
import triton
from liger_kernel.ops.rms_norm import _block_rms_norm_forward_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_block_rms_norm")
def liger_block_rms_norm_desc(x: TensorDesc, w: TensorDesc, eps: float, offset: float) -> Tuple[TensorDesc, TensorDesc]:
    return x.like(), trtp.from_shape_expr((x.shape_expr[0],), dtype=trt.float32)


@trtp.aot_impl("corpus::liger_block_rms_norm")
def liger_block_rms_norm_aot(
    x: TensorDesc, w: TensorDesc, eps: float, offset: float, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _block_rms_norm_forward_kernel,
        Y_ptr=outputs[0],
        Y_row_stride=cols,
        X_ptr=x,
        X_row_stride=cols,
        W_ptr=w,
        W_row_stride=1,
        RSTD_ptr=outputs[1],
        RSTD_row_stride=1,
        n_rows=rows,
        n_cols=cols,
        eps=eps,
        offset=offset,
        casting_mode=1,
        elementwise_affine=True,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        BLOCK_ROW=16,
        grid=trtp.cdiv(rows, 16),
    )


def reference(x, w, eps, offset):
    x = x.astype(np.float64)
    rstd = 1 / np.sqrt((x**2).mean(-1) + eps)
    return x * rstd[:, None] * (w.astype(np.float64) + offset), rstd


RECIPE = Recipe(
    name="liger_block_rms_norm",
    plugin="corpus::liger_block_rms_norm",
    summary="Liger's RMSNorm for short rows: several rows in a program",
    inputs=(
        Input(name="x", shape=(35, 100), dims=("N", "D")),
        Input(name="w", shape=(100,), dims=("D",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"eps": 1e-6, "offset": 1.0},
    dynamic=("N",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
