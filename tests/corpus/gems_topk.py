# SPDX-License-Identifier: Apache-2.0
"""FlagGems' top-k of a chunk of each row: a loop of argmax, a count at run time."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

topk = gems("ops.topk")


@trtp.register("corpus::gems_topk")
def gems_topk_desc(x: TensorDesc, k: int) -> Tuple[TensorDesc, TensorDesc]:
    n = x.shape_expr[0]
    return trtp.from_shape_expr((n, n // n * k), dtype=x.dtype), trtp.from_shape_expr((n, n // n * k), dtype=trt.int64)


@trtp.aot_impl("corpus::gems_topk")
def gems_topk_aot(x: TensorDesc, k: int, outputs: Tuple[TensorDesc, TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        topk.topk_stage1_kernel,
        y_ptr=outputs[0],
        index_ptr=outputs[1],
        x_ptr=x,
        k=k,
        N=cols,
        CHUNK_SIZE=triton.next_power_of_2(cols),
        DESCENDING=True,
        grid=(rows, 1),
    )


def reference(x, k):
    ids = np.argsort(-x, -1, kind="stable")[:, :k]
    return np.take_along_axis(x, ids, -1), ids


RECIPE = Recipe(
    name="gems_topk",
    plugin="corpus::gems_topk",
    summary="FlagGems' top-k of a chunk of each row: a loop of argmax, a count at run time",
    inputs=(Input(name="x", shape=(5, 100), dims=("M", "N")),),
    dtypes=("fp32",),
    reference=reference,
    attributes={"k": 4},
    dynamic=("M",),
    ordinary="NaN has no place in an order",
)
