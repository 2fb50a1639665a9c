# SPDX-License-Identifier: Apache-2.0
"""unsloth's layer norm."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import unsloth

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

norm = unsloth("layernorm")


@trtp.register("corpus::unsloth_layer_norm")
def unsloth_layer_norm_desc(
    x: TensorDesc, w: TensorDesc, b: TensorDesc, eps: float
) -> Tuple[TensorDesc, TensorDesc, TensorDesc]:
    stat = trtp.from_shape_expr((x.shape_expr[0],), dtype=trt.float32)
    return x.like(), stat, stat.like()


@trtp.aot_impl("corpus::unsloth_layer_norm")
def unsloth_layer_norm_aot(
    x: TensorDesc,
    w: TensorDesc,
    b: TensorDesc,
    eps: float,
    outputs: Tuple[TensorDesc, TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        norm.layernorm_forward,
        Y=outputs[0],
        Y_row_stride=cols,
        X=x,
        X_row_stride=cols,
        W=w,
        b=b,
        r=outputs[1],
        mu=outputs[2],
        n_cols=cols,
        eps=eps,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        grid=rows,
    )


def reference(x, w, b, eps):
    x = x.astype(np.float64)
    mean, rstd = x.mean(-1), 1 / np.sqrt(x.var(-1) + eps)
    return (x - mean[:, None]) * rstd[:, None] * w + b, rstd, mean


RECIPE = Recipe(
    name="unsloth_layer_norm",
    plugin="corpus::unsloth_layer_norm",
    summary="unsloth's layer norm",
    inputs=(
        Input(name="x", shape=(5, 300), dims=("M", "N")),
        Input(name="w", shape=(300,), dims=("N",)),
        Input(name="b", shape=(300,), dims=("N",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"eps": 1e-5},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-5)},
)
