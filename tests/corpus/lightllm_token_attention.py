# SPDX-License-Identifier: Apache-2.0
"""LightLLM's attention of one token: tables of requests, tokens and lengths; softmax over a loop."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

attention = source("lightllm.models.llama.triton_kernel.token_attention_softmax_and_reducev")


@trtp.register("corpus::lightllm_token_attention")
def lightllm_token_attention_desc(
    logits: TensorDesc, v: TensorDesc, table: TensorDesc, requests: TensorDesc, starts: TensorDesc, lengths: TensorDesc
) -> TensorDesc:
    return trtp.from_shape_expr((requests.shape_expr[0], logits.shape_expr[0], v.shape_expr[2]), dtype=v.dtype)


@trtp.aot_impl("corpus::lightllm_token_attention")
def lightllm_token_attention_aot(
    logits: TensorDesc,
    v: TensorDesc,
    table: TensorDesc,
    requests: TensorDesc,
    starts: TensorDesc,
    lengths: TensorDesc,
    outputs: Tuple[TensorDesc],
    tactic: int,
) -> AotKernel:
    heads, total = logits.shape_expr
    _, kv_heads, dim = v.shape_expr
    batch = requests.shape_expr[0]
    return aot_kernel(
        attention._fwd_kernel,
        Logics=logits,
        V=v,
        Out=outputs[0],
        Req_to_tokens=table,
        B_req_idx=requests,
        B_Start_Loc=starts,
        B_Seqlen=lengths,
        stride_logic_h=total,
        stride_logic_bs=1,
        stride_vbs=kv_heads * dim,
        stride_vh=dim,
        stride_vd=1,
        stride_obs=heads * dim,
        stride_oh=dim,
        stride_od=1,
        stride_req_to_token_b=table.shape_expr[1],
        stride_req_to_token_s=1,
        other_kv_index=0,
        kv_group_num=heads // kv_heads,
        BLOCK_DMODEL=dim,
        BLOCK_N=32,
        grid=(batch, heads),
    )


def reference(logits, v, table, requests, starts, lengths):
    group = len(logits) // v.shape[1]
    out = np.empty((len(requests), len(logits), v.shape[2]))
    for b, (request, start, length) in enumerate(zip(requests, starts, lengths, strict=True)):
        p = np.exp(logits[:, start : start + length].astype(np.float64))
        values = v[table[request, :length]].astype(np.float64).repeat(group, 1)
        out[b] = np.einsum("hn,nhd->hd", p / p.sum(-1, keepdims=True), values)
    return out


RECIPE = Recipe(
    name="lightllm_token_attention",
    plugin="corpus::lightllm_token_attention",
    summary="LightLLM's attention of one token: tables of requests, tokens and lengths; softmax over a loop",
    inputs=(
        Input(name="logits", shape=(4, 60), dims=("H", "T")),
        Input(name="v", shape=(60, 2, 16), dims=("P", "KH", "D")),
        Input(
            name="table",
            shape=(3, 40),
            dims=("R", "S"),
            dtypes=("int32",),
            data=lambda rng, shape, inputs, dtype: rng.integers(0, inputs["v"].shape[0], shape),
        ),
        Input(
            name="requests",
            shape=(2,),
            dims=("B",),
            dtypes=("int32",),
            data=lambda rng, shape, inputs, dtype: rng.permutation(inputs["table"].shape[0])[: shape[0]],
        ),
        Input(
            name="starts",
            shape=(2,),
            dims=("B",),
            dtypes=("int32",),
            data=lambda rng, shape, inputs, dtype: 20 * np.arange(shape[0]),
        ),
        Input(
            name="lengths",
            shape=(2,),
            dims=("B",),
            dtypes=("int32",),
            data=lambda rng, shape, inputs, dtype: rng.integers(1, 41, shape),
        ),
    ),
    dtypes=("fp32",),
    reference=reference,
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
