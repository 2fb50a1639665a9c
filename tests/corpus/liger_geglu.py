# SPDX-License-Identifier: Apache-2.0
"""Liger's GEGLU with the tanh of libdevice."""

from typing import Tuple

import numpy as np
import triton
from liger_kernel.ops.geglu import _geglu_tanh_forward_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_geglu")
def liger_geglu_desc(a: TensorDesc, b: TensorDesc) -> TensorDesc:
    return a.like()


@trtp.aot_impl("corpus::liger_geglu")
def liger_geglu_aot(a: TensorDesc, b: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = a.shape_expr
    return aot_kernel(
        _geglu_tanh_forward_kernel,
        a=a,
        b=b,
        c=outputs[0],
        stride=cols,
        n_cols=cols,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        grid=rows,
    )


def reference(a, b):
    a = a.astype(np.float64)
    return 0.5 * a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))) * b


RECIPE = Recipe(
    name="liger_geglu",
    plugin="corpus::liger_geglu",
    summary="Liger's GEGLU with the tanh of libdevice",
    inputs=(
        Input(name="a", shape=(8, 300), dims=("M", "N")),
        Input(name="b", shape=(8, 300), dims=("M", "N")),
    ),
    dtypes=("fp32", "fp16"),
    reference=reference,
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6), "fp16": Tolerance(rtol=4e-3, atol=1e-3)},
)
