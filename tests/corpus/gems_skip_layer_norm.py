# SPDX-License-Identifier: Apache-2.0
"""FlagGems' layer norm of a sum, with strides of rows and columns."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

skip = gems("fused.skip_layernorm")


@trtp.register("corpus::gems_skip_layer_norm")
def gems_skip_layer_norm_desc(x: TensorDesc, r: TensorDesc, w: TensorDesc, b: TensorDesc, eps: float) -> TensorDesc:
    return x.like()


@trtp.aot_impl("corpus::gems_skip_layer_norm")
def gems_skip_layer_norm_aot(
    x: TensorDesc, r: TensorDesc, w: TensorDesc, b: TensorDesc, eps: float, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        skip.skip_layer_norm_kernel,
        Y=outputs[0],
        X=x,
        R=r,
        W=w,
        B=b,
        y_stride_r=cols,
        y_stride_c=1,
        x_stride_r=cols,
        x_stride_c=1,
        r_stride_r=cols,
        r_stride_c=1,
        N=cols,
        eps=eps,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        grid=rows,
    )


def reference(x, r, w, b, eps):
    s = x.astype(np.float64) + r
    return (s - s.mean(-1, keepdims=True)) / np.sqrt(s.var(-1, keepdims=True) + eps) * w + b


RECIPE = Recipe(
    name="gems_skip_layer_norm",
    plugin="corpus::gems_skip_layer_norm",
    summary="FlagGems' layer norm of a sum, with strides of rows and columns",
    inputs=(
        Input(name="x", shape=(5, 300), dims=("M", "N")),
        Input(name="r", shape=(5, 300), dims=("M", "N")),
        Input(name="w", shape=(300,), dims=("N",)),
        Input(name="b", shape=(300,), dims=("N",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"eps": 1e-5},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-5)},
)
