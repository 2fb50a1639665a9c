# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""In-place add: ``x += delta``, the output being the input's own buffer."""

from typing import List, Tuple

import ml_dtypes
import numpy as np
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, UnsupportedError, aot_kernel, trtp
from aotfactory.core import dtypes

TYPES = "FP32|FP16|BF16|INT8|INT32"
BLOCK = 1024


@triton.jit
def inplace_add_kernel(x_ptr, delta, full_blocks, tail, y_ptr, BLOCK: tl.constexpr):
    # x_ptr and y_ptr are one buffer. Reading and writing through the input pointer alone, and leaving y_ptr unused, is
    # right also for a runtime that passes something else for the output.
    block = tl.program_id(0)
    i = tl.arange(0, BLOCK)
    pointers = x_ptr + block.to(tl.int64) * BLOCK + i
    # A mask that need not be a multiple of 16 would split the 16-byte accesses: only the last block has one.
    if block < full_blocks:
        tl.store(pointers, _add(tl.load(pointers), delta))
    else:
        tl.store(pointers, _add(tl.load(pointers, mask=i < tail), delta), mask=i < tail)


@triton.jit
def _add(x, delta):
    # fp32 has more than twice the digits of fp16 and bf16 (24 >= 2 * 11 + 2) and delta is a number of the tensor's
    # type, so rounding to fp32 first, then to that type, gives the same as rounding the exact sum once.
    y = x.to(tl.float32) + delta if x.dtype.is_floating() else x + delta
    return y.to(x.dtype)


@trtp.register("aotfactory::inplace_add")
def inplace_add_desc(inp0: trtp.TensorDesc, delta: int) -> trtp.TensorDesc:
    """x += delta in the input's own type: floats rounded to nearest, integers wrapping around.

    The builder needs `PreviewFeature.ALIASED_PLUGIN_IO_10_03`.

    Attributes:
        delta: A number that the tensor's type holds exactly.
    """
    kind = dtypes.of_trt(inp0.dtype)
    lowest, highest = _exact_integers(kind.array)
    if not lowest <= delta <= highest:
        raise UnsupportedError(
            f"delta is {delta}, which not every {kind.name} holds", hint=f"use {lowest} to {highest}"
        )
    return inp0.aliased()


def _exact_integers(dtype: np.dtype) -> Tuple[int, int]:
    """The range in which the type holds every integer."""
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return int(info.min), int(info.max)
    digits = ml_dtypes.finfo(dtype).nmant + 1
    return -(2**digits), 2**digits


@trtp.autotune("aotfactory::inplace_add")
def inplace_add_autotune(inp0: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(f"{TYPES}, {TYPES}")]


@trtp.aot_impl("aotfactory::inplace_add")
def inplace_add_aot(inp0: trtp.TensorDesc, delta: int, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    count = inp0.shape_expr.numel()
    return aot_kernel(
        inplace_add_kernel,
        x_ptr=inp0,
        delta=delta,
        full_blocks=count // BLOCK,
        tail=count - count // BLOCK * BLOCK,  # below BLOCK: these two fit int32 where the count does not
        y_ptr=outputs[0],
        BLOCK=BLOCK,
        grid=trtp.max(trtp.cdiv(count, BLOCK), 1),  # CUDA refuses a grid of 0 for an empty tensor
    )


@trtp.impl("aotfactory::inplace_add")
def inplace_add_jit(inp0: trtp.Tensor, delta: int, outputs: Tuple[trtp.Tensor], stream: int) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    full_blocks, tail = divmod(inp0.numel(), BLOCK)
    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x = torch.as_tensor(inp0, device="cuda")
        inplace_add_kernel[(max(full_blocks + (tail > 0), 1),)](x, delta, full_blocks, tail, x, BLOCK=BLOCK)


def inplace_add_reference(x, delta):
    if np.issubdtype(x.dtype, np.integer):
        return x + np.asarray(delta).astype(x.dtype)
    return x.astype(np.float64) + delta


RECIPE = Recipe(
    name="inplace_add",
    plugin="aotfactory::inplace_add",
    summary="x += delta in place, twice in a row",
    inputs=(Input(name="x", shape=(10, 3, 32, 32), dims=("N", "C", "H", "W")),),
    dtypes=("fp32", "fp16", "bf16", "int8", "int32"),
    attributes={"delta": 1},
    reference=inplace_add_reference,
    chain=2,
    extremes=True,
    shrink=("N",),
    odd_shapes=(((1, 1, 1, 1),), ((1, 1, 11, 93),), ((1, 1, 1, 1024),), ((1, 1, 5, 205),), ((7, 1, 13, 17),)),
)
