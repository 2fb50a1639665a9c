# SPDX-License-Identifier: Apache-2.0
"""Trinix' Mish: a count that is a tl.constexpr, so static shapes only."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

mish = source("trinix.kernels.mish_kernel")


@trtp.register("corpus::trinix_mish")
def trinix_mish_desc(x: TensorDesc) -> TensorDesc:
    return x.like()


@trtp.aot_impl("corpus::trinix_mish")
def trinix_mish_aot(x: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_kernel(
        mish.mish_forward_kernel, Y_ptr=outputs[0], X_ptr=x, n_elements=n, BLOCK_SIZE=256, grid=trtp.cdiv(n, 256)
    )


def reference(x):
    x = x.astype(np.float64)
    return x * np.tanh(np.logaddexp(0, x))


RECIPE = Recipe(
    name="trinix_mish",
    plugin="corpus::trinix_mish",
    summary="Trinix' Mish: a count that is a tl.constexpr, so static shapes only",
    inputs=(Input(name="x", shape=(10, 70), dims=("M", "N")),),
    dtypes=("fp32",),
    reference=reference,
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-6)},
    ordinary="the kernel divides infinity by infinity where exp overflows",
)
