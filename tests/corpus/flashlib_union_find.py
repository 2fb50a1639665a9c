# SPDX-License-Identifier: Apache-2.0
"""Flashlib's union-find step: compare-and-swap, four early returns, five tensors in place."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

kernels = source("flashlib.kernels.flash_mst.triton.flash_mst")


@trtp.register("corpus::flashlib_union_find")
def flashlib_union_find_desc(
    parent: TensorDesc,
    packed: TensorDesc,
    src: TensorDesc,
    ms: TensorDesc,
    md: TensorDesc,
    mw: TensorDesc,
    count: TensorDesc,
) -> Tuple[TensorDesc, TensorDesc, TensorDesc, TensorDesc, TensorDesc]:
    return parent.aliased(), ms.aliased(), md.aliased(), mw.aliased(), count.aliased()


@trtp.aot_impl("corpus::flashlib_union_find")
def flashlib_union_find_aot(
    parent: TensorDesc,
    packed: TensorDesc,
    src: TensorDesc,
    ms: TensorDesc,
    md: TensorDesc,
    mw: TensorDesc,
    count: TensorDesc,
    outputs: Tuple[TensorDesc, TensorDesc, TensorDesc, TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    n = packed.shape_expr[0]
    return aot_kernel(
        kernels._concurrent_uf_kernel,
        PARENT_ptr=parent,
        OUT_PACKED_ptr=packed,
        OUT_SRC_ptr=src,
        MST_SRC_ptr=ms,
        MST_DST_ptr=md,
        MST_W_ptr=mw,
        EDGE_COUNT_ptr=count,
        n_components=n,
        MAX_FIND=8,
        grid=n,
        num_warps=1,
    )


def reference(parent, packed, src, ms, md, mw, count):
    # one edge alone, so that the order does not matter
    p = parent.copy()
    a, b, c, n = ms.copy(), md.copy(), mw.copy(), count.copy()
    for i in range(len(packed)):
        hi = packed[i] >> 32
        if hi >= 0x7F800000:
            continue
        d = int(packed[i] & 0xFFFFFFFF)
        s = int(src[i])
        rs, rd = s, d
        for _ in range(8):
            rs, rd = p[rs], p[rd]
        if rs == rd:
            continue
        p[max(rs, rd)] = min(rs, rd)
        a[n[0]], b[n[0]], c[n[0]] = s, d, np.int32(hi).view(np.float32)
        n[0] += 1
    return p, a, b, c, n


def packed(rng, shape, inputs, dtype):
    out = np.full(shape, np.int64(0x7F800000) << 32, np.int64)
    k = rng.integers(0, shape[0])
    w = np.float32(rng.random()).view(np.int32)
    out[k] = (np.int64(w) << 32) | rng.integers(0, len(inputs["parent"]))
    return out


I32 = ("int32",)
RECIPE = Recipe(
    name="flashlib_union_find",
    plugin="corpus::flashlib_union_find",
    summary="Flashlib's union-find step: compare-and-swap, four early returns, five tensors in place",
    inputs=(
        Input(
            name="parent",
            shape=(12,),
            dims=("N",),
            dtypes=I32,
            data=lambda rng, shape, inputs, dtype: np.arange(shape[0], dtype=dtype),
        ),
        Input(name="packed", shape=(5,), dims=("C",), dtypes=("int64",), data=packed),
        Input(
            name="src",
            shape=(5,),
            dims=("C",),
            dtypes=I32,
            data=lambda rng, shape, inputs, dtype: rng.integers(0, len(inputs["parent"]), shape).astype(dtype),
        ),
        Input(name="ms", shape=(11,), dims=("E",), dtypes=I32),
        Input(name="md", shape=(11,), dims=("E",), dtypes=I32),
        Input(name="mw", shape=(11,), dims=("E",), dtypes=("fp32",)),
        Input(name="count", shape=(1,), dims=("ONE",), dtypes=I32, choices=(0,)),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("C",),
)
