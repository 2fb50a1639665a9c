# SPDX-License-Identifier: Apache-2.0
"""Liger's SwiGLU: `.to()` on a scalar argument."""

from typing import Tuple

import numpy as np
import triton
from liger_kernel.ops.swiglu import _swiglu_forward_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_swiglu")
def liger_swiglu_desc(a: TensorDesc, b: TensorDesc, gate: float) -> TensorDesc:
    return a.like()


@trtp.aot_impl("corpus::liger_swiglu")
def liger_swiglu_aot(a: TensorDesc, b: TensorDesc, gate: float, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = a.shape_expr
    return aot_kernel(
        _swiglu_forward_kernel,
        a_ptr=a,
        b_ptr=b,
        c_ptr=outputs[0],
        stride=cols,
        gate_multiplier=gate,
        n_cols=cols,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        grid=rows,
    )


def reference(a, b, gate):
    a = a.astype(np.float64) * gate
    return a / (1 + np.exp(-a)) * b


RECIPE = Recipe(
    name="liger_swiglu",
    plugin="corpus::liger_swiglu",
    summary="Liger's SwiGLU: `.to()` on a scalar argument",
    inputs=(
        Input(name="a", shape=(8, 300), dims=("M", "N")),
        Input(name="b", shape=(8, 300), dims=("M", "N")),
    ),
    dtypes=("fp32", "fp16"),
    reference=reference,
    attributes={"gate": 1.0},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6), "fp16": Tolerance(rtol=4e-3, atol=1e-3)},
)
