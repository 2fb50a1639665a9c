# SPDX-License-Identifier: Apache-2.0
"""FlagGems' Welford variance and mean: `tl.reduce` with a function of its own."""

from typing import List, Tuple

import numpy as np
from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, tactics_of

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

var_mean = gems("ops.var_mean")


@trtp.register("corpus::gems_var_mean")
def gems_var_mean_desc(x: TensorDesc, correction: int) -> Tuple[TensorDesc, TensorDesc]:
    stat = trtp.from_shape_expr((x.shape_expr[0],), dtype=x.dtype)
    return stat, stat.like()


@trtp.autotune("corpus::gems_var_mean")
def gems_var_mean_autotune(x: TensorDesc, outputs: Tuple[TensorDesc, TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32, FP32", "LINEAR", tactics_of(var_mean.var_mean_welford_kernel))]


@trtp.aot_impl("corpus::gems_var_mean")
def gems_var_mean_aot(x: TensorDesc, correction: int, outputs: Tuple[TensorDesc, TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        var_mean.var_mean_welford_kernel,
        config=tactic,
        X=x,
        Var=outputs[0],
        Mean=outputs[1],
        M=rows,
        N=cols,
        correction=correction,
        grid=lambda meta: (trtp.cdiv(rows, meta["BLOCK_M"]),),
    )


def reference(x, correction):
    x = x.astype(np.float64)
    return x.var(-1, ddof=correction), x.mean(-1)


RECIPE = Recipe(
    name="gems_var_mean",
    plugin="corpus::gems_var_mean",
    summary="FlagGems' Welford variance and mean: `tl.reduce` with a function of its own",
    inputs=(Input(name="x", shape=(20, 300), dims=("M", "N")),),
    dtypes=("fp32",),
    reference=reference,
    attributes={"correction": 1},
    dynamic=("M",),
    tolerance={"fp32": Tolerance(rtol=1e-4, atol=1e-5)},
)
