# SPDX-License-Identifier: Apache-2.0
"""Conch's rotary embedding: positions, `tl.const` pointers, queries and keys in place."""

from typing import Tuple

import numpy as np
from conch.kernels.embedding.rotary_embedding import _rotary_embedding_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::conch_rotary_embedding")
def conch_rotary_embedding_desc(
    positions: TensorDesc, q: TensorDesc, k: TensorDesc, cache: TensorDesc
) -> Tuple[TensorDesc, TensorDesc]:
    return q.aliased(), k.aliased()


@trtp.aot_impl("corpus::conch_rotary_embedding")
def conch_rotary_embedding_aot(
    positions: TensorDesc,
    q: TensorDesc,
    k: TensorDesc,
    cache: TensorDesc,
    outputs: Tuple[TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    tokens, width = q.shape_expr
    head = cache.shape_expr[1]
    kv_width = k.shape_expr[1]
    return aot_kernel(
        _rotary_embedding_kernel,
        positions_ptr=positions,
        query_ptr=q,
        key_ptr=k,
        cos_sin_cache_ptr=cache,
        rot_dim=head,
        query_stride=width,
        key_stride=kv_width,
        num_heads=width // head,
        num_kv_heads=kv_width // head,
        head_size=head,
        cxpr_block_size=64,
        grid=tokens,
    )


def reference(positions, q, k, cache):
    cos, sin = np.split(cache.astype(np.float64)[positions][:, None], 2, -1)

    def turn(x):
        a, b = np.split(x.astype(np.float64).reshape(len(x), -1, cache.shape[1]), 2, -1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1).reshape(x.shape)

    return turn(q), turn(k)


RECIPE = Recipe(
    name="conch_rotary_embedding",
    plugin="corpus::conch_rotary_embedding",
    summary="Conch's rotary embedding: positions, `tl.const` pointers, queries and keys in place",
    inputs=(
        Input(name="positions", shape=(7,), dims=("T",), dtypes=("int64", "int32"), limits=(0, 39)),
        Input(name="q", shape=(7, 128), dims=("T", "Q")),
        Input(name="k", shape=(7, 64), dims=("T", "K")),
        Input(name="cache", shape=(40, 32), dims=("P", "D")),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("T",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
