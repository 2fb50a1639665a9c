# SPDX-License-Identifier: Apache-2.0
"""Liger's multimodal rotary embedding: three position axes in one kernel, in place."""

from typing import Tuple

import numpy as np
import triton
from liger_kernel.ops.qwen2vl_mrope import _triton_qwen2vl_mrope

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_mrope")
def liger_mrope_desc(
    q: TensorDesc, k: TensorDesc, cos: TensorDesc, sin: TensorDesc, t: int, h: int
) -> Tuple[TensorDesc, TensorDesc]:
    return q.aliased(), k.aliased()


@trtp.aot_impl("corpus::liger_mrope")
def liger_mrope_aot(
    q: TensorDesc,
    k: TensorDesc,
    cos: TensorDesc,
    sin: TensorDesc,
    t: int,
    h: int,
    outputs: Tuple[TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    batch, seq, n_qh, hd = q.shape_expr
    n_kh = k.shape_expr[2]
    return aot_kernel(
        _triton_qwen2vl_mrope,
        q_ptr=q,
        k_ptr=k,
        cos=cos,
        sin=sin,
        sl=seq,
        bs=batch,
        n_qh=n_qh,
        n_kh=n_kh,
        hd=hd,
        pad_n_qh=triton.next_power_of_2(n_qh),
        pad_n_kh=triton.next_power_of_2(n_kh),
        pad_hd=triton.next_power_of_2(hd),
        mrope_section_t=t,
        mrope_section_h=h,
        BLOCK_SIZE=triton.next_power_of_2(n_qh),
        BACKWARD_PASS=False,
        grid=batch * seq,
    )


def reference(q, k, cos, sin, t, h):
    half = q.shape[-1] // 2
    axis = np.repeat([0, 1, 2], [t, h, half - t - h])
    c, s = (x.astype(np.float64)[axis, :, :, np.arange(half)].transpose(1, 2, 0)[:, :, None] for x in (cos, sin))

    def turn(x):
        a, b = x[..., :half].astype(np.float64), x[..., half:].astype(np.float64)
        return np.concatenate([a * c - b * s, b * c + a * s], -1)

    return turn(q), turn(k)


RECIPE = Recipe(
    name="liger_mrope",
    plugin="corpus::liger_mrope",
    summary="Liger's multimodal rotary embedding: three position axes in one kernel, in place",
    inputs=(
        Input(name="q", shape=(2, 5, 4, 32), dims=("B", "S", "HQ", "D")),
        Input(name="k", shape=(2, 5, 2, 32), dims=("B", "S", "HK", "D")),
        Input(name="cos", shape=(3, 2, 5, 32), dims=("three", "B", "S", "D")),
        Input(name="sin", shape=(3, 2, 5, 32), dims=("three", "B", "S", "D")),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"t": 4, "h": 6},
    dynamic=("S",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
