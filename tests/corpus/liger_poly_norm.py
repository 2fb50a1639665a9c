# SPDX-License-Identifier: Apache-2.0
"""Liger's PolyNorm: three powers of a row, a weight of three elements."""

from typing import Tuple

import numpy as np
import triton
from liger_kernel.ops.poly_norm import _poly_norm_forward_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_poly_norm")
def liger_poly_norm_desc(x: TensorDesc, w: TensorDesc, b: TensorDesc, eps: float) -> Tuple[TensorDesc, TensorDesc]:
    n = x.shape_expr[0]
    return x.like(), trtp.from_shape_expr((n, n // n * 3), dtype=trt.float32)


@trtp.aot_impl("corpus::liger_poly_norm")
def liger_poly_norm_aot(
    x: TensorDesc, w: TensorDesc, b: TensorDesc, eps: float, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _poly_norm_forward_kernel,
        Y_ptr=outputs[0],
        Y_row_stride=cols,
        X_ptr=x,
        X_row_stride=cols,
        W_ptr=w,
        B_ptr=b,
        RSTD_ptr=outputs[1],
        RSTD_row_stride=3,
        n_cols=cols,
        eps=eps,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        grid=rows,
    )


def reference(x, w, b, eps):
    powers = x.astype(np.float64)[None] ** np.array([3, 2, 1])[:, None, None]
    rstd = 1 / np.sqrt((powers**2).mean(-1) + eps)
    return (powers * rstd[..., None] * w.astype(np.float64)[:, None, None]).sum(0) + b.astype(np.float64), rstd.T


RECIPE = Recipe(
    name="liger_poly_norm",
    plugin="corpus::liger_poly_norm",
    summary="Liger's PolyNorm: three powers of a row, a weight of three elements",
    inputs=(
        Input(name="x", shape=(8, 300), dims=("M", "N")),
        Input(name="w", shape=(3,), dims=("three",)),
        Input(name="b", shape=(1,), dims=("one",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"eps": 1e-6},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-5)},
)
