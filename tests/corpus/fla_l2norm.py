# SPDX-License-Identifier: Apache-2.0
"""flash-linear-attention's L2 norm: its own autotuner with a cache."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import fla

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

l2norm = fla("modules.norm.l2norm")


@trtp.register("corpus::fla_l2norm")
def fla_l2norm_desc(x: TensorDesc, eps: float) -> Tuple[TensorDesc, TensorDesc]:
    return x.like(), trtp.from_shape_expr((x.shape_expr[0],), dtype=trt.float32)


@trtp.aot_impl("corpus::fla_l2norm")
def fla_l2norm_aot(x: TensorDesc, eps: float, outputs: Tuple[TensorDesc, TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        l2norm.l2norm_fwd_kernel,
        x=x,
        y=outputs[0],
        rstd=outputs[1],
        eps=eps,
        T=rows,
        D=cols,
        BD=triton.next_power_of_2(cols),
        NB=1,
        grid=lambda meta: (trtp.cdiv(rows, meta["BT"]),),
    )


def reference(x, eps):
    x = x.astype(np.float64)
    rstd = 1 / np.sqrt((x**2).sum(-1) + eps)
    return x * rstd[:, None], rstd


RECIPE = Recipe(
    name="fla_l2norm",
    plugin="corpus::fla_l2norm",
    summary="flash-linear-attention's L2 norm: its own autotuner with a cache",
    inputs=(Input(name="x", shape=(40, 100), dims=("T", "D")),),
    dtypes=("fp32",),
    reference=reference,
    attributes={"eps": 1e-6},
    dynamic=("T",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
