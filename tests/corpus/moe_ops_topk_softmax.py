# SPDX-License-Identifier: Apache-2.0
"""moe_ops' top-k and softmax of router logits: autotuned, argmax, two outputs of different types."""

from typing import List, Tuple

import numpy as np
import triton
from moe_ops.fused_topk_softmax_ops import _fused_topk_softmax_fwd_kernel_2d

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, tactics_of

import tensorrt as trt
import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc


@trtp.register("corpus::moe_ops_topk_softmax")
def moe_ops_topk_softmax_desc(logits: TensorDesc, k: int) -> Tuple[TensorDesc, TensorDesc]:
    n = logits.shape_expr[0]
    return trtp.from_shape_expr((n, n // n * k), dtype=trt.float32), trtp.from_shape_expr(
        (n, n // n * k), dtype=trt.int32
    )


@trtp.autotune("corpus::moe_ops_topk_softmax")
def moe_ops_topk_softmax_autotune(
    logits: TensorDesc, outputs: Tuple[TensorDesc, TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32, INT32", "LINEAR", tactics_of(_fused_topk_softmax_fwd_kernel_2d))]


@trtp.aot_impl("corpus::moe_ops_topk_softmax")
def moe_ops_topk_softmax_aot(
    logits: TensorDesc, k: int, outputs: Tuple[TensorDesc, TensorDesc], tactic: int
) -> AotKernel:
    tokens, experts = logits.shape_expr
    return aot_kernel(
        _fused_topk_softmax_fwd_kernel_2d,
        config=tactic,
        logits_ptr=logits,
        weights_ptr=outputs[0],
        indices_ptr=outputs[1],
        num_tokens=tokens,
        E=experts,
        K=k,
        BLOCK_E=triton.next_power_of_2(experts),
        BLOCK_K=triton.next_power_of_2(k),
        grid=lambda meta: (trtp.cdiv(tokens, meta["BLOCK_M"]),),
    )


def reference(logits, k):
    ids = np.argsort(-logits, -1, kind="stable")[:, :k].astype(np.int32)
    top = np.take_along_axis(logits.astype(np.float64), ids, -1)
    e = np.exp(top - top[:, :1])
    return e / e.sum(-1, keepdims=True), ids


RECIPE = Recipe(
    name="moe_ops_topk_softmax",
    plugin="corpus::moe_ops_topk_softmax",
    summary="moe_ops' top-k and softmax of router logits: autotuned, argmax, two outputs of different types",
    inputs=(Input(name="logits", shape=(40, 24), dims=("T", "E")),),
    dtypes=("fp32",),
    reference=reference,
    attributes={"k": 3},
    dynamic=("T",),
    tolerance={"fp32": Tolerance(rtol=1e-5, atol=1e-6)},
    ordinary="NaN has no place in an order",
)
