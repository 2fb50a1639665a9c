# SPDX-License-Identifier: Apache-2.0
"""unsloth's cross entropy: `triton.heuristics`, labels with -100 among them."""

from typing import Tuple

import numpy as np
import triton
from corpus_tools import unsloth

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

loss = unsloth("cross_entropy_loss")


@trtp.register("corpus::unsloth_cross_entropy")
def unsloth_cross_entropy_desc(logits: TensorDesc, labels: TensorDesc, softcap: float) -> Tuple[TensorDesc, TensorDesc]:
    row = trtp.from_shape_expr((logits.shape_expr[0],), dtype=trt.float32)
    return row, row.like()


@trtp.aot_impl("corpus::unsloth_cross_entropy")
def unsloth_cross_entropy_aot(
    logits: TensorDesc, labels: TensorDesc, softcap: float, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    rows, cols = logits.shape_expr
    return aot_kernel(
        loss._cross_entropy_forward,
        logits_ptr=logits,
        logits_row_stride=cols,
        loss_ptr=outputs[0],
        logsumexp_ptr=outputs[1],
        labels_ptr=labels,
        VOCAB_SIZE=cols,
        BLOCK_SIZE=triton.next_power_of_2(cols),
        DO_SOFTCAPPING=softcap > 0,
        SOFTCAP=softcap,
        DO_LOGIT_SCALING=False,
        LOGIT_SCALE=0.0,
        grid=rows,
    )


def reference(logits, labels, softcap):
    x = logits.astype(np.float64)
    x = softcap * np.tanh(x / softcap) if softcap else x
    m = x.max(-1)
    lse = m + np.log(np.exp(x - m[:, None]).sum(-1))
    at = np.take_along_axis(x, np.maximum(labels, 0)[:, None], -1)[:, 0]
    return np.where(labels == -100, 0, lse - at), lse


RECIPE = Recipe(
    name="unsloth_cross_entropy",
    plugin="corpus::unsloth_cross_entropy",
    summary="unsloth's cross entropy: `triton.heuristics`, labels with -100 among them",
    inputs=(
        Input(name="logits", shape=(6, 300), dims=("N", "V")),
        Input(
            name="labels",
            shape=(6,),
            dims=("N",),
            dtypes=("int64",),
            data=lambda rng, shape, inputs, dtype: np.where(
                rng.random(shape) < 0.25, -100, rng.integers(0, inputs["logits"].shape[1], shape)
            ),
        ),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"softcap": 30.0},
    dynamic=("N",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
