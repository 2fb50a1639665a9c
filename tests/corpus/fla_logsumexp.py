# SPDX-License-Identifier: Apache-2.0
"""flash-linear-attention's logsumexp of blocks: a heuristic on an optional scalar."""

from typing import Tuple

import numpy as np
from corpus_tools import fla

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

logsumexp = fla("ops.utils.logsumexp")


@trtp.register("corpus::fla_logsumexp")
def fla_logsumexp_desc(x: TensorDesc, scale: float) -> TensorDesc:
    n, d = x.shape_expr
    return trtp.from_shape_expr((n, trtp.cdiv(d, 64)), dtype=trt.float32)


@trtp.aot_impl("corpus::fla_logsumexp")
def fla_logsumexp_aot(x: TensorDesc, scale: float, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        logsumexp.logsumexp_fwd_kernel, x=x, z=outputs[0], scale=scale, D=cols, B=64, grid=(rows, trtp.cdiv(cols, 64))
    )


def reference(x, scale):
    out = []
    for start in range(0, x.shape[1], 64):
        z = x[:, start : start + 64].astype(np.float64) * scale
        m = z.max(-1)
        out.append(m + np.log(np.exp(z - m[:, None]).sum(-1)))
    return np.stack(out, -1)


RECIPE = Recipe(
    name="fla_logsumexp",
    plugin="corpus::fla_logsumexp",
    summary="flash-linear-attention's logsumexp of blocks: a heuristic on an optional scalar",
    inputs=(Input(name="x", shape=(6, 300), dims=("M", "N")),),
    dtypes=("fp32",),
    reference=reference,
    attributes={"scale": 0.5},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
