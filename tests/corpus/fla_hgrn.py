# SPDX-License-Identifier: Apache-2.0
"""flash-linear-attention's HGRN recurrence: a loop over time, an initial state, three heuristics."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import fla

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

hgrn = fla("ops.hgrn.fused_recurrent")


@trtp.register("corpus::fla_hgrn")
def fla_hgrn_desc(x: TensorDesc, g: TensorDesc, h0: TensorDesc) -> Tuple[TensorDesc, TensorDesc]:
    return x.like(), h0.like()


@trtp.aot_impl("corpus::fla_hgrn")
def fla_hgrn_aot(
    x: TensorDesc, g: TensorDesc, h0: TensorDesc, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    b, t, d = x.shape_expr
    return aot_kernel(
        hgrn.fused_recurrent_hgrn_fwd_kernel,
        x=x,
        g=g,
        o=outputs[0],
        h0=h0,
        ht=outputs[1],
        cu_seqlens=None,
        T=t,
        D=d,
        grid=lambda meta: (b * triton.cdiv(d, meta["BD"]),),
    )


def reference(x, g, h0):
    h, out = h0.astype(np.float64), []
    for t in range(x.shape[1]):
        h = np.exp(g[:, t].astype(np.float64)) * h + x[:, t]
        out.append(h)
    return np.stack(out, 1), h


RECIPE = Recipe(
    name="fla_hgrn",
    plugin="corpus::fla_hgrn",
    summary="flash-linear-attention's HGRN recurrence: a loop over time, an initial state, three heuristics",
    inputs=(
        Input(name="x", shape=(2, 12, 70), dims=("B", "T", "D")),
        Input(name="g", shape=(2, 12, 70), dims=("B", "T", "D")),
        Input(name="h0", shape=(2, 70), dims=("B", "D")),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("B", "T"),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-5)},
)
