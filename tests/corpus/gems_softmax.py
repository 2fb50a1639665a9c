# SPDX-License-Identifier: Apache-2.0
"""FlagGems' softmax: heuristics give the tile and the number of warps."""

from typing import Tuple

import numpy as np
from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

softmax = gems("ops.softmax")


@trtp.register("corpus::gems_softmax")
def gems_softmax_desc(x: TensorDesc) -> TensorDesc:
    return x.like()


@trtp.aot_impl("corpus::gems_softmax")
def gems_softmax_aot(x: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(softmax.softmax_kernel_inner, output_ptr=outputs[0], input_ptr=x, M=rows, N=cols, grid=rows)


def reference(x):
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


RECIPE = Recipe(
    name="gems_softmax",
    plugin="corpus::gems_softmax",
    summary="FlagGems' softmax: heuristics give the tile and the number of warps",
    inputs=(Input(name="x", shape=(6, 300), dims=("M", "N")),),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
