# SPDX-License-Identifier: Apache-2.0
"""unsloth's rotary embedding: `triton.heuristics`, in place, one pointer."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import unsloth

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

rope = unsloth("rope_embedding")


@trtp.register("corpus::unsloth_rope")
def unsloth_rope_desc(q: TensorDesc, cos: TensorDesc, sin: TensorDesc, heads: int) -> TensorDesc:
    return q.aliased()


@trtp.aot_impl("corpus::unsloth_rope")
def unsloth_rope_aot(
    q: TensorDesc, cos: TensorDesc, sin: TensorDesc, heads: int, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    batch, seq, width = q.shape_expr
    half = cos.shape_expr[1]
    return aot_kernel(
        rope._rope_embedding,
        Q=q,
        Q_row_stride=width,
        cos=cos,
        cos_row_stride=half,
        sin=sin,
        sin_row_stride=half,
        seqlen=seq,
        head_dim=half * 2,
        n_heads=heads,
        BACKWARD_PASS=False,
        BLOCK_SIZE=triton.next_power_of_2(half),
        grid=(batch * seq, -(-heads // 4)),
    )


def reference(q, cos, sin, heads):
    b, s, width = q.shape
    x = q.astype(np.float64).reshape(b, s, heads, 2, -1)
    c, d = (t.astype(np.float64)[None, :, None] for t in (cos, sin))
    return np.stack([x[..., 0, :] * c - x[..., 1, :] * d, x[..., 1, :] * c + x[..., 0, :] * d], -2).reshape(b, s, width)


RECIPE = Recipe(
    name="unsloth_rope",
    plugin="corpus::unsloth_rope",
    summary="unsloth's rotary embedding: `triton.heuristics`, in place, one pointer",
    inputs=(
        Input(name="q", shape=(2, 5, 120), dims=("B", "S", "W")),
        Input(name="cos", shape=(5, 10), dims=("S", "H")),
        Input(name="sin", shape=(5, 10), dims=("S", "H")),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"heads": 6},
    dynamic=("B", "S"),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
