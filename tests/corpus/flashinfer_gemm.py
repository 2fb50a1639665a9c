# SPDX-License-Identifier: Apache-2.0
"""FlashInfer's matrix product: autotuned, many configs above 48 KiB, a sum in place."""

from typing import List, Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, tactics_of

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

gemm = source("flashinfer.triton.kernels.sm_constraint_gemm")


@trtp.register("corpus::flashinfer_gemm")
def flashinfer_gemm_desc(a: TensorDesc, b: TensorDesc, c: TensorDesc, alpha: float, beta: float) -> TensorDesc:
    return c.aliased()


@trtp.autotune("corpus::flashinfer_gemm")
def flashinfer_gemm_autotune(
    a: TensorDesc, b: TensorDesc, c: TensorDesc, outputs: Tuple[TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP16, FP16, FP16, FP16", "LINEAR", tactics_of(gemm.gemm_kernel))]


@trtp.aot_impl("corpus::flashinfer_gemm")
def flashinfer_gemm_aot(
    a: TensorDesc, b: TensorDesc, c: TensorDesc, alpha: float, beta: float, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    m, k = a.shape_expr
    n = b.shape_expr[1]
    return aot_kernel(
        gemm.gemm_kernel,
        config=tactic,
        a_ptr=a,
        b_ptr=b,
        c_ptr=c,
        M=m,
        N=n,
        K=k,
        stride_am=k,
        stride_ak=1,
        stride_bk=n,
        stride_bn=1,
        stride_cm=n,
        stride_cn=1,
        alpha=alpha,
        beta=beta,
        grid=lambda meta: (trtp.cdiv(m, meta["BLOCK_SIZE_M"]) * trtp.cdiv(n, meta["BLOCK_SIZE_N"]),),
    )


RECIPE = Recipe(
    name="flashinfer_gemm",
    plugin="corpus::flashinfer_gemm",
    summary="FlashInfer's matrix product: autotuned, many configs above 48 KiB, a sum in place",
    inputs=(
        Input(name="a", shape=(70, 50), dims=("M", "K")),
        Input(name="b", shape=(50, 60), dims=("K", "N")),
        Input(name="c", shape=(70, 60), dims=("M", "N")),
    ),
    dtypes=("fp16",),
    reference=lambda a, b, c, alpha, beta: (
        alpha * (a.astype(np.float64) @ b.astype(np.float64)) + beta * c.astype(np.float64)
    ),
    attributes={"alpha": 1.0, "beta": 0.5},
    dynamic=("M",),
    tolerance={"fp16": Tolerance(rtol=1e-2, atol=1e-2)},
)
