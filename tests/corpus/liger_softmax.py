# SPDX-License-Identifier: Apache-2.0
"""Liger's softmax of a row in one block: cache modifiers."""

from typing import Tuple

import numpy as np
import triton
from liger_kernel.ops.softmax import _softmax_single_block_forward_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_softmax")
def liger_softmax_desc(x: TensorDesc) -> TensorDesc:
    return x.like()


@trtp.aot_impl("corpus::liger_softmax")
def liger_softmax_aot(x: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _softmax_single_block_forward_kernel,
        Y_ptr=outputs[0],
        Y_row_stride=cols,
        X_ptr=x,
        X_row_stride=cols,
        n_cols=cols,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        grid=rows,
    )


def reference(x):
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


RECIPE = Recipe(
    name="liger_softmax",
    plugin="corpus::liger_softmax",
    summary="Liger's softmax of a row in one block: cache modifiers",
    inputs=(Input(name="x", shape=(8, 300), dims=("M", "N")),),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
