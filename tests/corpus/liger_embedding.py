# SPDX-License-Identifier: Apache-2.0
"""Liger's embedding: rows by index, a grid of two dimensions."""

from typing import Tuple

from liger_kernel.ops.experimental.embedding import embedding_forward_kernel

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_embedding")
def liger_embedding_desc(ids: TensorDesc, table: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((ids.shape_expr[0], table.shape_expr[1]), dtype=table.dtype)


@trtp.aot_impl("corpus::liger_embedding")
def liger_embedding_aot(ids: TensorDesc, table: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    count, dim = ids.shape_expr[0], table.shape_expr[1].constant_value()
    return aot_kernel(
        embedding_forward_kernel,
        embeddings_ptr=table,
        indices_ptr=ids,
        output_ptr=outputs[0],
        n_elements=count,
        embedding_dim=dim,
        BLOCK_SIZE_M=16,
        BLOCK_SIZE_N=64,
        grid=(trtp.cdiv(count, 16), -(-dim // 64)),
    )


RECIPE = Recipe(
    name="liger_embedding",
    plugin="corpus::liger_embedding",
    summary="Liger's embedding: rows by index, a grid of two dimensions",
    inputs=(
        Input(name="ids", shape=(37,), dims=("T",), dtypes=("int64", "int32"), limits=(0, 49)),
        Input(name="table", shape=(50, 100), dims=("V", "D")),
    ),
    dtypes=("fp32", "fp16"),
    reference=lambda ids, table: table[ids],
    dynamic=("T",),
)
