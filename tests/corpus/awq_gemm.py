# SPDX-License-Identifier: Apache-2.0
"""AutoAWQ's matrix product with int4 weights: `tl.dot`, `tl.interleave`, groups that must stay 64."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

awq_gemm = source("awq.modules.triton.gemm")


@trtp.register("corpus::awq_gemm")
def awq_gemm_desc(x: TensorDesc, qweight: TensorDesc, scales: TensorDesc, zeros: TensorDesc, group: int) -> TensorDesc:
    return trtp.from_shape_expr((x.shape_expr[0], qweight.shape_expr[1] * 8), dtype=scales.dtype)


@trtp.aot_impl("corpus::awq_gemm")
def awq_gemm_aot(
    x: TensorDesc,
    qweight: TensorDesc,
    scales: TensorDesc,
    zeros: TensorDesc,
    group: int,
    outputs: Tuple[TensorDesc],
    tactic: int,
) -> AotKernel:
    m, k = x.shape_expr
    n = scales.shape_expr[1]
    return aot_kernel(
        awq_gemm.awq_gemm_kernel,
        a_ptr=x,
        b_ptr=qweight,
        c_ptr=outputs[0],
        zeros_ptr=zeros,
        scales_ptr=scales,
        M=m,
        N=n,
        K=k,
        group_size=group,
        BLOCK_SIZE_M=32,
        BLOCK_SIZE_N=32,
        BLOCK_SIZE_K=32,
        SPLIT_K=1,
        grid=(trtp.cdiv(m, 32) * trtp.cdiv(n, 32), 1),
    )


ORDER = np.array([0, 4, 1, 5, 2, 6, 3, 7])


def unpacked(words):
    return (
        ((words[..., None].view(np.uint32) >> (ORDER * 4).astype(np.uint32)) & 15)
        .reshape(len(words), -1)
        .astype(np.float64)
    )


def reference(x, qweight, scales, zeros, group):
    w = (unpacked(qweight) - np.repeat(unpacked(zeros), group, 0)) * np.repeat(scales.astype(np.float64), group, 0)
    return x.astype(np.float64) @ w.astype(scales.dtype).astype(np.float64)


RECIPE = Recipe(
    name="awq_gemm",
    plugin="corpus::awq_gemm",
    summary="AutoAWQ's matrix product with int4 weights: `tl.dot`, `tl.interleave`, groups that must stay 64",
    inputs=(
        Input(name="x", shape=(40, 128), dims=("M", "K")),
        Input(name="qweight", shape=(128, 8), dims=("K", "N8"), dtypes=("int32",)),
        Input(name="scales", shape=(2, 64), dims=("G", "N")),
        Input(name="zeros", shape=(2, 8), dims=("G", "N8"), dtypes=("int32",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"group": 64},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=2e-3, atol=5e-2)},  # a GPU rounds fp32 operands of tl.dot to tf32
)
