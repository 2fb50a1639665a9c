# SPDX-License-Identifier: Apache-2.0
"""Liger's sparsemax: a parameter named num_warps, and a second input that must be the first one sorted."""

from typing import Tuple

import numpy as np
import triton
from liger_kernel.ops.sparsemax import _sparsemax_forward_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_sparsemax")
def liger_sparsemax_desc(x: TensorDesc, sorted_x: TensorDesc) -> TensorDesc:
    return x.like()


@trtp.aot_impl("corpus::liger_sparsemax")
def liger_sparsemax_aot(x: TensorDesc, sorted_x: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _sparsemax_forward_kernel,
        x_ptr=x,
        x_stride_row=cols,
        sorted_x_ptr=sorted_x,
        sorted_x_stride_row=cols,
        o_ptr=outputs[0],
        o_stride_row=cols,
        n_cols=cols,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        num_warps=4,
        grid=rows,
    )


def reference(x, sorted_x):
    z = sorted_x.astype(np.float64)
    below = np.cumsum(z, -1) - 1
    support = z > below / np.arange(1, x.shape[-1] + 1)
    count = np.maximum(support.sum(-1, keepdims=True), 1)
    tau = (np.where(support, z, 0).sum(-1, keepdims=True) - 1) / count
    return np.maximum(x - tau, 0)


RECIPE = Recipe(
    name="liger_sparsemax",
    plugin="corpus::liger_sparsemax",
    summary="Liger's sparsemax: a parameter named num_warps, and a second input that must be the first one sorted",
    inputs=(
        Input(name="x", shape=(8, 300), dims=("M", "N")),
        Input(
            name="sorted_x",
            shape=(8, 300),
            dims=("M", "N"),
            data=lambda rng, shape, inputs, dtype: -np.sort(-inputs["x"], -1),
        ),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
    ordinary="NaN has no place in an order",
)
