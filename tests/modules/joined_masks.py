# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""A copy whose masks are joined by Python's words, and by `&` of two shapes; a helper asks a type for its value."""

from typing import Tuple

import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, aot_kernel, trtp


@triton.jit
def zero_of(dtype):
    plain = dtype.value
    return tl.full((), 0, plain)


@triton.jit
def joined_masks_kernel(x_ptr, y_ptr, rows, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0) * 4 + tl.arange(0, 4)[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    inside = row < rows and not column >= WIDTH
    some = ((row < rows) & (tl.program_id(0) < rows) and column < WIDTH) or column < 0
    x = tl.load(x_ptr + row * WIDTH + column, mask=inside, other=0)
    tl.store(y_ptr + row * WIDTH + column, tl.where(column < WIDTH, x, zero_of(x.dtype)), mask=some)


@trtp.register("definitions::joined_masks")
def joined_masks_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("definitions::joined_masks")
def joined_masks_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    rows, width = x.shape_expr
    return aot_kernel(
        joined_masks_kernel, x_ptr=x, y_ptr=outputs[0], rows=rows, WIDTH=width, BLOCK=64, grid=trtp.cdiv(rows, 4)
    )


RECIPE = Recipe(
    name="joined_masks",
    plugin="definitions::joined_masks",
    summary="a copy",
    inputs=(Input(name="x", shape=(7, 48), dims=("N", "W")),),
    dtypes=("fp32",),
    reference=lambda x: x,
)
