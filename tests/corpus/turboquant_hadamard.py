# SPDX-License-Identifier: Apache-2.0
"""fused-turboquant's Hadamard transform: it exchanges rows through memory, and lacks a barrier."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, constant

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

kernels = source("fused_turboquant.kernels.triton_rht")


@trtp.register("corpus::turboquant_hadamard")
def turboquant_hadamard_desc(x: TensorDesc, signs: TensorDesc) -> TensorDesc:
    return x.like()


@trtp.aot_impl("corpus::turboquant_hadamard")
def turboquant_hadamard_aot(x: TensorDesc, signs: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    n, d = x.shape_expr
    return aot_kernel(
        kernels._rht_kernel,
        x_ptr=x,
        signs_ptr=signs,
        out_ptr=outputs[0],
        stride_row=d,
        N=n,
        D=d,
        LOG2_D=constant(d).bit_length() - 1,
        INVERSE=False,
        grid=n,
    )


def reference(x, signs):
    d = x.shape[1]
    h = np.ones((1, 1))
    while len(h) < d:
        h = np.block([[h, h], [h, -h]])
    return (x.astype(np.float64) * signs) @ h / np.sqrt(d)


RECIPE = Recipe(
    name="turboquant_hadamard",
    plugin="corpus::turboquant_hadamard",
    summary="fused-turboquant's Hadamard transform: it exchanges rows through memory, and lacks a barrier",
    inputs=(
        Input(name="x", shape=(5, 256), dims=("N", "D")),
        Input(name="signs", shape=(256,), dims=("D",), choices=(-1.0, 1.0)),
    ),
    dtypes=("fp32",),
    reference=reference,
    dynamic=("N",),
    ordinary="inf and -inf meet in other orders",
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-4)},
)
