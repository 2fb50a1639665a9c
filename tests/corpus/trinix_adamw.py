# SPDX-License-Identifier: Apache-2.0
"""Trinix' AdamW step: three tensors in place, eight scalars."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

adamw = source("trinix.kernels.adamw_kernel")


@trtp.register("corpus::trinix_adamw")
def trinix_adamw_desc(
    params: TensorDesc, grads: TensorDesc, exp_avg: TensorDesc, exp_avg_sq: TensorDesc, lr: float, decay: float
) -> Tuple[TensorDesc, TensorDesc, TensorDesc]:
    return params.aliased(), exp_avg.aliased(), exp_avg_sq.aliased()


@trtp.aot_impl("corpus::trinix_adamw")
def trinix_adamw_aot(
    params: TensorDesc,
    grads: TensorDesc,
    exp_avg: TensorDesc,
    exp_avg_sq: TensorDesc,
    lr: float,
    decay: float,
    outputs: Tuple[TensorDesc, TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    n = params.shape_expr[0]
    return aot_kernel(
        adamw.fused_adamw_kernel,
        params_ptr=params,
        grads_ptr=grads,
        exp_avg_ptr=exp_avg,
        exp_avg_sq_ptr=exp_avg_sq,
        lr=lr,
        beta1=0.9,
        beta2=0.999,
        eps=1e-8,
        weight_decay=decay,
        step=3,
        bias_correction1=1 - 0.9**3,
        bias_correction2=1 - 0.999**3,
        n_elements=n,
        BLOCK_SIZE=256,
        grid=trtp.cdiv(n, 256),
    )


def reference(params, grads, exp_avg, exp_avg_sq, lr, decay):
    p, g, m, v = (t.astype(np.float64) for t in (params, grads, exp_avg, exp_avg_sq))
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return p * (1 - lr * decay) - lr * (m / (1 - 0.9**3)) / (np.sqrt(v / (1 - 0.999**3)) + 1e-8), m, v


RECIPE = Recipe(
    name="trinix_adamw",
    plugin="corpus::trinix_adamw",
    summary="Trinix' AdamW step: three tensors in place, eight scalars",
    inputs=(
        Input(name="params", shape=(1000,), dims=("N",)),
        Input(name="grads", shape=(1000,), dims=("N",)),
        Input(name="exp_avg", shape=(1000,), dims=("N",)),
        Input(name="exp_avg_sq", shape=(1000,), dims=("N",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"lr": 1e-3, "decay": 0.01},
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-6)},
)
