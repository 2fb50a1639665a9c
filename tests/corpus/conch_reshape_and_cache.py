# SPDX-License-Identifier: Apache-2.0
"""Conch's write into a paged KV cache: slots, two caches in place, `tl.int64` parameters."""

from typing import Tuple

import numpy as np
import triton
from conch.kernels.vllm.reshape_and_cache import _reshape_and_cache_kernel

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::conch_reshape_and_cache")
def conch_reshape_and_cache_desc(
    k: TensorDesc, v: TensorDesc, k_cache: TensorDesc, v_cache: TensorDesc, slots: TensorDesc
) -> Tuple[TensorDesc, TensorDesc]:
    return k_cache.aliased(), v_cache.aliased()


@trtp.aot_impl("corpus::conch_reshape_and_cache")
def conch_reshape_and_cache_aot(
    k: TensorDesc,
    v: TensorDesc,
    k_cache: TensorDesc,
    v_cache: TensorDesc,
    slots: TensorDesc,
    outputs: Tuple[TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    tokens, heads, size = k.shape_expr
    _, page, _, _ = k_cache.shape_expr
    return aot_kernel(
        _reshape_and_cache_kernel,
        key_ptr=k,
        value_ptr=v,
        key_cache_ptr=k_cache,
        value_cache_ptr=v_cache,
        slot_mapping_ptr=slots,
        k_scale_ptr=None,
        v_scale_ptr=None,
        head_size=size,
        cache_block_size=page,
        kv_token_stride=heads * size,
        kv_head_stride=size,
        kv_cache_page_stride=page * heads * size,
        kv_cache_block_stride=heads * size,
        kv_cache_head_stride=size,
        cxpr_head_size_padded=triton.next_power_of_2(size),
        cxpr_apply_fp8_scaling=False,
        grid=(tokens, heads),
    )


def reference(k, v, k_cache, v_cache, slots):
    k_cache, v_cache, keep = k_cache.copy(), v_cache.copy(), slots >= 0
    for new, cache in ((k, k_cache), (v, v_cache)):
        cache.reshape(-1, *cache.shape[2:])[slots[keep]] = new[keep]
    return k_cache, v_cache


def some_slots(rng, shape, inputs, dtype):
    pages, page = inputs["k_cache"].shape[:2]
    return np.where(rng.random(shape) < 0.25, -1, rng.permutation(pages * page)[: shape[0]])


RECIPE = Recipe(
    name="conch_reshape_and_cache",
    plugin="corpus::conch_reshape_and_cache",
    summary="Conch's write into a paged KV cache: slots, two caches in place, `tl.int64` parameters",
    inputs=(
        Input(name="k", shape=(6, 2, 40), dims=("T", "H", "D")),
        Input(name="v", shape=(6, 2, 40), dims=("T", "H", "D")),
        Input(name="k_cache", shape=(5, 4, 2, 40), dims=("P", "B", "H", "D")),
        Input(name="v_cache", shape=(5, 4, 2, 40), dims=("P", "B", "H", "D")),
        Input(name="slots", shape=(6,), dims=("T",), dtypes=("int64", "int32"), data=some_slots),
    ),
    dtypes=("fp32", "fp16"),
    reference=reference,
    dynamic=("T",),
)
