# SPDX-License-Identifier: Apache-2.0
"""FlagGems' lower triangle: a grid of three dimensions, a signed offset."""

from typing import Tuple

import numpy as np
from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

tril = gems("ops.tril")


@trtp.register("corpus::gems_tril")
def gems_tril_desc(x: TensorDesc, diagonal: int) -> TensorDesc:
    return x.like()


@trtp.aot_impl("corpus::gems_tril")
def gems_tril_aot(x: TensorDesc, diagonal: int, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    b, m, n = x.shape_expr
    return aot_kernel(
        tril._tril_kernel,
        in_ptr=x,
        out_ptr=outputs[0],
        M=m,
        N=n,
        B=b,
        diag=diagonal,
        BLOCK_M=16,
        BLOCK_N=32,
        grid=(trtp.cdiv(m, 16), trtp.cdiv(n, 32), b),
    )


RECIPE = Recipe(
    name="gems_tril",
    plugin="corpus::gems_tril",
    summary="FlagGems' lower triangle: a grid of three dimensions, a signed offset",
    inputs=(Input(name="x", shape=(3, 30, 40), dims=("B", "M", "N")),),
    dtypes=("fp32", "fp16"),
    reference=lambda x, diagonal: np.tril(x, diagonal),
    attributes={"diagonal": -2},
)
