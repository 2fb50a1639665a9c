# SPDX-License-Identifier: Apache-2.0
"""Liger's dynamic tanh: `triton.autotune` over three block sizes, libdevice, a grid of two dimensions."""

from typing import List, Tuple

import numpy as np
import triton
from liger_kernel.ops.dyt import _dyt_fwd_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, tactics_of

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_dyt")
def liger_dyt_desc(x: TensorDesc, alpha: TensorDesc, gamma: TensorDesc, beta: TensorDesc) -> TensorDesc:
    return x.like()


@trtp.autotune("corpus::liger_dyt")
def liger_dyt_autotune(
    x: TensorDesc, alpha: TensorDesc, gamma: TensorDesc, beta: TensorDesc, outputs: Tuple[TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32, FP32, FP32, FP32", "LINEAR", tactics_of(_dyt_fwd_kernel))]


@trtp.aot_impl("corpus::liger_dyt")
def liger_dyt_aot(
    x: TensorDesc, alpha: TensorDesc, gamma: TensorDesc, beta: TensorDesc, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _dyt_fwd_kernel,
        config=tactic,
        X=x,
        Y=outputs[0],
        Alpha=alpha,
        Gamma=gamma,
        Beta=beta,
        HAVE_BETA=True,
        N=cols,
        grid=lambda meta: (triton.cdiv(cols, meta["BLOCK_N"]), rows),
    )


def reference(x, alpha, gamma, beta):
    x, alpha, gamma, beta = (t.astype(np.float64) for t in (x, alpha, gamma, beta))
    return np.tanh(alpha * x) * gamma + beta


RECIPE = Recipe(
    name="liger_dyt",
    plugin="corpus::liger_dyt",
    summary="Liger's dynamic tanh: `triton.autotune` over three block sizes, libdevice, a grid of two dimensions",
    inputs=(
        Input(name="x", shape=(4, 1500), dims=("M", "N")),
        Input(name="alpha", shape=(1,), dims=("one",)),
        Input(name="gamma", shape=(1500,), dims=("N",)),
        Input(name="beta", shape=(1500,), dims=("N",)),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
