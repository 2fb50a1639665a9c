# SPDX-License-Identifier: Apache-2.0
"""xFormers' rows by index, tiles of rows and columns on a grid of two dimensions."""

from typing import Tuple

from xformers.ops._triton.k_index_select_cat import index_select_cat_fwd_kernel

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::xformers_index_select")
def xformers_index_select_desc(source_rows: TensorDesc, ids: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((ids.shape_expr[0], source_rows.shape_expr[1]), dtype=source_rows.dtype)


@trtp.aot_impl("corpus::xformers_index_select")
def xformers_index_select_aot(
    source_rows: TensorDesc, ids: TensorDesc, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    count, cols = ids.shape_expr[0], source_rows.shape_expr[1]
    return aot_kernel(
        index_select_cat_fwd_kernel,
        output_ptr=outputs[0],
        source_ptr=source_rows,
        index_ptr=ids,
        num_indices=count,
        num_cols=cols,
        stride0=cols,
        stride1=1,
        BLOCK_SIZE_INDEX=4,
        BLOCK_SIZE_COL=64,
        grid=(trtp.cdiv(count, 4), trtp.cdiv(cols, 64)),
    )


RECIPE = Recipe(
    name="xformers_index_select",
    plugin="corpus::xformers_index_select",
    summary="xFormers' rows by index, tiles of rows and columns on a grid of two dimensions",
    inputs=(
        Input(name="source_rows", shape=(30, 100), dims=("V", "D")),
        Input(
            name="ids",
            shape=(13,),
            dims=("T",),
            dtypes=("int64", "int32"),
            data=lambda rng, shape, inputs, dtype: rng.integers(0, inputs["source_rows"].shape[0], shape),
        ),
    ),
    dtypes=("fp32", "fp16", "bf16"),
    reference=lambda source_rows, ids: source_rows[ids],
    dynamic=("T",),
)
