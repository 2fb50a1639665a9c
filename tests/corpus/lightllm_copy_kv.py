# SPDX-License-Identifier: Apache-2.0
"""LightLLM's write of keys to places in a cache: in place, no mask on the head's dimension."""

from typing import Tuple

import triton
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

copy = source("lightllm.common.basemodel.triton_kernel.destindex_copy_kv")


@trtp.register("corpus::lightllm_copy_kv")
def lightllm_copy_kv_desc(k: TensorDesc, places: TensorDesc, cache: TensorDesc) -> TensorDesc:
    return cache.aliased()


@trtp.aot_impl("corpus::lightllm_copy_kv")
def lightllm_copy_kv_aot(
    k: TensorDesc, places: TensorDesc, cache: TensorDesc, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    tokens, heads, dim = k.shape_expr
    return aot_kernel(
        copy._fwd_kernel_destindex_copy_kv,
        K=k,
        Dest_loc=places,
        Out=cache,
        stride_k_bs=heads * dim,
        stride_k_h=dim,
        stride_k_d=1,
        stride_o_bs=heads * dim,
        stride_o_h=dim,
        stride_o_d=1,
        head_num=heads,
        BLOCK_DMODEL=dim,
        BLOCK_HEAD=triton.next_power_of_2(heads),
        grid=tokens,
    )


def reference(k, places, cache):
    cache = cache.copy()
    cache[places] = k
    return cache


RECIPE = Recipe(
    name="lightllm_copy_kv",
    plugin="corpus::lightllm_copy_kv",
    summary="LightLLM's write of keys to places in a cache: in place, no mask on the head's dimension",
    inputs=(
        Input(name="k", shape=(6, 3, 32), dims=("T", "H", "D")),
        Input(
            name="places",
            shape=(6,),
            dims=("T",),
            dtypes=("int32", "int64"),
            data=lambda rng, shape, inputs, dtype: rng.permutation(max(20, shape[0]))[: shape[0]],
        ),
        Input(name="cache", shape=(20, 3, 32), dims=("P", "H", "D")),
    ),
    dtypes=("fp32", "fp16"),
    reference=reference,
    dynamic=("T",),
)
