# SPDX-License-Identifier: Apache-2.0
"""Conch's RMSNorm of a sum: writes the sum to the residual and the norm to x, its output pointer unused."""

from typing import Tuple

import numpy as np
import triton
from conch.kernels.normalization.rms_norm import _rms_norm_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::conch_rms_norm_residual")
def conch_rms_norm_residual_desc(
    x: TensorDesc, residual: TensorDesc, w: TensorDesc, eps: float
) -> Tuple[TensorDesc, TensorDesc]:
    return x.aliased(), residual.aliased()


@trtp.aot_impl("corpus::conch_rms_norm_residual")
def conch_rms_norm_residual_aot(
    x: TensorDesc, residual: TensorDesc, w: TensorDesc, eps: float, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _rms_norm_kernel,
        output_ptr=outputs[0],
        x_ptr=x,
        residual_ptr=residual,
        weight_ptr=w,
        hidden_size=cols,
        epsilon=eps,
        cxpr_block_size=triton.next_power_of_2(cols),
        cxpr_use_residual=True,
        grid=rows,
    )


def reference(x, residual, w, eps):
    total = x + residual
    s = total.astype(np.float64)
    return s / np.sqrt((s**2).mean(-1, keepdims=True) + eps) * w, total


RECIPE = Recipe(
    name="conch_rms_norm_residual",
    plugin="corpus::conch_rms_norm_residual",
    summary="Conch's RMSNorm of a sum: writes the sum to the residual and the norm to x, its output pointer unused",
    inputs=(
        Input(name="x", shape=(6, 200), dims=("M", "N")),
        Input(name="residual", shape=(6, 200), dims=("M", "N")),
        Input(name="w", shape=(200,), dims=("N",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"eps": 1e-6},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
