# SPDX-License-Identifier: Apache-2.0
"""torchao's int8 matrix product with block pointers: integer `tl.dot`, int32 result."""

from typing import Tuple

import numpy as np
from torchao.kernel.intmm_triton import matmul_kernel_with_block_pointers

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::torchao_int8_matmul")
def torchao_int8_matmul_desc(a: TensorDesc, b: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((a.shape_expr[0], b.shape_expr[1]), dtype=trt.int32)


@trtp.aot_impl("corpus::torchao_int8_matmul")
def torchao_int8_matmul_aot(a: TensorDesc, b: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    m, k = a.shape_expr
    n = b.shape_expr[1]
    return aot_kernel(
        matmul_kernel_with_block_pointers,
        a_ptr=a,
        b_ptr=b,
        c_ptr=outputs[0],
        M=m,
        N=n,
        K=k,
        stride_am=k,
        stride_ak=1,
        stride_bk=n,
        stride_bn=1,
        stride_cm=n,
        stride_cn=1,
        BLOCK_M=32,
        BLOCK_N=32,
        BLOCK_K=32,
        GROUP_M=2,
        grid=trtp.cdiv(m, 32) * trtp.cdiv(n, 32),
    )


RECIPE = Recipe(
    name="torchao_int8_matmul",
    plugin="corpus::torchao_int8_matmul",
    summary="torchao's int8 matrix product with block pointers: integer `tl.dot`, int32 result",
    inputs=(
        Input(name="a", shape=(50, 80), dims=("M", "K")),
        Input(name="b", shape=(80, 60), dims=("K", "N")),
    ),
    dtypes=("int8",),
    reference=lambda a, b: a.astype(np.int32) @ b.astype(np.int32),
    dynamic=("M",),
)
