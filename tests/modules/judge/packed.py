# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Kernels on integers that nothing is told of: bytes packed by four, with the number of rows compiled in; and places to
write to.
"""

from typing import Tuple

import triton
import triton.language as tl

from aotfactory import AotKernel, aot_kernel

import tensorrt.plugin as trtp  # isort: skip

BLOCK = 8


@triton.jit
def count_bytes(x_ptr, y_ptr, ROWS: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr):
    row, col = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[:, None], tl.arange(0, N)[None, :]
    inside = row < ROWS
    x = tl.load(x_ptr + row * N + col, mask=inside, other=0)
    tl.store(y_ptr + row * N + col, (x & 255) + (x >> 8 & 255), mask=inside)


@trtp.register("packed::bytes")
def bytes_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("packed::bytes")
def bytes_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    rows, n = int(x.shape[0]), int(x.shape[1])  # -1 where it is dynamic
    grid = trtp.cdiv(x.shape_expr[0], BLOCK)
    return aot_kernel(count_bytes, x_ptr=x, y_ptr=outputs[0], ROWS=rows, N=n, BLOCK=BLOCK, grid=grid)


@triton.jit
def scatter(at_ptr, x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    row, col = tl.program_id(0), tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + col, mask=col < n)
    tl.store(y_ptr + tl.load(at_ptr + row) * n + col, x, mask=col < n)


@trtp.register("packed::scatter")
def scatter_desc(at: trtp.TensorDesc, x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("packed::scatter")
def scatter_aot(at: trtp.TensorDesc, x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    rows, n = x.shape_expr
    return aot_kernel(scatter, at_ptr=at, x_ptr=x, y_ptr=outputs[0], n=n, BLOCK=64, grid=rows)
