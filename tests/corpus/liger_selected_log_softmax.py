# SPDX-License-Identifier: Apache-2.0
"""Liger's log-probability of chosen tokens: an index into a row, an optional mask, a grid of two dimensions."""

from typing import Tuple

import numpy as np
from liger_kernel.ops.grpo_loss import _selective_log_softmax_kernel

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::liger_selected_log_softmax")
def liger_selected_log_softmax_desc(logits: TensorDesc, ids: TensorDesc, temperature: float) -> TensorDesc:
    return trtp.from_shape_expr((ids.shape_expr[0], ids.shape_expr[1]), dtype=trt.float32)


@trtp.aot_impl("corpus::liger_selected_log_softmax")
def liger_selected_log_softmax_aot(
    logits: TensorDesc, ids: TensorDesc, temperature: float, outputs: Tuple[TensorDesc], tactic: int
) -> AotKernel:
    batch, length = ids.shape_expr
    vocabulary = logits.shape_expr[2]
    return aot_kernel(
        _selective_log_softmax_kernel,
        LOGITS=logits,
        INPUT_IDS=ids,
        LOG_P=outputs[0],
        MASK=None,
        TEMPERATURE=temperature,
        stride_input_ids_b=length,
        L=length,
        N=vocabulary,
        BLOCK_N=128,
        grid=(batch, length),
    )


def reference(logits, ids, temperature):
    x = logits[:, :-1].astype(np.float64) / temperature
    m = x.max(-1, keepdims=True)
    lse = m + np.log(np.exp(x - m).sum(-1, keepdims=True))
    return (np.take_along_axis(x, ids[..., None], -1) - lse)[..., 0]


RECIPE = Recipe(
    name="liger_selected_log_softmax",
    plugin="corpus::liger_selected_log_softmax",
    summary="Liger's log-probability of chosen tokens: an index into a row, an optional mask, a grid of two dimensions",
    inputs=(
        Input(name="logits", shape=(2, 7, 300), dims=("B", "L1", "V")),
        Input(
            name="ids",
            shape=(2, 6),
            dims=("B", "L"),
            dtypes=("int64",),
            data=lambda rng, shape, inputs, dtype: rng.integers(0, inputs["logits"].shape[2], shape),
        ),
    ),
    dtypes=("fp32",),
    reference=reference,
    attributes={"temperature": 0.7},
    dynamic=("B",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
)
