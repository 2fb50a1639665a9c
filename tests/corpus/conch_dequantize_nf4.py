# SPDX-License-Identifier: Apache-2.0
"""Conch's NF4 dequantization: one program a block, scalar code with many returns."""

from typing import Tuple

import numpy as np
from conch.kernels.quantization.bitsandbytes.dequantize_blockwise import (
    _QUANTIZED_DTYPE_NF4,
    _dequantize_blockwise_kernel,
)

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::conch_dequantize_nf4")
def conch_dequantize_nf4_desc(x: TensorDesc, absmax: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((x.shape_expr[0] * 2,), dtype=trt.float32)


@trtp.aot_impl("corpus::conch_dequantize_nf4")
def conch_dequantize_nf4_aot(x: TensorDesc, absmax: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    blocks = absmax.shape_expr[0]
    return aot_kernel(
        _dequantize_blockwise_kernel,
        x_ptr=x,
        absmax_ptr=absmax,
        out_ptr=outputs[0],
        code_ptr=None,
        output_size=x.shape_expr[0] * 2,
        cxpr_blocksize=64,
        cxpr_input_blocksize=32,
        cxpr_quantized_dtype=_QUANTIZED_DTYPE_NF4,
        grid=blocks,
    )


CODE = np.float32(
    [
        -1,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1,
    ]
)


def reference(x, absmax):
    return (CODE[np.stack([x >> 4, x & 15], -1)].reshape(-1, 64) * absmax[:, None]).reshape(-1)


RECIPE = Recipe(
    name="conch_dequantize_nf4",
    plugin="corpus::conch_dequantize_nf4",
    summary="Conch's NF4 dequantization: one program a block, scalar code with many returns",
    inputs=(
        Input(name="x", shape=(96,), dims=("N",), dtypes=("uint8",)),
        Input(name="absmax", shape=(3,), dims=("B",)),
    ),
    dtypes=("fp32",),
    reference=reference,
)
