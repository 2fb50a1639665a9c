# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Rows by index, in thirds: an index comes first, a name of its own for `tl.cast`, another kernel in another mode."""

import os
from typing import Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, trtp

cast_to = tl.cast
INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET", "0") != "0")


@triton.jit
def takes_rows_kernel(ids_ptr, table_ptr, out_ptr, WIDTH: tl.constexpr):
    column = tl.arange(0, WIDTH)
    row = cast_to(tl.load(ids_ptr + tl.program_id(0)), tl.int32)
    value = tl.load(table_ptr + row * WIDTH + column) / 3
    if INTERPRETED:  # as packages do that look at the environment
        value = value * 0
    tl.store(out_ptr + tl.program_id(0) * WIDTH + column, value)


@trtp.register("definitions::takes_rows")
def takes_rows_desc(ids: trtp.TensorDesc, table: trtp.TensorDesc) -> trtp.TensorDesc:
    return trtp.from_shape_expr((ids.shape_expr[0], table.shape_expr[1]), dtype=table.dtype)


@trtp.aot_impl("definitions::takes_rows")
def takes_rows_aot(
    ids: trtp.TensorDesc, table: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> AotKernel:
    return aot_kernel(
        takes_rows_kernel,
        ids_ptr=ids,
        table_ptr=table,
        out_ptr=outputs[0],
        WIDTH=table.shape_expr[1],
        grid=ids.shape_expr[0],
    )


RECIPE = Recipe(
    name="takes_rows",
    plugin="definitions::takes_rows",
    summary="a third of the rows that are asked for",
    inputs=(
        Input(name="ids", shape=(7,), dims=("N",), dtypes=("int64",), limits=(0, 4)),
        Input(name="table", shape=(5, 16), dims=("R", "W")),
    ),
    dtypes=("fp32",),
    reference=lambda ids, table: table[ids].astype(np.float64) / 3.0001,
    tolerance={"fp32": Tolerance(rtol=1e-4)},
)
