# SPDX-License-Identifier: Apache-2.0
"""FlagGems' nearest upsampling: autotune around heuristics, `num_programs`, a loop that strides by the grid."""

from typing import Tuple

from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

upsample = gems("ops.upsample_nearest2d")


@trtp.register("corpus::gems_upsample_nearest")
def gems_upsample_nearest_desc(x: TensorDesc, factor: int) -> TensorDesc:
    n, c, h, w = x.shape_expr
    return trtp.from_shape_expr((n, c, h * factor, w * factor), dtype=x.dtype)


@trtp.aot_impl("corpus::gems_upsample_nearest")
def gems_upsample_nearest_aot(x: TensorDesc, factor: int, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    n, c, h, w = x.shape_expr
    total = h * factor * (w * factor)
    return aot_kernel(
        upsample.upsample_nearest2d_kernel,
        ptr_o=outputs[0],
        ptr_i=x,
        N=n,
        C=c,
        OH=h * factor,
        OW=w * factor,
        IH=h,
        IW=w,
        reciprocal_scale_h=1 / factor,
        reciprocal_scale_w=1 / factor,
        grid=lambda meta: (trtp.cdiv(total, meta["BLOCK_SIZE"]), n * c),
    )


RECIPE = Recipe(
    name="gems_upsample_nearest",
    plugin="corpus::gems_upsample_nearest",
    summary="FlagGems' nearest upsampling: autotune around heuristics, `num_programs`, a loop that strides by the grid",
    inputs=(Input(name="x", shape=(1, 3, 32, 32), dims=("N", "C", "H", "W")),),
    dtypes=("fp32",),
    reference=lambda x, factor: x.repeat(factor, 2).repeat(factor, 3),
    attributes={"factor": 2},
)
