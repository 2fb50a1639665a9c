# SPDX-License-Identifier: Apache-2.0
"""Flashlib's histograms of a random forest: `tl.histogram`, uint8 bins, a loop between offsets."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, aot_kernel, constant

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

kernels = source("flashlib.primitives.random_forest.triton.rf_kernels")


@trtp.register("corpus::flashlib_histogram")
def flashlib_histogram_desc(
    xbin: TensorDesc, y: TensorDesc, perm: TensorDesc, offsets: TensorDesc, feat: TensorDesc, hist: TensorDesc
) -> TensorDesc:
    return hist.aliased()


@trtp.aot_impl("corpus::flashlib_histogram")
def flashlib_histogram_aot(
    xbin: TensorDesc,
    y: TensorDesc,
    perm: TensorDesc,
    offsets: TensorDesc,
    feat: TensorDesc,
    hist: TensorDesc,
    outputs: Tuple[TensorDesc],
    tactic: int,
) -> AotKernel:
    _, d = xbin.shape_expr
    nodes, s = feat.shape_expr
    bins, k = hist.shape_expr[2:]
    nbk = constant(bins) * constant(k)
    return aot_kernel(
        kernels._ranged_subfeat_hist_kernel,
        X_BIN_ptr=xbin,
        Y_ptr=y,
        ROW_PERM_ptr=perm,
        NODE_OFFSETS_ptr=offsets,
        FEAT_IDX_ptr=feat,
        HIST_ptr=hist,
        D=d,
        n_feat_per_split=s,
        N_BINS=bins,
        K=k,
        NBK=nbk,
        NBK_PADDED=triton.next_power_of_2(nbk + 1),
        BLOCK_S=32,
        grid=(nodes, s),
    )


def reference(xbin, y, perm, offsets, feat, hist):
    out = hist.astype(np.float64).copy()
    for n in range(len(feat)):
        for j, f in enumerate(feat[n]):
            for r in perm[offsets[n] : offsets[n + 1]]:
                out[n, j, xbin[r, f], y[r]] += 1
    return out


RECIPE = Recipe(
    name="flashlib_histogram",
    plugin="corpus::flashlib_histogram",
    summary="Flashlib's histograms of a random forest: `tl.histogram`, uint8 bins, a loop between offsets",
    inputs=(
        Input(name="xbin", shape=(70, 6), dims=("N", "D"), dtypes=("uint8",), limits=(0, 7)),
        Input(name="label", shape=(70,), dims=("N",), dtypes=("int32",), limits=(0, 2)),
        Input(
            name="perm",
            shape=(70,),
            dims=("N",),
            dtypes=("int32",),
            data=lambda rng, shape, inputs, dtype: rng.permutation(shape[0]).astype(dtype),
        ),
        Input(
            name="offsets",
            shape=(4,),
            dims=("P1",),
            dtypes=("int32",),
            data=lambda rng, shape, inputs, dtype: np.sort(rng.integers(0, len(inputs["label"]) + 1, shape)).astype(
                dtype
            ),
        ),
        Input(name="feat", shape=(3, 2), dims=("P", "S"), dtypes=("int32",), limits=(0, 5)),
        Input(name="hist", shape=(3, 2, 8, 3), dims=("P", "S", "B", "K"), choices=(0.0,)),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("N",),
)
