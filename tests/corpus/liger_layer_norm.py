# SPDX-License-Identifier: Apache-2.0
"""Liger's layer norm, which also returns means and inverse deviations."""

from typing import Tuple

import numpy as np
import triton
from liger_kernel.ops.layer_norm import _layer_norm_forward_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_layer_norm")
def liger_layer_norm_desc(
    x: TensorDesc, w: TensorDesc, b: TensorDesc, eps: float
) -> Tuple[TensorDesc, TensorDesc, TensorDesc]:
    stat = trtp.from_shape_expr((x.shape_expr[0],), dtype=trt.float32)
    return x.like(), stat, stat.like()


@trtp.aot_impl("corpus::liger_layer_norm")
def liger_layer_norm_aot(
    x: TensorDesc,
    w: TensorDesc,
    b: TensorDesc,
    eps: float,
    outputs: Tuple[TensorDesc, TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _layer_norm_forward_kernel,
        Y_ptr=outputs[0],
        Y_row_stride=cols,
        X_ptr=x,
        X_row_stride=cols,
        W_ptr=w,
        W_row_stride=1,
        B_ptr=b,
        B_row_stride=1,
        Mean_ptr=outputs[1],
        Mean_row_stride=1,
        RSTD_ptr=outputs[2],
        RSTD_row_stride=1,
        n_cols=cols,
        eps=eps,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        grid=rows,
    )


def reference(x, w, b, eps):
    x = x.astype(np.float64)
    mean, rstd = x.mean(-1), 1 / np.sqrt(x.var(-1) + eps)
    return (x - mean[:, None]) * rstd[:, None] * w + b, mean, rstd


RECIPE = Recipe(
    name="liger_layer_norm",
    plugin="corpus::liger_layer_norm",
    summary="Liger's layer norm, which also returns means and inverse deviations",
    inputs=(
        Input(name="x", shape=(8, 300), dims=("M", "N")),
        Input(name="w", shape=(300,), dims=("N",)),
        Input(name="b", shape=(300,), dims=("N",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"eps": 1e-5},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-5)},
)
