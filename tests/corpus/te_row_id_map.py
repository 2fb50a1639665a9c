# SPDX-License-Identifier: Apache-2.0
"""Transformer Engine's order of a token's experts: a bitonic argsort with a constexpr function, in place."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

perm = source("transformer_engine.common.triton.permutation")


@trtp.register("corpus::te_row_id_map")
def te_row_id_map_desc(row_id_map: TensorDesc, experts: int) -> TensorDesc:
    return row_id_map.aliased()


@trtp.aot_impl("corpus::te_row_id_map")
def te_row_id_map_aot(row_id_map: TensorDesc, experts: int, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    t, w = row_id_map.shape_expr
    return aot_kernel(
        perm._row_id_map_pass_3_kernel,
        row_id_map_ptr=row_id_map,
        stride_row_id_map_token=w,
        stride_row_id_map_expert=1,
        num_experts=experts,
        LOAD_SIZE=triton.next_power_of_2(experts),
        grid=t,
    )


def reference(row_id_map, experts):
    out = row_id_map.copy()
    for r in out:
        v = r[:experts].copy()
        order = np.argsort(-v, kind="stable")
        n = int((v != -1).sum())
        r[:n] = v[order[:n]]
        r[experts : experts + n] = order[:n]
        r[2 * experts] = n
    return out


def data(rng, shape, inputs, dtype):
    t, w = shape
    e = (w - 1) // 2
    out = np.full(shape, -7, np.int32)
    for r in range(t):
        ids = rng.permutation(1000)[:e]
        out[r, :e] = np.where(rng.random(e) < 0.5, ids, -1)
    return out


RECIPE = Recipe(
    name="te_row_id_map",
    plugin="corpus::te_row_id_map",
    summary="Transformer Engine's order of a token's experts: a bitonic argsort with a constexpr function, in place",
    inputs=(Input(name="row_id_map", shape=(10, 13), dims=("T", "W"), data=data),),
    dtypes=("int32",),
    reference=reference,
    attributes={"experts": 6},
    dynamic=("T",),
)
