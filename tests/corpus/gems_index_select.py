# SPDX-License-Identifier: Apache-2.0
"""FlagGems' columns by index: heuristics that look at sizes."""

from typing import Tuple

from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

index_select = gems("ops.index_select")


@trtp.register("corpus::gems_index_select")
def gems_index_select_desc(x: TensorDesc, ids: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((x.shape_expr[0], ids.shape_expr[0]), dtype=x.dtype)


@trtp.aot_impl("corpus::gems_index_select")
def gems_index_select_aot(x: TensorDesc, ids: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    count = ids.shape_expr[0]
    return aot_kernel(
        index_select.index_select_kernel,
        inp=x,
        out=outputs[0],
        M=rows,
        N=cols,
        index=ids,
        index_len=count,
        grid=lambda meta: (trtp.cdiv(rows, meta["BLOCK_M"]), trtp.cdiv(count, meta["BLOCK_N"])),
    )


RECIPE = Recipe(
    name="gems_index_select",
    plugin="corpus::gems_index_select",
    summary="FlagGems' columns by index: heuristics that look at sizes",
    inputs=(
        Input(name="x", shape=(20, 90), dims=("M", "N")),
        Input(
            name="ids",
            shape=(13,),
            dims=("K",),
            dtypes=("int64", "int32"),
            data=lambda rng, shape, inputs, dtype: rng.integers(0, inputs["x"].shape[1], shape),
        ),
    ),
    dtypes=("fp32",),
    reference=lambda x, ids: x[:, ids],
)
