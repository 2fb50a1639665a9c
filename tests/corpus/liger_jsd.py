# SPDX-License-Identifier: Apache-2.0
"""Liger's Jensen-Shannon divergence: an integer parameter annotated `int` that divides."""

from typing import Tuple

import numpy as np
from liger_kernel.ops.jsd import _jsd_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_jsd")
def liger_jsd_desc(x: TensorDesc, y: TensorDesc, labels: TensorDesc, beta: float) -> Tuple[TensorDesc, TensorDesc]:
    return x.like(), x.like()


@trtp.aot_impl("corpus::liger_jsd")
def liger_jsd_aot(
    x: TensorDesc, y: TensorDesc, labels: TensorDesc, beta: float, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _jsd_kernel,
        X_ptr=x,
        X_stride=cols,
        Y_ptr=y,
        Y_stride=cols,
        loss_ptr=outputs[0],
        loss_stride=cols,
        dX_ptr=outputs[1],
        dX_stride=cols,
        label_ptr=labels,
        beta=beta,
        n_non_ignore=rows,
        ignore_index=-100,
        n_cols=cols,
        BLOCK_SIZE=128,
        HAS_LABEL=False,
        grid=rows,
    )


def reference(x, y, labels, beta):
    x, y = x.astype(np.float64), y.astype(np.float64)
    p, q = beta * np.exp(y), (1 - beta) * np.exp(x)
    log_m = np.log(p + q)
    return (p * (y - log_m) + q * (x - log_m)) / len(x), q * (x - log_m) / len(x)


RECIPE = Recipe(
    name="liger_jsd",
    plugin="corpus::liger_jsd",
    summary="Liger's Jensen-Shannon divergence: an integer parameter annotated `int` that divides",
    inputs=(
        Input(name="x", shape=(8, 300), dims=("M", "N")),
        Input(name="y", shape=(8, 300), dims=("M", "N")),
        Input(name="labels", shape=(8,), dims=("M",), dtypes=("int64",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"beta": 0.5},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-6)},
    ordinary="log-probabilities are finite",
)
