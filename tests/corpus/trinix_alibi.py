# SPDX-License-Identifier: Apache-2.0
"""Trinix' ALiBi bias: a grid of three dimensions, an output whose sizes are attributes."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

alibi = source("trinix.kernels.alibi_kernel")


@trtp.register("corpus::trinix_alibi")
def trinix_alibi_desc(slopes: TensorDesc, batch: int, length: int) -> TensorDesc:
    h = slopes.shape_expr[0]
    one = h // h
    return trtp.from_shape_expr((one * batch, h, one * length, one * length), dtype=trt.float32)


@trtp.aot_impl("corpus::trinix_alibi")
def trinix_alibi_aot(slopes: TensorDesc, batch: int, length: int, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    heads = slopes.shape_expr[0]
    return aot_kernel(
        alibi.alibi_bias_kernel,
        bias_ptr=outputs[0],
        slopes_ptr=slopes,
        batch_size=batch,
        num_heads=heads,
        seq_len=length,
        stride_bias_batch=heads * length * length,
        stride_bias_head=length * length,
        stride_bias_i=length,
        stride_bias_j=1,
        BLOCK_SIZE_J=64,
        grid=(batch, heads, length),
    )


def reference(slopes, batch, length):
    i = np.arange(length)
    bias = -slopes[:, None, None] * np.abs(i[:, None] - i).astype(np.float32)
    return np.broadcast_to(bias, (batch, *bias.shape))


RECIPE = Recipe(
    name="trinix_alibi",
    plugin="corpus::trinix_alibi",
    summary="Trinix' ALiBi bias: a grid of three dimensions, an output whose sizes are attributes",
    inputs=(Input(name="slopes", shape=(3,), dims=("H",)),),
    dtypes=("fp32",),
    reference=reference,
    attributes={"batch": 2, "length": 9},
)
