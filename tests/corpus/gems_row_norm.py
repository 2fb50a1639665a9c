# SPDX-License-Identifier: Apache-2.0
"""FlagGems' L2 norm of rows: `libentry` around an autotuner with configs from a file."""

from typing import List, Tuple

import numpy as np
from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, tactics_of

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

vector_norm = gems("ops.vector_norm")


@trtp.register("corpus::gems_row_norm")
def gems_row_norm_desc(x: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((x.shape_expr[0],), dtype=x.dtype)


@trtp.autotune("corpus::gems_row_norm")
def gems_row_norm_autotune(x: TensorDesc, outputs: Tuple[TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32", "LINEAR", tactics_of(vector_norm.l2_norm_kernel))]


@trtp.aot_impl("corpus::gems_row_norm")
def gems_row_norm_aot(x: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        vector_norm.l2_norm_kernel,
        config=tactic,
        X=x,
        Out=outputs[0],
        M=rows,
        N=cols,
        grid=lambda meta: (trtp.cdiv(rows, meta["BLOCK_M"]),),
    )


RECIPE = Recipe(
    name="gems_row_norm",
    plugin="corpus::gems_row_norm",
    summary="FlagGems' L2 norm of rows: `libentry` around an autotuner with configs from a file",
    inputs=(Input(name="x", shape=(20, 300), dims=("M", "N")),),
    dtypes=("fp32",),
    reference=lambda x: np.sqrt((x.astype(np.float64) ** 2).sum(-1)),
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
