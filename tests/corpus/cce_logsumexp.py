# SPDX-License-Identifier: Apache-2.0
"""Cut cross-entropy's logsumexp without logits: `tl.dot`, and a lock that programs wait for."""

from typing import Tuple

import numpy as np
from cut_cross_entropy.cce_lse_forward import _cce_lse_forward_kernel as K

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::cce_logsumexp")
def cce_logsumexp_desc(
    e: TensorDesc, c: TensorDesc, lse: TensorDesc, locks: TensorDesc
) -> Tuple[TensorDesc, TensorDesc]:
    return lse.aliased(), locks.aliased()


@trtp.aot_impl("corpus::cce_logsumexp")
def cce_logsumexp_aot(
    e: TensorDesc,
    c: TensorDesc,
    lse: TensorDesc,
    locks: TensorDesc,
    outputs: Tuple[TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    b, d = e.shape_expr
    v = c.shape_expr[0]
    return aot_kernel(
        K,
        E=e,
        C=c,
        LSE=lse,
        LA=None,
        Locks=locks,
        Valids=None,
        softcap=None,
        B=b,
        V=v,
        D=d,
        stride_eb=d,
        stride_ed=1,
        stride_cv=d,
        stride_cd=1,
        stride_lse_b=1,
        stride_vb=1,
        num_locks=locks.shape_expr[0],
        B_BIN=128,
        BLOCK_B=64,
        BLOCK_V=64,
        BLOCK_D=32,
        num_warps=4,
        num_stages=2,
        grid=lambda meta: (trtp.cdiv(b, meta["BLOCK_B"]) * trtp.cdiv(v, meta["BLOCK_V"]),),
    )


def reference(e, c, lse, locks):
    x = e.astype(np.float64) @ c.astype(np.float64).T
    m = x.max(1, keepdims=True)
    return np.log(np.exp(x - m).sum(1)) + m[:, 0], locks


RECIPE = Recipe(
    name="cce_logsumexp",
    plugin="corpus::cce_logsumexp",
    summary="Cut cross-entropy's logsumexp without logits: `tl.dot`, and a lock that programs wait for",
    inputs=(
        Input(name="e", shape=(150, 70), dims=("B", "D")),
        Input(name="c", shape=(300, 70), dims=("V", "D")),
        Input(name="lse", shape=(150,), dims=("B",), choices=(-np.inf,), dtypes=("fp32",)),
        Input(name="locks", shape=(2,), dims=("L",), dtypes=("int32",), choices=(0,)),
    ),
    dtypes=("fp32", "fp16"),
    reference=reference,
    dynamic=("V",),
    tolerance={"fp32": Tolerance(rtol=1e-2, atol=1e-2), "fp16": Tolerance(rtol=1e-2, atol=1e-2)},
)
