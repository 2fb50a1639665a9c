# SPDX-License-Identifier: Apache-2.0
"""unsloth's exact GEGLU: erf."""

from typing import Tuple

import math

import numpy as np
from corpus_tools import unsloth

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

geglu = unsloth("geglu")


@trtp.register("corpus::unsloth_geglu_exact")
def unsloth_geglu_exact_desc(e: TensorDesc, g: TensorDesc) -> TensorDesc:
    return e.like()


@trtp.aot_impl("corpus::unsloth_geglu_exact")
def unsloth_geglu_exact_aot(e: TensorDesc, g: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    n = e.shape_expr.numel()
    return aot_kernel(
        geglu._exact_forward_kernel, e=e, g=g, h=outputs[0], n_elements=n, BLOCK_SIZE=512, grid=trtp.cdiv(n, 512)
    )


def reference(e, g):
    e = e.astype(np.float64)
    return (0.5 * e * (1 + np.vectorize(math.erf)(e / np.sqrt(2)))).astype(g.dtype).astype(np.float64) * g


RECIPE = Recipe(
    name="unsloth_geglu_exact",
    plugin="corpus::unsloth_geglu_exact",
    summary="unsloth's exact GEGLU: erf",
    inputs=(
        Input(name="e", shape=(5, 300), dims=("M", "N")),
        Input(name="g", shape=(5, 300), dims=("M", "N")),
    ),
    dtypes=("fp32", "fp16"),
    reference=reference,
    dynamic=("M", "N"),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6), "fp16": Tolerance(rtol=4e-3, atol=1e-3)},
)
