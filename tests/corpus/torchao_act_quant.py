# SPDX-License-Identifier: Apache-2.0
"""torchao's fp8 quantization by blocks of 128: autotuned, fp64 inside, `tl.div_rn`."""

from typing import List, Tuple

import numpy as np
import ml_dtypes
from torchao.prototype.blockwise_fp8_training.kernels import triton_fp8_blockwise_act_quant_lhs_kernel

from aotfactory import AotKernel, Input, Recipe, aot_kernel, tactics_of

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::torchao_act_quant")
def torchao_act_quant_desc(x: TensorDesc) -> Tuple[TensorDesc, TensorDesc]:
    rows, cols = x.shape_expr
    return trtp.from_shape_expr(x.shape_expr, dtype=trt.fp8), trtp.from_shape_expr(
        (rows, cols // 128), dtype=trt.float32
    )


@trtp.autotune("corpus::torchao_act_quant")
def torchao_act_quant_autotune(x: TensorDesc, outputs: Tuple[TensorDesc, TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [
        trtp.AutoTuneCombination("FP32, FP8, FP32", "LINEAR", tactics_of(triton_fp8_blockwise_act_quant_lhs_kernel))
    ]


@trtp.aot_impl("corpus::torchao_act_quant")
def torchao_act_quant_aot(x: TensorDesc, outputs: Tuple[TensorDesc, TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        triton_fp8_blockwise_act_quant_lhs_kernel,
        config=tactic,
        x_ptr=x,
        x_stride_dim_0=cols,
        x_stride_dim_1=1,
        y_ptr=outputs[0],
        y_stride_dim_0=cols,
        y_stride_dim_1=1,
        s_ptr=outputs[1],
        s_stride_dim_0=cols // 128,
        s_stride_dim_1=1,
        M=rows,
        K=cols,
        BLOCK_SIZE=128,
        EPS=1e-12,
        FP8_MAX=448.0,
        grid=lambda meta: (trtp.cdiv(rows, meta["NUM_GROUPS"]), cols // 128),
    )


def reference(x):
    blocks = x.astype(np.float32).reshape(len(x), -1, 128)
    scale = (448 / np.fmax(np.abs(blocks).max(-1), np.float32(1e-12)).astype(np.float64)).astype(np.float32)
    y = np.clip(blocks * scale[..., None], -448, 448).reshape(x.shape)
    return y.astype(ml_dtypes.float8_e4m3fn), np.float32(1) / scale


RECIPE = Recipe(
    name="torchao_act_quant",
    plugin="corpus::torchao_act_quant",
    summary="torchao's fp8 quantization by blocks of 128: autotuned, fp64 inside, `tl.div_rn`",
    inputs=(Input(name="x", shape=(5, 256), dims=("M", "K")),),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("M",),
    ordinary="clamping NaN, and casting it, are not defined",
)
