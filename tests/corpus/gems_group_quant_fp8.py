# SPDX-License-Identifier: Apache-2.0
"""FlagGems' fp8 quantization by groups: float bounds as scalars, a flag that is no tl.constexpr."""

from typing import Tuple

import numpy as np
import ml_dtypes
import triton
from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

quant = gems("ops.per_token_group_quant_fp8")


@trtp.register("corpus::gems_group_quant_fp8")
def gems_group_quant_fp8_desc(x: TensorDesc, group: int) -> Tuple[TensorDesc, TensorDesc]:
    rows, cols = x.shape_expr
    return trtp.from_shape_expr(x.shape_expr, dtype=trt.fp8), trtp.from_shape_expr(
        (rows, cols // group), dtype=trt.float32
    )


@trtp.aot_impl("corpus::gems_group_quant_fp8")
def gems_group_quant_fp8_aot(
    x: TensorDesc, group: int, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        quant._per_token_group_quant_fp8,
        y_ptr=x,
        y_q_ptr=outputs[0],
        y_s_ptr=outputs[1],
        group_size=group,
        y_num_columns=cols,
        y_row_stride=cols,
        eps=1e-10,
        fp8_min=-448.0,
        fp8_max=448.0,
        scale_ue8m0=False,
        BLOCK=triton.next_power_of_2(group),
        grid=rows * (cols // group),
    )


def reference(x, group):
    blocks = x.astype(np.float32).reshape(len(x), -1, group)
    scale = np.fmax(np.abs(blocks).max(-1), np.float32(1e-10)) / np.float32(448)
    return np.clip(blocks / scale[..., None], -448, 448).reshape(x.shape).astype(ml_dtypes.float8_e4m3fn), scale


RECIPE = Recipe(
    name="gems_group_quant_fp8",
    plugin="corpus::gems_group_quant_fp8",
    summary="FlagGems' fp8 quantization by groups: float bounds as scalars, a flag that is no tl.constexpr",
    inputs=(Input(name="x", shape=(5, 128), dims=("M", "K")),),
    dtypes=("fp32",),
    tolerance={"fp32": Tolerance(rtol=3e-7)},  # Triton's division is off by up to 2 units in the last place
    reference=reference,
    attributes={"group": 64},
    dynamic=("M",),
    ordinary="clamping NaN, and casting it, are not defined",
)
