# SPDX-License-Identifier: Apache-2.0
"""Liger's KL divergence in a loop over blocks of a row, `eps.to(tl.float32)`."""

from typing import Tuple

import numpy as np
from liger_kernel.ops.kl_div import _kldiv_kernel_forward

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_kl_div")
def liger_kl_div_desc(log_p: TensorDesc, truth: TensorDesc, eps: float) -> TensorDesc:
    return truth.like()


@trtp.aot_impl("corpus::liger_kl_div")
def liger_kl_div_aot(
    log_p: TensorDesc, truth: TensorDesc, eps: float, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = truth.shape_expr
    return aot_kernel(
        _kldiv_kernel_forward,
        y_ptr=log_p,
        y_stride=cols,
        gt_ptr=truth,
        gt_stride=cols,
        loss_ptr=outputs[0],
        loss_stride=cols,
        n_cols=cols,
        eps=eps,
        BLOCK_SIZE=128,
        reduction=0,
        log_target=False,
        grid=rows,
    )


def reference(log_p, truth, eps):
    log_p, truth = log_p.astype(np.float64), truth.astype(np.float64)
    return truth * (np.log(np.fmax(truth, eps)) - log_p)


RECIPE = Recipe(
    name="liger_kl_div",
    plugin="corpus::liger_kl_div",
    summary="Liger's KL divergence in a loop over blocks of a row, `eps.to(tl.float32)`",
    inputs=(
        Input(name="log_p", shape=(8, 300), dims=("M", "N")),
        Input(name="truth", shape=(8, 300), dims=("M", "N")),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"eps": 1e-10},
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
