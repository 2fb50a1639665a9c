# SPDX-License-Identifier: Apache-2.0
"""FlagGems' argmax of rows: `libentry` around heuristics that choose the tile."""

from typing import Tuple

from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

argmax = gems("ops.argmax")


@trtp.register("corpus::gems_argmax")
def gems_argmax_desc(x: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((x.shape_expr[0],), dtype=trt.int64)


@trtp.aot_impl("corpus::gems_argmax")
def gems_argmax_aot(x: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(argmax.argmax_kernel_inner, inp=x, out_index=outputs[0], M=rows, N=cols, grid=rows)


RECIPE = Recipe(
    name="gems_argmax",
    plugin="corpus::gems_argmax",
    summary="FlagGems' argmax of rows: `libentry` around heuristics that choose the tile",
    inputs=(Input(name="x", shape=(6, 300), dims=("M", "N")),),
    dtypes=("fp32",),
    reference=lambda x: x.argmax(-1),
    dynamic=("M",),
    ordinary="NaN has no place in an order",
)
