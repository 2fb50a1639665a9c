# SPDX-License-Identifier: Apache-2.0
"""SageAttention's causal attention of int8 queries and keys: `tl.dot` of int8, two stages in a helper."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, constant

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

kernels = source("sageattention.attn_qk_int8_per_block_causal")


@trtp.register("corpus::sage_attention")
def sage_attention_desc(q: TensorDesc, k: TensorDesc, v: TensorDesc, qs: TensorDesc, ks: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr(q.shape_expr, dtype=trt.float16)


@trtp.aot_impl("corpus::sage_attention")
def sage_attention_aot(
    q: TensorDesc, k: TensorDesc, v: TensorDesc, qs: TensorDesc, ks: TensorDesc, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    b, h, n, d = q.shape_expr
    hk, nk = k.shape_expr[1:3]
    return aot_kernel(
        kernels._attn_fwd,
        Q=q,
        K=k,
        V=v,
        Q_scale=qs,
        K_scale=ks,
        Out=outputs[0],
        stride_qz=h * n * d,
        stride_qh=n * d,
        stride_qn=d,
        stride_kz=hk * nk * d,
        stride_kh=nk * d,
        stride_kn=d,
        stride_vz=hk * nk * d,
        stride_vh=nk * d,
        stride_vn=d,
        stride_oz=h * n * d,
        stride_oh=n * d,
        stride_on=d,
        qo_len=n,
        kv_len=nk,
        H=h,
        num_kv_groups=constant(h) // constant(hk),
        HEAD_DIM=d,
        BLOCK_M=64,
        BLOCK_N=32,
        STAGE=3,
        num_warps=4,
        num_stages=2,
        grid=(trtp.cdiv(n, 64), h, b),
    )


def reference(q, k, v, qs, ks):
    h, n = q.shape[1:3]
    hk = k.shape[1]
    r = h // hk
    k, v, ks = (np.repeat(x, r, 1) for x in (k, v, ks))
    s = q.astype(np.float64) @ k.astype(np.float64).swapaxes(2, 3)
    s *= np.repeat(qs[..., 0], 64, 2)[:, :, :n, None].astype(np.float64) * np.repeat(ks[..., 0], 32, 2)[
        :, :, None, :n
    ].astype(np.float64)
    s = np.where(np.tril(np.ones((n, n), bool)), s, -np.inf)
    p = np.exp2(s - s.max(-1, keepdims=True))
    return (p / p.sum(-1, keepdims=True)) @ v.astype(np.float64)


RECIPE = Recipe(
    name="sage_attention",
    plugin="corpus::sage_attention",
    summary="SageAttention's causal attention of int8 queries and keys: `tl.dot` of int8, two stages in a helper",
    inputs=(
        Input(name="q", shape=(1, 2, 100, 32), dims=("B", "H", "N", "D"), dtypes=("int8",), limits="any"),
        Input(name="k", shape=(1, 1, 100, 32), dims=("B", "HK", "N", "D"), dtypes=("int8",), limits="any"),
        Input(
            name="v",
            shape=(1, 1, 100, 32),
            dims=("B", "HK", "N", "D"),
            dtypes=("fp16",),
            ordinary="masked with a product",
        ),
        Input(name="qs", shape=(1, 2, 2, 1), dims=("B", "H", "NQ", "ONE"), dtypes=("fp32",), limits=(0.01, 0.02)),
        Input(name="ks", shape=(1, 1, 4, 1), dims=("B", "HK", "NK", "ONE"), dtypes=("fp32",), limits=(0.01, 0.02)),
    ),
    dtypes=("fp16",),
    reference=reference,
    dynamic=("B",),
    tolerance={"fp16": Tolerance(rtol=1e-2, atol=1e-2)},
)
