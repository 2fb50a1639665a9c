# SPDX-License-Identifier: Apache-2.0
"""Conch's static fp8 quantization, for architectures that have fp8."""

from typing import Tuple

import numpy as np
import ml_dtypes
import triton
from conch.kernels.quantization.fp8 import _static_scaled_fp8_quant_kernel

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::conch_static_fp8_quant")
def conch_static_fp8_quant_desc(x: TensorDesc, scale: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr(x.shape_expr, dtype=trt.fp8)


@trtp.aot_impl("corpus::conch_static_fp8_quant")
def conch_static_fp8_quant_aot(x: TensorDesc, scale: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _static_scaled_fp8_quant_kernel,
        output_ptr=outputs[0],
        input_ptr=x,
        scale_ptr=scale,
        hidden_size=cols,
        cxpr_hidden_size_padded=triton.next_power_of_2(cols),
        cxpr_block_size=128,
        cxpr_is_rocm=False,
        grid=rows,
    )


def reference(x, scale):
    scaled = np.clip(x * (np.float32(1) / scale), -448, 448)
    return scaled.astype(ml_dtypes.float8_e4m3fn)


RECIPE = Recipe(
    name="conch_static_fp8_quant",
    plugin="corpus::conch_static_fp8_quant",
    summary="Conch's static fp8 quantization, for architectures that have fp8",
    inputs=(
        Input(name="x", shape=(5, 300), dims=("M", "N")),
        Input(name="scale", shape=(1,), dims=("one",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("M",),
    ordinary="clamping NaN, and casting it, are not defined",
)
