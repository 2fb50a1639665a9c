# SPDX-License-Identifier: Apache-2.0
"""Conch's static int8 quantization: `tl.clamp` between integer parameters, a scale behind a pointer."""

from typing import Tuple

import numpy as np
import triton
from conch.kernels.quantization.int8 import _static_scaled_int8_quant_kernel

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::conch_static_int8_quant")
def conch_static_int8_quant_desc(x: TensorDesc, scale: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr(x.shape_expr, dtype=trt.int8)


@trtp.aot_impl("corpus::conch_static_int8_quant")
def conch_static_int8_quant_aot(x: TensorDesc, scale: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _static_scaled_int8_quant_kernel,
        output_ptr=outputs[0],
        input_ptr=x,
        scale_ptr=scale,
        hidden_size=cols,
        int8_min=-128,
        int8_max=127,
        cxpr_hidden_size_padded=triton.next_power_of_2(cols),
        cxpr_block_size=128,
        grid=rows,
    )


def reference(x, scale):
    return np.trunc(np.clip(x * (np.float32(1) / scale), -128, 127)).astype(np.int8)


RECIPE = Recipe(
    name="conch_static_int8_quant",
    plugin="corpus::conch_static_int8_quant",
    summary="Conch's static int8 quantization: `tl.clamp` between integer parameters, a scale behind a pointer",
    inputs=(
        Input(name="x", shape=(5, 300), dims=("M", "N")),
        Input(name="scale", shape=(1,), dims=("one",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("M",),
    ordinary="clamping NaN, and casting it, are not defined",
)
