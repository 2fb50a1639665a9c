# SPDX-License-Identifier: Apache-2.0
"""Liger's cross entropy, with soft capping or without: labels, optional tensors, two losses."""

from typing import Tuple

import numpy as np
from liger_kernel.ops.cross_entropy import liger_cross_entropy_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_cross_entropy")
def liger_cross_entropy_desc(x: TensorDesc, labels: TensorDesc, softcap: float) -> Tuple[TensorDesc, TensorDesc]:
    row = trtp.from_shape_expr((x.shape_expr[0],), dtype=trt.float32)
    return row, row.like()


@trtp.aot_impl("corpus::liger_cross_entropy")
def liger_cross_entropy_aot(
    x: TensorDesc, labels: TensorDesc, softcap: float, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        liger_cross_entropy_kernel,
        X_ptr=x,
        X_stride=cols,
        Y_ptr=labels,
        Y_stride=1,
        weight_ptr=None,
        loss_ptr=outputs[0],
        z_loss_ptr=outputs[1],
        loss_stride=1,
        token_accuracy_ptr=None,
        token_accuracy_stride=0,
        predicted_tokens_ptr=None,
        predicted_tokens_stride=0,
        n_cols=cols,
        n_non_ignore=rows,
        sum_non_ignore_weight=1.0,
        weight_sum=0.0,
        ignore_index=-100,
        lse_square_scale=1e-4,
        label_smoothing=0.1,
        reduction="none",
        softcap=softcap,
        RETURN_Z_LOSS=True,
        RETURN_TOKEN_ACCURACY=False,
        RETURN_PREDICTED_TOKENS=False,
        BLOCK_SIZE=256,
        HAS_WEIGHT=False,
        HAS_SOFTCAPPING=softcap > 0,
        HAS_GRADIENTS=False,
        grid=rows,
    )


def reference(x, labels, softcap):
    x = x.astype(np.float64)
    x = softcap * np.tanh(x / softcap) if softcap else x
    m = x.max(-1, keepdims=True)
    lse = (m + np.log(np.exp(x - m).sum(-1, keepdims=True)))[:, 0]
    at = np.take_along_axis(x, labels[:, None], -1)[:, 0]
    z_loss = 1e-4 * lse**2
    return 0.9 * (lse - at) + 0.1 * (lse - x.mean(-1)) + z_loss, z_loss


RECIPE = Recipe(
    name="liger_cross_entropy",
    plugin="corpus::liger_cross_entropy",
    summary="Liger's cross entropy, with soft capping or without: labels, optional tensors, two losses",
    inputs=(
        Input(name="x", shape=(8, 300), dims=("N", "V")),
        Input(
            name="labels",
            shape=(8,),
            dims=("N",),
            dtypes=("int64",),
            data=lambda rng, shape, inputs, dtype: rng.integers(0, inputs["x"].shape[1], shape),
        ),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"softcap": 0.0},
    dynamic=("N",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
