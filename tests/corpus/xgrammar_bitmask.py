# SPDX-License-Identifier: Apache-2.0
"""XGrammar's token mask: packed bits, `tl.range` over a persistent grid, a pointer that is None."""

from typing import Tuple

import numpy as np
from corpus_tools import source

from aotfactory import AotKernel, Input, Recipe, aot_kernel

import tensorrt.plugin as trtp
from tensorrt.plugin import TensorDesc

kernels = source("xgrammar.kernels.apply_token_bitmask_inplace_triton")


@trtp.register("corpus::xgrammar_bitmask")
def xgrammar_bitmask_desc(logits: TensorDesc, bitmask: TensorDesc) -> TensorDesc:
    return logits.aliased()


@trtp.aot_impl("corpus::xgrammar_bitmask")
def xgrammar_bitmask_aot(logits: TensorDesc, bitmask: TensorDesc, outputs: Tuple[TensorDesc], tactic: int) -> AotKernel:
    n, v = logits.shape_expr
    return aot_kernel(
        kernels.apply_token_bitmask_inplace_kernel,
        logits_ptr=logits,
        bitmask_ptr=bitmask,
        indices_ptr=None,
        num_rows=n,
        vocab_size=v,
        logits_strides=v,
        bitmask_strides=bitmask.shape_expr[1],
        NUM_SMS=7,
        BLOCK_SIZE=128,
        grid=7,
    )


def reference(logits, bitmask):
    bits = (bitmask[:, :, None] >> np.arange(32)) & 1
    bits = bits.reshape(len(bitmask), -1)[:, : logits.shape[1]]
    return np.where(bits == 0, np.array(-np.inf, logits.dtype), logits)


RECIPE = Recipe(
    name="xgrammar_bitmask",
    plugin="corpus::xgrammar_bitmask",
    summary="XGrammar's token mask: packed bits, `tl.range` over a persistent grid, a pointer that is None",
    inputs=(
        Input(name="logits", shape=(5, 300), dims=("N", "V")),
        Input(name="bitmask", shape=(5, 10), dims=("N", "W"), dtypes=("int32",), limits="any"),
    ),
    dtypes=("fp32", "fp16", "bf16"),
    reference=reference,
    dynamic=("N",),
)
