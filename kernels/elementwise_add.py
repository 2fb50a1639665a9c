# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Elementwise add: ``y = x + 1``, with the number of elements per program as an attribute."""

from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, UnsupportedError, aot_kernel, trtp

TYPES = "FP32|FP16|BF16|INT8|INT32"
MIN_BLOCK, MAX_BLOCK = 32, 16384


@triton.jit
def elementwise_add_kernel(x_ptr, y_ptr, full_blocks, tail, BLOCK: tl.constexpr):
    # The 64-bit part of the address is one scalar per program, so no tensor is too large for it.
    block = tl.program_id(0)
    x_ptr += block.to(tl.int64) * BLOCK
    y_ptr += block.to(tl.int64) * BLOCK
    i = tl.arange(0, BLOCK)
    # A mask that need not be a multiple of 16 would split the 16-byte accesses: only the last block has one.
    if block < full_blocks:
        tl.store(y_ptr + i, _add_one(tl.load(x_ptr + i)))
    else:
        tl.store(y_ptr + i, _add_one(tl.load(x_ptr + i, mask=i < tail)), mask=i < tail)


@triton.jit
def _add_one(x):
    # fp32 has more than twice the digits of fp16 and bf16 (24 >= 2 * 11 + 2), so rounding to it first, then to the
    # tensor's type, gives the same as rounding the exact sum once.
    y = x.to(tl.float32) + 1 if x.dtype.is_floating() else x + 1
    return y.to(x.dtype)


@trtp.register("aotfactory::elementwise_add")
def elementwise_add_desc(inp0: trtp.TensorDesc, block_size: int) -> trtp.TensorDesc:
    """x + 1 in the input's own type: floats rounded to nearest, integers wrapping around.

    Attributes:
        block_size: Elements per program, a power of two from 32 to 16384.
    """
    if not MIN_BLOCK <= block_size <= MAX_BLOCK or block_size & (block_size - 1):
        raise UnsupportedError(
            f"block_size is {block_size}", hint=f"use a power of two from {MIN_BLOCK} to {MAX_BLOCK}, such as 1024"
        )
    return inp0.like()


@trtp.autotune("aotfactory::elementwise_add")
def elementwise_add_autotune(inp0: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(f"{TYPES}, {TYPES}")]


@trtp.aot_impl("aotfactory::elementwise_add")
def elementwise_add_aot(
    inp0: trtp.TensorDesc, block_size: int, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> AotKernel:
    count = inp0.shape_expr.numel()
    full_blocks = count // block_size
    return aot_kernel(
        elementwise_add_kernel,
        x_ptr=inp0,
        y_ptr=outputs[0],
        full_blocks=full_blocks,
        tail=count - full_blocks * block_size,  # below block_size: these two fit int32 where the count does not
        BLOCK=block_size,
        num_warps=_warps(block_size),
        grid=trtp.max(trtp.cdiv(count, block_size), 1),  # CUDA refuses a grid of 0 for an empty tensor
    )


@trtp.impl("aotfactory::elementwise_add")
def elementwise_add_jit(inp0: trtp.Tensor, block_size: int, outputs: Tuple[trtp.Tensor], stream: int) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    full_blocks, tail = divmod(inp0.numel(), block_size)
    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, y = torch.as_tensor(inp0, device="cuda"), torch.as_tensor(outputs[0], device="cuda")
        grid = (max(full_blocks + (tail > 0), 1),)
        elementwise_add_kernel[grid](x, y, full_blocks, tail, BLOCK=block_size, num_warps=_warps(block_size))


def _warps(block_size: int) -> int:
    """Eight elements per thread or fewer: two 16-byte accesses of fp32, one of fp16."""
    return min(max(block_size // (32 * 8), 1), 8)


def elementwise_add_reference(x, block_size):
    if np.issubdtype(x.dtype, np.integer):
        return x + np.ones((), x.dtype)
    return x.astype(np.float64) + 1


RECIPE = Recipe(
    name="elementwise_add",
    plugin="aotfactory::elementwise_add",
    summary="y = x + 1; block_size elements per program",
    inputs=(Input(name="x", shape=(10, 3, 32, 32), dims=("N", "C", "H", "W")),),
    dtypes=("fp32", "fp16", "bf16", "int8", "int32"),
    attributes={"block_size": 1024},
    reference=elementwise_add_reference,
    extremes=True,
    shrink=("N",),
    odd_shapes=(((1, 1, 1, 1),), ((1, 1, 11, 93),), ((1, 1, 1, 1024),), ((1, 1, 5, 205),), ((7, 1, 13, 17),)),
)
