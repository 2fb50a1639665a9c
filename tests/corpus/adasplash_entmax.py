# SPDX-License-Identifier: Apache-2.0
"""AdaSplash's entmax: autotuned, Halley's iteration to a fixed count."""

from typing import List, Tuple

import numpy as np
from adasplash.triton_entmax import _fwd_entmax

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, tactics_of

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::adasplash_entmax")
def adasplash_entmax_desc(x: TensorDesc, alpha: float) -> TensorDesc:
    return x.like()


@trtp.autotune("corpus::adasplash_entmax")
def adasplash_entmax_autotune(x: TensorDesc, outputs: Tuple[TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32", "LINEAR", tactics_of(_fwd_entmax))]


@trtp.aot_impl("corpus::adasplash_entmax")
def adasplash_entmax_aot(x: TensorDesc, alpha: float, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        _fwd_entmax, config=tactic, X=x, Y=outputs[0], ALPHA=alpha, N_ITER=12, SIZE_N=cols, FAST_MATH=False, grid=rows
    )


def reference(x, alpha):
    z = x.astype(np.float64) * (alpha - 1)
    low, high = z.max(-1, keepdims=True) - 1, z.max(-1, keepdims=True)
    for _ in range(80):
        tau = (low + high) / 2
        more = (np.maximum(z - tau, 0) ** (1 / (alpha - 1))).sum(-1, keepdims=True) > 1
        low, high = np.where(more, tau, low), np.where(more, high, tau)
    return np.maximum(z - low, 0) ** (1 / (alpha - 1))


RECIPE = Recipe(
    name="adasplash_entmax",
    plugin="corpus::adasplash_entmax",
    summary="AdaSplash's entmax: autotuned, Halley's iteration to a fixed count",
    inputs=(Input(name="x", shape=(4, 100), dims=("M", "N")),),
    dtypes=("fp32",),
    reference=reference,
    attributes={"alpha": 1.5},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-3, atol=1e-5)},
    ordinary="a row with an infinity has no threshold",
)
