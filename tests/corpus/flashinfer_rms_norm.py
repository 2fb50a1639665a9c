# SPDX-License-Identifier: Apache-2.0
"""FlashInfer's RMSNorm with a residual: in place, five flags."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

norm = source("flashinfer.triton.kernels.norm")


@trtp.register("corpus::flashinfer_rms_norm")
def flashinfer_rms_norm_desc(x: TensorDesc, r: TensorDesc, w: TensorDesc, eps: float) -> Tuple[TensorDesc, TensorDesc]:
    return x.like(), r.aliased()


@trtp.aot_impl("corpus::flashinfer_rms_norm")
def flashinfer_rms_norm_aot(
    x: TensorDesc, r: TensorDesc, w: TensorDesc, eps: float, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        norm.rms_norm_kernel,
        n=cols,
        b=rows,
        x_ptr=x,
        x_stride=cols,
        x_scale_ptr=None,
        r_ptr=r,
        r_stride=cols,
        w_ptr=w,
        o_ptr=outputs[0],
        o_stride=cols,
        o_scale_ptr=None,
        EPS=eps,
        BLOCK_SIZE=128,
        HAS_IN_SCALE=False,
        HAS_OUT_SCALE=False,
        HAS_OUTPUT=True,
        HAS_RESIDUAL=True,
        grid=rows,
    )


def reference(x, r, w, eps):
    total = x + r
    s = total.astype(np.float64)
    return s / np.sqrt((s**2).mean(-1, keepdims=True) + eps) * w, total


RECIPE = Recipe(
    name="flashinfer_rms_norm",
    plugin="corpus::flashinfer_rms_norm",
    summary="FlashInfer's RMSNorm with a residual: in place, five flags",
    inputs=(
        Input(name="x", shape=(5, 300), dims=("M", "N")),
        Input(name="r", shape=(5, 300), dims=("M", "N")),
        Input(name="w", shape=(300,), dims=("N",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"eps": 1e-6},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
