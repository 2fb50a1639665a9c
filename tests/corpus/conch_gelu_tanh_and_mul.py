# SPDX-License-Identifier: Apache-2.0
"""Conch's GELU gate: parameters annotated `tl.tensor` and `int`, libdevice."""

from typing import Tuple

import numpy as np
from conch.kernels.activation.gelu_tanh_and_mul import _gelu_tanh_and_mul_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::conch_gelu_tanh_and_mul")
def conch_gelu_tanh_and_mul_desc(x: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((x.shape_expr[0], x.shape_expr[1] // 2), dtype=x.dtype)


@trtp.aot_impl("corpus::conch_gelu_tanh_and_mul")
def conch_gelu_tanh_and_mul_aot(x: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, width = x.shape_expr
    return aot_kernel(
        _gelu_tanh_and_mul_kernel,
        out_ptr=outputs[0],
        out_stride=width // 2,
        in_ptr=x,
        in_stride=width,
        d=width // 2,
        cxpr_block_size=128,
        cxpr_beta=0.7978845608028654,
        cxpr_kappa=0.044715,
        grid=rows,
    )


def reference(x):
    a, b = np.split(x.astype(np.float64), 2, -1)
    return 0.5 * a * (1 + np.tanh(0.7978845608028654 * (a + 0.044715 * a**3))) * b


RECIPE = Recipe(
    name="conch_gelu_tanh_and_mul",
    plugin="corpus::conch_gelu_tanh_and_mul",
    summary="Conch's GELU gate: parameters annotated `tl.tensor` and `int`, libdevice",
    inputs=(Input(name="x", shape=(5, 600), dims=("M", "N2")),),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
