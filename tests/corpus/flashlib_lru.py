# SPDX-License-Identifier: Apache-2.0
"""Flashlib's LRU cache of slots: one program, `tl.debug_barrier`, do_not_specialize, seven tensors in place."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

kernels = source("flashlib.kernels.slot_cache.triton.lru_ensure")


@trtp.register("corpus::flashlib_lru")
def flashlib_lru_desc(
    query: TensorDesc,
    slot_of_id: TensorDesc,
    id_of_slot: TensorDesc,
    usage: TensorDesc,
    step: TensorDesc,
    src: TensorDesc,
    dst: TensorDesc,
    num: TensorDesc,
) -> Tuple[TensorDesc, TensorDesc, TensorDesc, TensorDesc, TensorDesc, TensorDesc, TensorDesc, TensorDesc]:
    return (
        query.like(),
        slot_of_id.aliased(),
        id_of_slot.aliased(),
        usage.aliased(),
        step.aliased(),
        src.aliased(),
        dst.aliased(),
        num.aliased(),
    )


@trtp.aot_impl("corpus::flashlib_lru")
def flashlib_lru_aot(
    query: TensorDesc,
    slot_of_id: TensorDesc,
    id_of_slot: TensorDesc,
    usage: TensorDesc,
    step: TensorDesc,
    src: TensorDesc,
    dst: TensorDesc,
    num: TensorDesc,
    outputs: Tuple[TensorDesc, TensorDesc, TensorDesc, TensorDesc, TensorDesc, TensorDesc, TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    k = query.shape_expr[0]
    c = usage.shape_expr[0]
    return aot_kernel(
        kernels._lru_ensure_kernel,
        query_ptr=query,
        slot_of_id_ptr=slot_of_id,
        id_of_slot_ptr=id_of_slot,
        lru_usage_ptr=usage,
        lru_step_ptr=step,
        out_ptr=outputs[0],
        src_ptr=src,
        dst_ptr=dst,
        num_copy_ptr=num,
        stats_ptr=None,
        K=k,
        num_cached=c,
        id_base=0,
        BLOCK_K=triton.next_power_of_2(k),
        BLOCK_C=triton.next_power_of_2(c),
        USAGE_MAX=2**31 - 1,
        COLLECT_STATS=False,
        grid=1,
    )


def reference(query, slot_of_id, id_of_slot, usage, step, src, dst, num):
    soi, ios, u, st, sr, ds, nu = (a.copy() for a in (slot_of_id, id_of_slot, usage, step, src, dst, num))
    st[0] += 1
    for q in query:
        if soi[q] >= 0:
            u[soi[q]] = st[0]
    missing = sorted({int(q) for q in query if soi[q] < 0})
    for i, q in enumerate(missing):
        v = int(np.argmin(np.where(u == st[0], 2**31 - 1, u)))
        if ios[v] >= 0:
            soi[ios[v]] = -1
        ios[v] = q
        soi[q] = v
        u[v] = st[0]
        ds[i] = v
        sr[i] = q
    nu[0] = len(missing)
    return soi[query].astype(query.dtype), soi, ios, u, st, sr, ds, nu


I32 = ("int32",)


def ios(rng, shape, inputs, dtype):
    soi = inputs["slot_of_id"]
    out = np.full(shape, -1, dtype)
    for i, s in enumerate(soi):
        if s >= 0:
            out[s] = i
    return out


def soi(rng, shape, inputs, dtype):
    out = np.full(shape, -1, dtype)
    ids = rng.permutation(shape[0])[:30]
    out[ids] = rng.permutation(40)[:30]
    return out


RECIPE = Recipe(
    name="flashlib_lru",
    plugin="corpus::flashlib_lru",
    summary="Flashlib's LRU cache of slots: one program, `tl.debug_barrier`, do_not_specialize, seven tensors in place",
    inputs=(
        Input(name="query", shape=(12,), dims=("K",), dtypes=I32, limits=(0, 99)),
        Input(name="slot_of_id", shape=(100,), dims=("I",), dtypes=I32, data=soi),
        Input(name="id_of_slot", shape=(40,), dims=("C",), dtypes=I32, data=ios),
        Input(
            name="usage",
            shape=(40,),
            dims=("C",),
            dtypes=I32,
            data=lambda rng, shape, inputs, dtype: rng.permutation(shape[0]).astype(dtype),
        ),
        Input(name="step", shape=(1,), dims=("ONE",), dtypes=I32, choices=(77,)),
        Input(name="src", shape=(12,), dims=("K",), dtypes=I32),
        Input(name="dst", shape=(12,), dims=("K",), dtypes=I32),
        Input(name="num", shape=(1,), dims=("ONE",), dtypes=I32),
    ),
    dtypes=("int32",),
    reference=reference,
)
