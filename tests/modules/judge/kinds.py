# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Small kernels that stand for kinds: a row in one block, a table looked up, sums of narrow types."""

from typing import Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel

import tensorrt.plugin as trtp  # isort: skip


@triton.jit
def scale_row(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    row, col = tl.program_id(0), tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + col, mask=col < n)
    tl.store(y_ptr + row * n + col, x + x, mask=col < n)


def _rows(name: str, block: int) -> None:
    @trtp.register(name)
    def desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
        return x.like()

    @trtp.aot_impl(name)
    def aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
        rows, n = x.shape_expr
        return aot_kernel(scale_row, x_ptr=x, y_ptr=outputs[0], n=n, BLOCK=block, grid=rows)


@triton.jit
def look_up(ids_ptr, table_ptr, y_ptr, n, BLOCK: tl.constexpr):
    row, col = tl.program_id(0), tl.arange(0, BLOCK)
    at = tl.load(ids_ptr + row)
    tl.store(y_ptr + row * n + col, tl.load(table_ptr + at * n + col, mask=col < n), mask=col < n)


@trtp.register("kinds::table")
def table_desc(ids: trtp.TensorDesc, table: trtp.TensorDesc) -> trtp.TensorDesc:
    return trtp.from_shape_expr((ids.shape_expr[0], table.shape_expr[1]), dtype=table.dtype)


@trtp.aot_impl("kinds::table")
def table_aot(ids: trtp.TensorDesc, table: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = table.shape_expr[1]
    return aot_kernel(look_up, ids_ptr=ids, table_ptr=table, y_ptr=outputs[0], n=n, BLOCK=64, grid=ids.shape_expr[0])


@triton.jit
def sum_row(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    row, col = tl.program_id(0), tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + col, mask=col < n, other=0)
    tl.store(y_ptr + row * n + col, (tl.sum(x) + tl.cumsum(x, 0)).to(x.dtype), mask=col < n)


@trtp.register("kinds::sums")
def sums_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("kinds::sums")
def sums_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    rows, n = x.shape_expr
    return aot_kernel(sum_row, x_ptr=x, y_ptr=outputs[0], n=n, BLOCK=64, grid=rows)


def sums_reference(x):
    exact = x.astype(np.float64)
    return exact.sum(-1, keepdims=True) + np.cumsum(exact, -1)


_rows("kinds::rows", 1024)
_rows("kinds::short", 64)

RECIPES = (
    Recipe(
        name="rows",
        plugin="kinds::rows",
        summary="2x, a row in one block",
        inputs=(Input(name="x", shape=(2, 48), dims=("N", "D")),),
        dtypes=("fp32",),
        reference=lambda x: 2 * x.astype(np.float64),
    ),
    Recipe(
        name="short",
        plugin="kinds::short",
        summary="2x, of the first 64 elements of a row",
        inputs=(Input(name="x", shape=(2, 48), dims=("N", "D")),),
        dtypes=("fp32",),
        reference=lambda x: 2 * x.astype(np.float64),
    ),
    Recipe(
        name="table",
        plugin="kinds::table",
        summary="rows of a table",
        inputs=(
            Input(name="ids", shape=(8,), dims=("T",), dtypes=("int64",)),
            Input(name="table", shape=(50, 48), dims=("V", "D")),
        ),
        dtypes=("fp32",),
        reference=lambda ids, table: table[ids],
    ),
    Recipe(
        name="sums",
        plugin="kinds::sums",
        summary="the sum of a row and its running sums",
        inputs=(Input(name="x", shape=(3, 48), dims=("N", "D")),),
        dtypes=("bf16", "fp16"),
        reference=sums_reference,
        tolerance={"bf16": Tolerance(rtol=2e-2, atol=6e-2), "fp16": Tolerance(rtol=4e-3, atol=1e-2)},
    ),
)
