# SPDX-License-Identifier: Apache-2.0
"""FlagGems' write of latent and rotary parts into one paged cache: slots, in place."""

from typing import Tuple

import numpy as np
from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

mla = gems("fused.concat_and_cache_mla")


@trtp.register("corpus::gems_cache_mla")
def gems_cache_mla_desc(latent: TensorDesc, rotary: TensorDesc, cache: TensorDesc, slots: TensorDesc) -> TensorDesc:
    return cache.aliased()


@trtp.aot_impl("corpus::gems_cache_mla")
def gems_cache_mla_aot(
    latent: TensorDesc,
    rotary: TensorDesc,
    cache: TensorDesc,
    slots: TensorDesc,
    outputs: Tuple[TensorDesc],
    tactic: int,
) -> AotKernel:
    tokens, rank = latent.shape_expr
    dim = rotary.shape_expr[1]
    _, page, entry = cache.shape_expr
    return aot_kernel(
        mla.concat_and_cache_mla_kernel,
        kv_c_ptr=latent,
        k_pe_ptr=rotary,
        kv_cache_ptr=cache,
        slot_mapping_ptr=slots,
        block_stride=page * entry,
        entry_stride=entry,
        kv_c_stride=rank,
        k_pe_stride=dim,
        kv_lora_rank=rank,
        pe_dim=dim,
        block_size=page,
        scale_ptr=None,
        kv_dtype=0,
        BLOCK_SIZE=64,
        grid=tokens,
    )


def reference(latent, rotary, cache, slots):
    cache, keep = cache.copy(), slots >= 0
    cache.reshape(-1, cache.shape[-1])[slots[keep]] = np.concatenate([latent, rotary], -1)[keep]
    return cache


def some_slots(rng, shape, inputs, dtype):
    pages, page = inputs["cache"].shape[:2]
    return np.where(rng.random(shape) < 0.25, -1, rng.permutation(pages * page)[: shape[0]])


RECIPE = Recipe(
    name="gems_cache_mla",
    plugin="corpus::gems_cache_mla",
    summary="FlagGems' write of latent and rotary parts into one paged cache: slots, in place",
    inputs=(
        Input(name="latent", shape=(5, 100), dims=("T", "R")),
        Input(name="rotary", shape=(5, 20), dims=("T", "D")),
        Input(name="cache", shape=(4, 4, 120), dims=("P", "B", "E")),
        Input(name="slots", shape=(5,), dims=("T",), dtypes=("int64",), data=some_slots),
    ),
    dtypes=("fp32", "fp16"),
    reference=reference,
    dynamic=("T",),
)
