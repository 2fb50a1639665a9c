# SPDX-License-Identifier: Apache-2.0
"""Liger's rotary embedding of queries and keys, in place through one pointer each."""

from typing import Tuple

import numpy as np
import triton
from liger_kernel.ops.rope import _triton_rope

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_rope")
def liger_rope_desc(q: TensorDesc, k: TensorDesc, cos: TensorDesc, sin: TensorDesc) -> Tuple[TensorDesc, TensorDesc]:
    return q.aliased(), k.aliased()


@trtp.aot_impl("corpus::liger_rope")
def liger_rope_aot(
    q: TensorDesc, k: TensorDesc, cos: TensorDesc, sin: TensorDesc, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    batch, seq, n_qh, hd = q.shape_expr
    n_kh = k.shape_expr[2]
    return aot_kernel(
        _triton_rope,
        q_ptr=q,
        q_row_stride=n_qh * hd,
        k_ptr=k,
        k_row_stride=n_kh * hd,
        cos=cos,
        cos_row_stride=hd,
        sin=sin,
        sin_row_stride=hd,
        sl=seq,
        bs=1,
        cos_bs=1,
        n_qh=n_qh,
        n_kh=n_kh,
        hd=hd,
        pad_n_qh=triton.next_power_of_2(n_qh),
        pad_n_kh=triton.next_power_of_2(n_kh),
        pad_hd=triton.next_power_of_2(hd),
        BLOCK_SIZE=max(triton.next_power_of_2(n_qh), triton.next_power_of_2(n_kh)),
        BACKWARD_PASS=False,
        grid=batch * seq,
    )


def reference(q, k, cos, sin):
    half = q.shape[-1] // 2
    c, s = (t.astype(np.float64)[0, None, :, None, :half].swapaxes(1, 2).reshape(1, -1, 1, half) for t in (cos, sin))

    def turn(x):
        a, b = x[..., :half].astype(np.float64), x[..., half:].astype(np.float64)
        return np.concatenate([a * c - b * s, b * c + a * s], -1)

    return turn(q), turn(k)


RECIPE = Recipe(
    name="liger_rope",
    plugin="corpus::liger_rope",
    summary="Liger's rotary embedding of queries and keys, in place through one pointer each",
    inputs=(
        Input(name="q", shape=(2, 5, 4, 20), dims=("B", "S", "HQ", "D")),
        Input(name="k", shape=(2, 5, 2, 20), dims=("B", "S", "HK", "D")),
        Input(name="cos", shape=(1, 5, 20), dims=("one", "S", "D")),
        Input(name="sin", shape=(1, 5, 20), dims=("one", "S", "D")),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("B", "S"),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
