# SPDX-License-Identifier: Apache-2.0
"""Liger's squared ReLU."""

from typing import Tuple

import numpy as np
import triton
from liger_kernel.ops.relu_squared import _relu_squared_forward_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_relu_squared")
def liger_relu_squared_desc(x: TensorDesc) -> TensorDesc:
    return x.like()


@trtp.aot_impl("corpus::liger_relu_squared")
def liger_relu_squared_aot(x: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _relu_squared_forward_kernel,
        Y_ptr=outputs[0],
        Y_stride=cols,
        X_ptr=x,
        X_stride=cols,
        n_cols=cols,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        grid=rows,
    )


RECIPE = Recipe(
    name="liger_relu_squared",
    plugin="corpus::liger_relu_squared",
    summary="Liger's squared ReLU",
    inputs=(Input(name="x", shape=(8, 300), dims=("M", "N")),),
    dtypes=("fp32", "fp16"),
    reference=lambda x: np.fmax(x.astype(np.float64), 0) ** 2,
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6), "fp16": Tolerance(rtol=4e-3, atol=1e-3)},
)
