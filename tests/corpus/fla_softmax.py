# SPDX-License-Identifier: Apache-2.0
"""flash-linear-attention's softmax: autotuned over warps alone."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import fla

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

softmax = fla("ops.utils.softmax")


@trtp.register("corpus::fla_softmax")
def fla_softmax_desc(x: TensorDesc) -> TensorDesc:
    return x.like()


@trtp.aot_impl("corpus::fla_softmax")
def fla_softmax_aot(x: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(softmax.softmax_fwd_kernel, x=x, p=outputs[0], D=cols, B=triton.next_power_of_2(cols), grid=rows)


def reference(x):
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


RECIPE = Recipe(
    name="fla_softmax",
    plugin="corpus::fla_softmax",
    summary="flash-linear-attention's softmax: autotuned over warps alone",
    inputs=(Input(name="x", shape=(6, 300), dims=("M", "N")),),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
