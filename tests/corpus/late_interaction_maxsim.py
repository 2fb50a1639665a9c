# SPDX-License-Identifier: Apache-2.0
"""Late-interaction kernels' MaxSim: autotuned with pruning, optional masks, a type as tl.constexpr."""

from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl
from late_interaction_kernels.forward import _maxsim_fwd_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, tactics_of

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::late_interaction_maxsim")
def late_interaction_maxsim_desc(q: TensorDesc, d: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((q.shape_expr[0], d.shape_expr[0]), dtype=trt.float32)


@trtp.autotune("corpus::late_interaction_maxsim")
def late_interaction_maxsim_autotune(
    q: TensorDesc, d: TensorDesc, outputs: Tuple[TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32, FP32", "LINEAR", tactics_of(_maxsim_fwd_kernel))]


@trtp.aot_impl("corpus::late_interaction_maxsim")
def late_interaction_maxsim_aot(q: TensorDesc, d: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    nq, lq, dim = q.shape_expr
    nd, ld, _ = d.shape_expr
    return aot_kernel(
        _maxsim_fwd_kernel,
        config=tactic,
        Q_ptr=q,
        D_ptr=d,
        q_mask_ptr=None,
        d_mask_ptr=None,
        scores_ptr=outputs[0],
        argmax_ptr=None,
        Nq=nq,
        Nd=nd,
        Lq=lq,
        Ld=ld,
        d=dim,
        d_pad=triton.next_power_of_2(dim),
        stride_q_n=lq * dim,
        stride_q_l=dim,
        stride_q_d=1,
        stride_d_n=ld * dim,
        stride_d_l=dim,
        stride_d_d=1,
        stride_s_n=nd,
        stride_s_d=1,
        stride_qm_n=0,
        stride_qm_l=0,
        stride_dm_n=0,
        stride_dm_l=0,
        stride_a_pair=0,
        stride_a_lq=0,
        has_q_mask=False,
        has_d_mask=False,
        save_argmax=False,
        normalize=False,
        kd_layout=False,
        COMPUTE_DTYPE=tl.float32,
        grid=nq * nd,
    )


RECIPE = Recipe(
    name="late_interaction_maxsim",
    plugin="corpus::late_interaction_maxsim",
    summary="Late-interaction kernels' MaxSim: autotuned with pruning, optional masks, a type as tl.constexpr",
    inputs=(
        Input(name="q", shape=(2, 20, 32), dims=("A", "L", "D")),
        Input(name="d", shape=(3, 50, 32), dims=("B", "S", "D")),
    ),
    dtypes=("fp32",),
    reference=lambda q, d: np.einsum("aid,bjd->abij", q.astype(np.float64), d.astype(np.float64)).max(-1).sum(-1),
    dynamic=("A", "B"),
    ordinary="a score that is not finite counts as none",
    tolerance={"fp32": Tolerance(rtol=1e-3, atol=1e-3)},  # a GPU rounds fp32 operands of tl.dot to tf32
)
