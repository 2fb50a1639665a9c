# SPDX-License-Identifier: Apache-2.0
"""mLSTM's recurrent step: eight inputs, four outputs, block pointers, a type as parameter."""

from typing import Tuple

import numpy as np
import triton.language as tl
from mlstm_kernels.triton.recurrent.fw_step_fused import recurrent_step_fw_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::mlstm_recurrent_step")
def mlstm_recurrent_step_desc(
    c: TensorDesc,
    n: TensorDesc,
    m: TensorDesc,
    q: TensorDesc,
    k: TensorDesc,
    v: TensorDesc,
    i: TensorDesc,
    f: TensorDesc,
) -> Tuple[TensorDesc, TensorDesc, TensorDesc, TensorDesc]:
    return v.like(), c.like(), n.like(), m.like()


@trtp.aot_impl("corpus::mlstm_recurrent_step")
def mlstm_recurrent_step_aot(
    c: TensorDesc,
    n: TensorDesc,
    m: TensorDesc,
    q: TensorDesc,
    k: TensorDesc,
    v: TensorDesc,
    i: TensorDesc,
    f: TensorDesc,
    outputs: Tuple[TensorDesc, TensorDesc, TensorDesc, TensorDesc],
    tactic: int,
) -> AotKernel:
    batch, heads, dqk, dhv = c.shape_expr
    return aot_kernel(
        recurrent_step_fw_kernel,
        matC_old=c,
        vecN_old=n,
        scaM_old=m,
        vecQ=q,
        vecK=k,
        vecV=v,
        scaI=i,
        scaF=f,
        vecH=outputs[0],
        matC_new=outputs[1],
        vecN_new=outputs[2],
        scaM_new=outputs[3],
        qk_scale=0.25,
        str_matC_B_NH=dqk * dhv,
        str_matC_DHQK=dhv,
        str_matC_DHHV=1,
        str_vecN_B_NH=dqk,
        str_vecN_DHQK=1,
        str_scaM_B_NH=1,
        str_vecQK_NH=dqk,
        str_vecQK_DHQK=1,
        str_vecVH_B_NH=dhv,
        str_vecVH_DHHV=1,
        str_scaIF_B_NH=1,
        B=1,
        NH=heads,
        DHQK=dqk,
        DHHV=dhv,
        siz_b_DHQK=16,
        siz_b_DHHV=16,
        EPS=1e-6,
        DTYPE=tl.float32,
        DTYPE_STATE=tl.float32,
        grid=(1, trtp.cdiv(dhv, 16), batch * heads),
    )


def reference(c, n, m, q, k, v, i, f):
    c, n, m, q, k, v, i, f = (t.astype(np.float64) for t in (c, n, m, q, k, v, i, f))
    log_f = -np.logaddexp(0, -f)
    new_m = np.maximum(log_f + m, i)
    keep, add = np.exp(log_f + m - new_m), np.exp(i - new_m)
    new_c = keep[..., None] * c + add[..., None] * k[..., :, None] * v[..., None, :]
    new_n = keep * n + add * k
    q = q * 0.25
    low = np.maximum(np.abs((q * new_n).sum(-1, keepdims=True)), np.exp(-new_m)) + 1e-6
    return (q[..., None] * new_c).sum(-2) / low, new_c, new_n, new_m


RECIPE = Recipe(
    name="mlstm_recurrent_step",
    plugin="corpus::mlstm_recurrent_step",
    summary="mLSTM's recurrent step: eight inputs, four outputs, block pointers, a type as parameter",
    inputs=(
        Input(name="c", shape=(2, 2, 16, 32), dims=("B", "H", "K", "V")),
        Input(name="n", shape=(2, 2, 16), dims=("B", "H", "K")),
        Input(name="m", shape=(2, 2, 1), dims=("B", "H", "one")),
        Input(name="q", shape=(2, 2, 16), dims=("B", "H", "K")),
        Input(name="k", shape=(2, 2, 16), dims=("B", "H", "K")),
        Input(name="v", shape=(2, 2, 32), dims=("B", "H", "V")),
        Input(name="i", shape=(2, 2, 1), dims=("B", "H", "one")),
        Input(name="f", shape=(2, 2, 1), dims=("B", "H", "one")),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("B",),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-5)},
)
