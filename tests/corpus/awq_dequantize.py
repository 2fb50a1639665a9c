# SPDX-License-Identifier: Apache-2.0
"""AutoAWQ's int4 dequantization: eight values in an int32, zeros and scales per group."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

awq_gemm = source("awq.modules.triton.gemm")


@trtp.register("corpus::awq_dequantize")
def awq_dequantize_desc(qweight: TensorDesc, scales: TensorDesc, zeros: TensorDesc, group: int) -> TensorDesc:
    return trtp.from_shape_expr((qweight.shape_expr[0], qweight.shape_expr[1] * 8), dtype=scales.dtype)


@trtp.aot_impl("corpus::awq_dequantize")
def awq_dequantize_aot(
    qweight: TensorDesc, scales: TensorDesc, zeros: TensorDesc, group: int, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = qweight.shape_expr
    return aot_kernel(
        awq_gemm.awq_dequantize_kernel,
        qweight_ptr=qweight,
        scales_ptr=scales,
        zeros_ptr=zeros,
        group_size=group,
        result_ptr=outputs[0],
        num_cols=cols,
        num_rows=rows,
        BLOCK_SIZE_X=32,
        BLOCK_SIZE_Y=32,
        grid=(trtp.cdiv(cols, 32), trtp.cdiv(rows, 32)),
    )


ORDER = np.array([0, 4, 1, 5, 2, 6, 3, 7])


def unpacked(words):
    return (
        ((words[..., None].view(np.uint32) >> (ORDER * 4).astype(np.uint32)) & 15)
        .reshape(len(words), -1)
        .astype(np.float32)
    )


def reference(qweight, scales, zeros, group):
    return (unpacked(qweight) - np.repeat(unpacked(zeros), group, 0)) * np.repeat(scales.astype(np.float32), group, 0)


RECIPE = Recipe(
    name="awq_dequantize",
    plugin="corpus::awq_dequantize",
    summary="AutoAWQ's int4 dequantization: eight values in an int32, zeros and scales per group",
    inputs=(
        Input(name="qweight", shape=(128, 16), dims=("K", "N8"), dtypes=("int32",)),
        Input(name="scales", shape=(2, 128), dims=("G", "N")),
        Input(name="zeros", shape=(2, 16), dims=("G", "N8"), dtypes=("int32",)),
    ),
    dtypes=("fp32", "fp16"),
    reference=reference,
    attributes={"group": 64},
    tolerance={"fp16": Tolerance(rtol=1e-3)},
)
