# SPDX-License-Identifier: Apache-2.0
"""FlashInfer's merge of two attention states: helpers that return tuples, a pointer in an `if`."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

cascade = source("flashinfer.triton.kernels.cascade")


@trtp.register("corpus::flashinfer_merge_state")
def flashinfer_merge_state_desc(
    v_a: TensorDesc, s_a: TensorDesc, v_b: TensorDesc, s_b: TensorDesc
) -> Tuple[TensorDesc, TensorDesc]:
    return v_a.like(), s_a.like()


@trtp.aot_impl("corpus::flashinfer_merge_state")
def flashinfer_merge_state_aot(
    v_a: TensorDesc,
    s_a: TensorDesc,
    v_b: TensorDesc,
    s_b: TensorDesc,
    outputs: Tuple[TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    n, heads, dim = v_a.shape_expr
    return aot_kernel(
        cascade.merge_state_kernel,
        v_a_ptr=v_a,
        s_a_ptr=s_a,
        v_b_ptr=v_b,
        s_b_ptr=s_b,
        v_merged_ptr=outputs[0],
        s_merged_ptr=outputs[1],
        num_heads=heads,
        head_dim=dim,
        bdx=dim,
        bdy=heads,
        grid=n,
    )


def reference(v_a, s_a, v_b, s_b):
    v_a, s_a, v_b, s_b = (t.astype(np.float64) for t in (v_a, s_a, v_b, s_b))
    m = np.maximum(s_a, s_b)
    a, b = np.exp2(s_a - m), np.exp2(s_b - m)
    return (v_a * a[..., None] + v_b * b[..., None]) / (a + b)[..., None], m + np.log2(a + b)


RECIPE = Recipe(
    name="flashinfer_merge_state",
    plugin="corpus::flashinfer_merge_state",
    summary="FlashInfer's merge of two attention states: helpers that return tuples, a pointer in an `if`",
    inputs=(
        Input(name="v_a", shape=(3, 2, 8), dims=("N", "H", "D")),
        Input(name="s_a", shape=(3, 2), dims=("N", "H")),
        Input(name="v_b", shape=(3, 2, 8), dims=("N", "H", "D")),
        Input(name="s_b", shape=(3, 2), dims=("N", "H")),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("N",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
