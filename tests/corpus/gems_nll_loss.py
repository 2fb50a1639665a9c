# SPDX-License-Identifier: Apache-2.0
"""FlagGems' negative log-likelihood: labels, an `assert` in the kernel, a default for a parameter."""

from typing import Tuple

import numpy as np
from corpus_tools import gems

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

nll = gems("ops.nllloss")


@trtp.register("corpus::gems_nll_loss")
def gems_nll_loss_desc(x: TensorDesc, labels: TensorDesc, weight: TensorDesc) -> TensorDesc:
    return trtp.from_shape_expr((x.shape_expr[0],), dtype=x.dtype)


@trtp.aot_impl("corpus::gems_nll_loss")
def gems_nll_loss_aot(
    x: TensorDesc, labels: TensorDesc, weight: TensorDesc, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    rows, classes = x.shape_expr
    return aot_kernel(
        nll.nll_loss_forward_kernel,
        inp_ptr=x,
        tgt_ptr=labels,
        wgt_ptr=weight,
        out_ptr=outputs[0],
        ignore_index=-100,
        N=rows,
        C=classes,
        reduction=0,
        grid=trtp.cdiv(rows, 128),
    )


RECIPE = Recipe(
    name="gems_nll_loss",
    plugin="corpus::gems_nll_loss",
    summary="FlagGems' negative log-likelihood: labels, an `assert` in the kernel, a default for a parameter",
    inputs=(
        Input(name="x", shape=(150, 20), dims=("N", "C")),
        Input(
            name="labels",
            shape=(150,),
            dims=("N",),
            dtypes=("int64",),
            data=lambda rng, shape, inputs, dtype: rng.integers(0, inputs["x"].shape[1], shape),
        ),
        Input(name="weight", shape=(20,), dims=("C",)),
    ),
    dtypes=("fp32",),
    reference=lambda x, labels, weight: (
        -np.take_along_axis(x, labels[:, None], -1)[:, 0].astype(np.float64) * weight[labels]
    ),
    dynamic=("N",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
