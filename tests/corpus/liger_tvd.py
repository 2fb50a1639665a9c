# SPDX-License-Identifier: Apache-2.0
"""Liger's total variation distance with labels to ignore: early return."""

from typing import Tuple

import numpy as np
from liger_kernel.ops.tvd import _tv_distance_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_tvd")
def liger_tvd_desc(p: TensorDesc, q: TensorDesc, labels: TensorDesc, scale: float) -> Tuple[TensorDesc, TensorDesc]:
    return p.like(), p.like()


@trtp.aot_impl("corpus::liger_tvd")
def liger_tvd_aot(
    p: TensorDesc, q: TensorDesc, labels: TensorDesc, scale: float, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = p.shape_expr
    return aot_kernel(
        _tv_distance_kernel,
        p_ptr=p,
        p_stride=cols,
        q_ptr=q,
        q_stride=cols,
        loss_ptr=outputs[0],
        loss_stride=cols,
        grads_ptr=outputs[1],
        grads_stride=cols,
        label_ptr=labels,
        ignore_index=-100,
        n_cols=cols,
        scale=scale,
        BLOCK_SIZE=128,
        HAS_LABEL=True,
        reduction=0,
        grid=rows,
    )


def reference(p, q, labels, scale):
    keep = (labels != -100)[:, None]
    p, q = p.astype(np.float64), q.astype(np.float64)
    return np.where(keep, np.abs(p - q) / 2, 0), np.where(keep, np.where(p > q, scale, -scale) / 2, 0)


RECIPE = Recipe(
    name="liger_tvd",
    plugin="corpus::liger_tvd",
    summary="Liger's total variation distance with labels to ignore: early return",
    inputs=(
        Input(name="p", shape=(8, 300), dims=("M", "N")),
        Input(name="q", shape=(8, 300), dims=("M", "N")),
        Input(name="labels", shape=(8,), dims=("M",), dtypes=("int64",), choices=(-100, 1)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"scale": 0.25},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
