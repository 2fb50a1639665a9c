# SPDX-License-Identifier: Apache-2.0
"""Liger's Llama 4 rotary embedding: complex pairs, `tl.split`, in place, a grid of two dimensions."""

from typing import Tuple

import numpy as np
import triton
from liger_kernel.ops.llama4_rope import _llama4_rope_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_llama4_rope")
def liger_llama4_rope_desc(q: TensorDesc, k: TensorDesc, freqs: TensorDesc) -> Tuple[TensorDesc, TensorDesc]:
    return q.aliased(), k.aliased()


@trtp.aot_impl("corpus::liger_llama4_rope")
def liger_llama4_rope_aot(
    q: TensorDesc, k: TensorDesc, freqs: TensorDesc, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    batch, seq, n_qh, hd = q.shape_expr
    n_kh = k.shape_expr[2]
    half = hd.constant_value() // 2
    return aot_kernel(
        _llama4_rope_kernel,
        q_ptr=q,
        k_ptr=k,
        freqs_complex_ptr=freqs,
        q_row_stride=n_qh * hd,
        k_row_stride=n_kh * hd,
        q_head_stride=hd,
        k_head_stride=hd,
        freqs_row_stride=hd,
        seq_len=seq,
        batch_size=batch,
        imag_sign=1.0,
        head_dim_half=half,
        n_q_heads=n_qh,
        n_k_heads=n_kh,
        BLOCK_SIZE=triton.next_power_of_2(half),
        grid=(batch * seq, max(n_qh.constant_value(), n_kh.constant_value())),
    )


def reference(q, k, freqs):
    cos, sin = (freqs.astype(np.float64)[:, None, start::2] for start in (0, 1))

    def turn(x):
        a, b = x[..., ::2].astype(np.float64), x[..., 1::2].astype(np.float64)
        return np.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(x.shape)

    return turn(q), turn(k)


RECIPE = Recipe(
    name="liger_llama4_rope",
    plugin="corpus::liger_llama4_rope",
    summary="Liger's Llama 4 rotary embedding: complex pairs, `tl.split`, in place, a grid of two dimensions",
    inputs=(
        Input(name="q", shape=(2, 5, 4, 24), dims=("B", "S", "HQ", "D")),
        Input(name="k", shape=(2, 5, 2, 24), dims=("B", "S", "HK", "D")),
        Input(name="freqs", shape=(5, 24), dims=("S", "D")),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("B", "S"),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
