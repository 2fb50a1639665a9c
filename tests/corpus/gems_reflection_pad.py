# SPDX-License-Identifier: Apache-2.0
"""FlagGems' reflection padding: modulo of a signed index."""

from typing import Tuple

import numpy as np
from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

pad = gems("ops.reflection_pad1d")


@trtp.register("corpus::gems_reflection_pad")
def gems_reflection_pad_desc(x: TensorDesc, left: int, right: int) -> TensorDesc:
    b, w = x.shape_expr
    return trtp.from_shape_expr((b, w + (left + right)), dtype=x.dtype)


@trtp.aot_impl("corpus::gems_reflection_pad")
def gems_reflection_pad_aot(x: TensorDesc, left: int, right: int, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    b, w = x.shape_expr
    wide = w + (left + right)
    return aot_kernel(
        pad.reflection_pad1d_kernel,
        in_ptr=x,
        out_ptr=outputs[0],
        B=b,
        W_in=w,
        pad_left=left,
        W_out=wide,
        BLOCK_W=64,
        grid=(b, trtp.cdiv(wide, 64)),
    )


def reference(x, left, right):
    return np.pad(x, ((0, 0), (left, right)), mode="reflect")


RECIPE = Recipe(
    name="gems_reflection_pad",
    plugin="corpus::gems_reflection_pad",
    summary="FlagGems' reflection padding: modulo of a signed index",
    inputs=(Input(name="x", shape=(3, 70), dims=("B", "W")),),
    dtypes=("fp32", "fp16"),
    reference=reference,
    attributes={"left": 5, "right": 9},
    dynamic=("B",),
)
