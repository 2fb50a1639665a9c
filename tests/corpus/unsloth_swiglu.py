# SPDX-License-Identifier: Apache-2.0
"""unsloth's SwiGLU over a flat range."""

from typing import Tuple

import numpy as np
from corpus_tools import unsloth

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

swiglu = unsloth("swiglu")


@trtp.register("corpus::unsloth_swiglu")
def unsloth_swiglu_desc(e: TensorDesc, g: TensorDesc) -> TensorDesc:
    return e.like()


@trtp.aot_impl("corpus::unsloth_swiglu")
def unsloth_swiglu_aot(e: TensorDesc, g: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    n = e.shape_expr.numel()
    return aot_kernel(swiglu._fg_kernel, e=e, g=g, h=outputs[0], n_elements=n, BLOCK_SIZE=512, grid=trtp.cdiv(n, 512))


def reference(e, g):
    e = e.astype(np.float64)
    return (e / (1 + np.exp(-e))).astype(g.dtype).astype(np.float64) * g


RECIPE = Recipe(
    name="unsloth_swiglu",
    plugin="corpus::unsloth_swiglu",
    summary="unsloth's SwiGLU over a flat range",
    inputs=(
        Input(name="e", shape=(5, 300), dims=("M", "N")),
        Input(name="g", shape=(5, 300), dims=("M", "N")),
    ),
    dtypes=("fp32", "fp16"),
    reference=reference,
    dynamic=("M", "N"),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6), "fp16": Tolerance(rtol=4e-3, atol=1e-3)},
)
