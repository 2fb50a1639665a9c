# SPDX-License-Identifier: Apache-2.0
"""unsloth's fp8 quantization by blocks of 128, without a mask: its size must stay a multiple of 128."""

from typing import Tuple

import numpy as np
import ml_dtypes
from corpus_tools import unsloth

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

fp8 = unsloth("fp8")


@trtp.register("corpus::unsloth_act_quant")
def unsloth_act_quant_desc(x: TensorDesc) -> Tuple[TensorDesc, TensorDesc]:
    rows, cols = x.shape_expr
    return trtp.from_shape_expr(x.shape_expr, dtype=trt.fp8), trtp.from_shape_expr(
        (rows, cols // 128), dtype=trt.float32
    )


@trtp.aot_impl("corpus::unsloth_act_quant")
def unsloth_act_quant_aot(x: TensorDesc, outputs: Tuple[TensorDesc, TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_kernel(fp8.act_quant_kernel, x_ptr=x, y_ptr=outputs[0], s_ptr=outputs[1], BLOCK_SIZE=128, grid=n // 128)


def reference(x):
    blocks = x.astype(np.float32).reshape(len(x), -1, 128)
    scale = np.abs(blocks).max(-1) / np.float32(448)
    scale = np.where(scale == 0, np.float32(1), scale)
    return (blocks / scale[..., None]).reshape(x.shape).astype(ml_dtypes.float8_e4m3fn), scale


RECIPE = Recipe(
    name="unsloth_act_quant",
    plugin="corpus::unsloth_act_quant",
    summary="unsloth's fp8 quantization by blocks of 128, without a mask: its size must stay a multiple of 128",
    inputs=(Input(name="x", shape=(5, 256), dims=("M", "K")),),
    dtypes=("fp32",),
    tolerance={"fp32": Tolerance(rtol=3e-7)},  # Triton's division is off by up to 2 units in the last place
    reference=reference,
    dynamic=("M",),
    ordinary="clamping NaN, and casting it, are not defined",
)
