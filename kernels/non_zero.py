# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Non-zero: the indices of the elements that are not zero, in NumPy's order; their number is a size tensor.

For AOT plugins it is one kernel, no workspace, no word between programs: each program counts for itself what lies
before its part of the input, then writes the rows of its part. The last program so reads the whole input, at what one
multiprocessor takes (some 100 GB/s), which sets the time of large inputs; MAX_PROGRAMS is where all programs' reading
together (half the input each, from L2) begins to take as long. Small inputs have a program per block.

For a plugin library (--road library) there are tactics of three kernels besides, which share a workspace: one counts
each block, one program makes the counts row numbers, and one writes the rows. The input is read twice.
"""

from math import prod
from typing import List, Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory import (
    AotKernel,
    Input,
    Recipe,
    UnsupportedError,
    aot_kernel,
    aot_kernels,
    launch,
    road,
    trt,
    trtp,
    workspace,
)

TACTICS = {1: (1024, 4), 2: (4096, 8)}
"""Elements in a block, and warps: for small inputs, and for large ones."""

ROW_TACTICS = {3: (1024, 4), 4: (2048, 8), 5: (4096, 8), 6: (8192, 16)}
"""The same of three kernels in a row, for a plugin library."""

SCAN_BLOCK = 4096
"""Counts that the second kernel takes at a time."""

MAX_PROGRAMS = 96
MAX_RANK = 4
MAX_ELEMENTS = 2**29 - 4096
"""Row numbers times the rank, and positions of a block that reaches past the end, fit int32."""


@triton.jit
def non_zero_kernel(
    x_ptr, count, blocks_each, size1, size2, size3, rows_ptr, number_ptr, RANK: tl.constexpr, BLOCK: tl.constexpr
):
    program = tl.program_id(0)
    first = program * blocks_each
    i = tl.arange(0, BLOCK)

    # All blocks before the program's first are full, so this loop needs no mask; what it takes is bytes in flight.
    found = tl.zeros((BLOCK,), tl.int32)
    for block in tl.range(first, loop_unroll_factor=4):
        found += _is_set(tl.load(x_ptr + block * BLOCK + i))
    row = tl.sum(found, 0)

    for block in range(first, tl.minimum(first + blocks_each, tl.cdiv(count, BLOCK))):
        at = block * BLOCK + i
        is_set = _is_set(tl.load(x_ptr + at, mask=at < count, other=0))
        target = rows_ptr + (row + tl.cumsum(is_set, 0) - is_set) * RANK
        if RANK == 4:
            tl.store(target + (RANK - 4), at // (size1 * size2 * size3), mask=is_set != 0)
            at = at % (size1 * size2 * size3)
        if RANK >= 3:
            tl.store(target + (RANK - 3), at // (size2 * size3), mask=is_set != 0)
            at = at % (size2 * size3)
        if RANK >= 2:
            tl.store(target + (RANK - 2), at // size3, mask=is_set != 0)
            at = at % size3
        tl.store(target + (RANK - 1), at, mask=is_set != 0)
        row += tl.sum(is_set, 0)

    # The last program has counted them all; with an empty input it is the only one, and writes 0.
    if program == tl.num_programs(0) - 1:
        tl.store(number_ptr, row.to(number_ptr.dtype.element_ty))


@triton.jit
def count_kernel(x_ptr, count, counts_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    is_set = _is_set(tl.load(x_ptr + at, mask=at < count, other=0))
    tl.store(counts_ptr + tl.program_id(0), tl.sum(is_set, 0))


@triton.jit
def scan_kernel(counts_ptr, blocks, number_ptr, BLOCK: tl.constexpr):
    """One program: each block's count becomes the number of its first row."""
    row = 0
    for start in range(0, blocks, BLOCK):
        at = start + tl.arange(0, BLOCK)
        counts = tl.load(counts_ptr + at, mask=at < blocks, other=0)
        tl.store(counts_ptr + at, row + tl.cumsum(counts, 0) - counts, mask=at < blocks)
        row += tl.sum(counts, 0)
    tl.store(number_ptr, row.to(number_ptr.dtype.element_ty))


@triton.jit
def rows_kernel(
    x_ptr, count, rows_of_blocks_ptr, size1, size2, size3, rows_ptr, RANK: tl.constexpr, BLOCK: tl.constexpr
):
    # The last blocks first: they were read last, so that L2 has them.
    block = tl.num_programs(0) - 1 - tl.program_id(0)
    at = block * BLOCK + tl.arange(0, BLOCK)
    is_set = _is_set(tl.load(x_ptr + at, mask=at < count, other=0))
    row = tl.load(rows_of_blocks_ptr + block) + tl.cumsum(is_set, 0) - is_set
    last = at % size3
    third = at // size3
    if RANK == 1:
        tl.store(rows_ptr + row, at, mask=is_set != 0)
    elif RANK == 2:
        tl.store(_pairs(rows_ptr) + row, _pair(third, last), mask=is_set != 0)
    elif RANK == 3:
        tl.store(rows_ptr + row * 3, third // size2, mask=is_set != 0)
        tl.store(rows_ptr + row * 3 + 1, third % size2, mask=is_set != 0)
        tl.store(rows_ptr + row * 3 + 2, last, mask=is_set != 0)
    else:
        second = third // size2
        tl.store(_pairs(rows_ptr) + row * 2, _pair(second // size1, second % size1), mask=is_set != 0)
        tl.store(_pairs(rows_ptr) + row * 2 + 1, _pair(third % size2, last), mask=is_set != 0)


@triton.jit
def _pairs(rows_ptr):
    return rows_ptr.to(tl.pointer_type(tl.int64))


@triton.jit
def _pair(first, second):
    """Two int32 as they lie in memory: stored together, they take one store instead of two with gaps."""
    return first.to(tl.int64) | (second.to(tl.int64) << 32)


@triton.jit
def _is_set(x):
    # As in NumPy, NaN and the smallest denormal are not zero and -0.0 is: whatever has a bit beside the sign.
    if x.dtype == tl.float32:
        x = x.to(tl.int32, bitcast=True) << 1
    elif x.dtype.is_floating():
        x = x.to(tl.int16, bitcast=True) << 1
    return (x != 0).to(tl.int32)


@trtp.register("aotfactory::non_zero")
def non_zero_desc(inp0: trtp.TensorDesc) -> Tuple[trtp.TensorDesc, trtp.TensorDesc]:
    """Indices of the non-zero elements, int32 of shape (number, rank), in row-major order; and their number.

    NaN counts as non-zero, -0.0 as zero. The input has 1 to 4 dimensions and at most MAX_ELEMENTS elements.
    """
    if not 1 <= inp0.ndim <= MAX_RANK:
        raise UnsupportedError(
            f"non_zero of a tensor of {inp0.ndim} dimensions", hint="reshape it to 1 to 4 dimensions"
        )
    upper = inp0.shape_expr.numel()
    number = trtp.size_tensor(upper // 2, upper)
    number.dtype = trt.int64  # as all of NVIDIA's samples have it since 10.15; the header still says int32
    return trtp.from_shape_expr((number.expr(), inp0.ndim), dtype=trt.int32), number


@trtp.autotune("aotfactory::non_zero")
def non_zero_autotune(
    inp0: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    tactics = [*TACTICS, *(ROW_TACTICS if road() == "library" else ())]
    return [trtp.AutoTuneCombination("FP32|FP16|BF16|INT8|INT32, INT32, INT64", "LINEAR", tactics)]


@trtp.aot_impl("aotfactory::non_zero")
def non_zero_aot(inp0: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc], tactic: int) -> AotKernel:
    most = prod(inp0.shape.max if inp0.shape.is_dynamic else inp0.shape)
    if most > MAX_ELEMENTS:
        raise UnsupportedError(f"non_zero of up to {most} elements", hint=f"at most {MAX_ELEMENTS}; split the tensor")
    sizes = [trtp.ShapeExpr(1)] * (4 - inp0.ndim) + list(inp0.shape_expr)
    count = inp0.shape_expr.numel()
    if tactic in ROW_TACTICS:
        return _in_a_row(inp0, count, sizes, outputs, *ROW_TACTICS[tactic])
    block, warps = TACTICS[tactic]
    blocks = trtp.cdiv(count, block)
    blocks_each = trtp.max(trtp.cdiv(blocks, MAX_PROGRAMS), 1)
    return aot_kernel(
        non_zero_kernel,
        x_ptr=inp0,
        count=count,
        blocks_each=blocks_each,
        size1=sizes[1],
        size2=sizes[2],
        size3=sizes[3],
        rows_ptr=outputs[0],
        number_ptr=outputs[1],
        RANK=inp0.ndim,
        BLOCK=block,
        num_warps=warps,
        grid=trtp.max(trtp.cdiv(blocks, blocks_each), 1),  # an empty input has its number written, too
    )


def _in_a_row(inp0: trtp.TensorDesc, count, sizes, outputs, block: int, warps: int) -> AotKernel:
    blocks = trtp.max(trtp.cdiv(count, block), 1)
    counts = workspace(blocks, trt.int32)
    return aot_kernels(
        launch(count_kernel, x_ptr=inp0, count=count, counts_ptr=counts, BLOCK=block, num_warps=warps, grid=blocks),
        launch(
            scan_kernel,
            counts_ptr=counts,
            blocks=blocks,
            number_ptr=outputs[1],
            BLOCK=SCAN_BLOCK,
            num_warps=16,
            grid=1,
        ),
        launch(
            rows_kernel,
            x_ptr=inp0,
            count=count,
            rows_of_blocks_ptr=counts,
            size1=sizes[1],
            size2=sizes[2],
            size3=sizes[3],
            rows_ptr=outputs[0],
            RANK=inp0.ndim,
            BLOCK=block,
            num_warps=warps,
            grid=blocks,
        ),
    )


@trtp.impl("aotfactory::non_zero")
def non_zero_jit(inp0: trtp.Tensor, outputs: Tuple[trtp.Tensor, trtp.Tensor], stream: int, tactic: int) -> None:
    """By torch (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        rows = torch.nonzero(torch.as_tensor(inp0, device="cuda"))
        torch.as_tensor(outputs[0].aliased(tuple(rows.shape)), device="cuda").copy_(rows)
        torch.as_tensor(outputs[1], device="cuda").fill_(rows.shape[0])


def non_zero_reference(x):
    rows = np.argwhere(x != 0).astype(np.int32)
    return rows, np.array(len(rows), np.int64)


RECIPE = Recipe(
    name="non_zero",
    plugin="aotfactory::non_zero",
    summary="indices of the non-zero elements, and their number (data-dependent shape)",
    inputs=(Input(name="x", shape=(64, 64), dims=("R", "C")),),
    dtypes=("fp32", "fp16", "bf16", "int8", "int32"),
    reference=non_zero_reference,
    outputs=("indices", "number"),
    extremes=True,
    odd_shapes=(((1, 1),), ((1, 31),), ((67, 1),), ((61, 67),), ((64, 64),), ((17, 241),)),
)
