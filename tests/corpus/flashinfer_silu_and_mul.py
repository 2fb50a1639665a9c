# SPDX-License-Identifier: Apache-2.0
"""FlashInfer's SiLU gate with a scaled fp16 output."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

activation = source("flashinfer.triton.kernels.activation")


@trtp.register("corpus::flashinfer_silu_and_mul")
def flashinfer_silu_and_mul_desc(x: TensorDesc, scale: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((x.shape_expr[0], x.shape_expr[1] // 2), dtype=trt.float16)


@trtp.aot_impl("corpus::flashinfer_silu_and_mul")
def flashinfer_silu_and_mul_aot(x: TensorDesc, scale: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, width = x.shape_expr
    d = width // 2
    return aot_kernel(
        activation.silu_and_mul_kernel,
        o_ptr=outputs[0],
        o_stride=d,
        o_scale_ptr=scale,
        x_ptr=x,
        x_stride=width,
        x_scale_ptr=None,
        d=d,
        BLOCK_SIZE=128,
        HAS_X_SCALE=False,
        HAS_O_SCALE=True,
        grid=(rows, trtp.cdiv(d, 128)),
    )


def reference(x, scale):
    a, b = np.split(x.astype(np.float64), 2, -1)
    return np.clip(a / (1 + np.exp(-a)) * b * scale, -65504, 65504)


RECIPE = Recipe(
    name="flashinfer_silu_and_mul",
    plugin="corpus::flashinfer_silu_and_mul",
    summary="FlashInfer's SiLU gate with a scaled fp16 output",
    inputs=(
        Input(name="x", shape=(5, 600), dims=("M", "N2")),
        Input(name="scale", shape=(1,), dims=("one",), dtypes=("fp32",)),
    ),
    dtypes=("fp16",),
    reference=reference,
    dynamic=("M",),
    tolerance={"fp16": Tolerance(rtol=2e-3, atol=1e-5)},
    ordinary="clamping NaN, and casting it, are not defined",
)
