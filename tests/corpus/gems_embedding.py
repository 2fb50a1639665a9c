# SPDX-License-Identifier: Apache-2.0
"""FlagGems' embedding: wrapped by its own `libentry`."""

from typing import Tuple

import triton
from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

embedding = gems("ops.embedding")


@trtp.register("corpus::gems_embedding")
def gems_embedding_desc(ids: TensorDesc, weight: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((ids.shape_expr[0], weight.shape_expr[1]), dtype=weight.dtype)


@trtp.aot_impl("corpus::gems_embedding")
def gems_embedding_aot(ids: TensorDesc, weight: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    cols = weight.shape_expr[1]
    return aot_kernel(
        embedding.embedding_kernel,
        out_ptr=outputs[0],
        in_ptr=ids,
        weight_ptr=weight,
        N=cols,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        grid=ids.shape_expr[0],
    )


RECIPE = Recipe(
    name="gems_embedding",
    plugin="corpus::gems_embedding",
    summary="FlagGems' embedding: wrapped by its own `libentry`",
    inputs=(
        Input(name="ids", shape=(8,), dims=("T",), dtypes=("int64",), limits=(0, 49)),
        Input(name="weight", shape=(50, 48), dims=("V", "N")),
    ),
    dtypes=("fp32", "fp16"),
    reference=lambda ids, weight: weight[ids],
    dynamic=("T",),
)
