# SPDX-License-Identifier: Apache-2.0
"""Liger's group norm: a grid over batch and groups, strides of three tensors."""

from typing import Tuple

import numpy as np
from liger_kernel.ops.group_norm import _group_norm_forward_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_group_norm")
def liger_group_norm_desc(
    x: TensorDesc, w: TensorDesc, b: TensorDesc, groups: int, eps: float
) -> Tuple[TensorDesc, TensorDesc, TensorDesc]:
    n = x.shape_expr[0]
    stat = trtp.from_shape_expr((n, n // n * groups), dtype=trt.float32)
    return x.like(), stat, stat.like()


@trtp.aot_impl("corpus::liger_group_norm")
def liger_group_norm_aot(
    x: TensorDesc,
    w: TensorDesc,
    b: TensorDesc,
    groups: int,
    eps: float,
    outputs: Tuple[TensorDesc, TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    n, channels, length = x.shape_expr
    per_group = channels.constant_value() // groups
    hidden = length * per_group
    return aot_kernel(
        _group_norm_forward_kernel,
        Y_ptr=outputs[0],
        Y_row_stride=channels * length,
        Y_col_stride=hidden,
        X_ptr=x,
        X_row_stride=channels * length,
        X_col_stride=hidden,
        Mean_ptr=outputs[1],
        Mean_row_stride=groups,
        Mean_col_stride=1,
        RSTD_ptr=outputs[2],
        RSTD_row_stride=groups,
        RSTD_col_stride=1,
        W_ptr=w,
        B_ptr=b,
        hidden_size=hidden,
        channels_per_group=per_group,
        eps=eps,
        BLOCK_SIZE=256,
        grid=(n, groups),
    )


def reference(x, w, b, groups, eps):
    n = len(x)
    g = x.astype(np.float64).reshape(n, groups, -1)
    mean = g.mean(-1)
    rstd = 1 / np.sqrt((g**2).mean(-1) - mean**2 + eps)
    y = ((g - mean[..., None]) * rstd[..., None]).reshape(x.shape)
    return y * w[None, :, None] + b[None, :, None], mean, rstd


RECIPE = Recipe(
    name="liger_group_norm",
    plugin="corpus::liger_group_norm",
    summary="Liger's group norm: a grid over batch and groups, strides of three tensors",
    inputs=(
        Input(name="x", shape=(2, 12, 70), dims=("N", "C", "L")),
        Input(name="w", shape=(12,), dims=("C",)),
        Input(name="b", shape=(12,), dims=("C",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"groups": 3, "eps": 1e-5},
    dynamic=("N", "L"),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-5)},
)
