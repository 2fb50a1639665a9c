# SPDX-License-Identifier: Apache-2.0
"""flash-linear-attention's mean of chunks: heuristics, autotuner, optional tensors that are None."""

from typing import List, Tuple

import numpy as np
import triton
from corpus_tools import fla

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, tactics_of

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

pooling = fla("ops.utils.pooling")


@trtp.register("corpus::fla_mean_pooling")
def fla_mean_pooling_desc(x: TensorDesc) -> TensorDesc:
    b, t, h, d = x.shape_expr
    return trtp.from_shape_expr((b, trtp.cdiv(t, 16), h, d), dtype=x.dtype)


@trtp.autotune("corpus::fla_mean_pooling")
def fla_mean_pooling_autotune(x: TensorDesc, outputs: Tuple[TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32", "LINEAR", tactics_of(pooling.mean_pooling_fwd_kernel))]


@trtp.aot_impl("corpus::fla_mean_pooling")
def fla_mean_pooling_aot(x: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    b, t, h, d = x.shape_expr
    return aot_kernel(
        pooling.mean_pooling_fwd_kernel,
        config=tactic,
        x=x,
        o=outputs[0],
        cu_seqlens=None,
        chunk_indices=None,
        T=t,
        H=h,
        D=d,
        BT=16,
        grid=lambda meta: (trtp.cdiv(t, 16) * triton.cdiv(d, meta["BD"]), b * h),
    )


def reference(x):
    chunks = [x[:, s : s + 16].astype(np.float64).mean(1) for s in range(0, x.shape[1], 16)]
    return np.stack(chunks, 1)


RECIPE = Recipe(
    name="fla_mean_pooling",
    plugin="corpus::fla_mean_pooling",
    summary="flash-linear-attention's mean of chunks: heuristics, autotuner, optional tensors that are None",
    inputs=(Input(name="x", shape=(2, 40, 2, 50), dims=("B", "T", "H", "D")),),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("B",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
