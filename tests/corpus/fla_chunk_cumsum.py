# SPDX-License-Identifier: Apache-2.0
"""flash-linear-attention's cumulative sum in chunks, strided by heads."""

from typing import List, Tuple

import numpy as np
from corpus_tools import fla

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, tactics_of

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

cumsum = fla("ops.utils.cumsum")


@trtp.register("corpus::fla_chunk_cumsum")
def fla_chunk_cumsum_desc(s: TensorDesc) -> TensorDesc:
    return s.like()


@trtp.autotune("corpus::fla_chunk_cumsum")
def fla_chunk_cumsum_autotune(s: TensorDesc, outputs: Tuple[TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32", "LINEAR", tactics_of(cumsum.chunk_local_cumsum_scalar_kernel))]


@trtp.aot_impl("corpus::fla_chunk_cumsum")
def fla_chunk_cumsum_aot(s: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    b, t, h = s.shape_expr
    return aot_kernel(
        cumsum.chunk_local_cumsum_scalar_kernel,
        config=tactic,
        s=s,
        o=outputs[0],
        scale=None,
        cu_seqlens=None,
        chunk_indices=None,
        T=t,
        B=b,
        H=h,
        BT=32,
        REVERSE=False,
        grid=trtp.cdiv(t, 32) * (b * h),
    )


def reference(s):
    chunks = [s[:, i : i + 32].astype(np.float64).cumsum(1) for i in range(0, s.shape[1], 32)]
    return np.concatenate(chunks, 1)


RECIPE = Recipe(
    name="fla_chunk_cumsum",
    plugin="corpus::fla_chunk_cumsum",
    summary="flash-linear-attention's cumulative sum in chunks, strided by heads",
    inputs=(Input(name="s", shape=(2, 70, 3), dims=("B", "T", "H")),),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("T",),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-5)},
)
