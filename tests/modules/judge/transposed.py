# SPDX-License-Identifier: Apache-2.0
"""Tiles of 32 x 32 transposed in place: Triton loads and stores in two layouts, and exchanges them behind a barrier."""

import triton
import triton.language as tl

import aotfactory
from aotfactory import Input, Recipe


@triton.jit
def transposed(x, SIZE: tl.constexpr):
    i, j = tl.arange(0, SIZE)[:, None], tl.arange(0, SIZE)[None, :]
    tile = x + tl.program_id(0) * SIZE * SIZE
    tl.store(tile + j * SIZE + i, tl.load(tile + i * SIZE + j))


RECIPE = Recipe(
    name="transposed",
    plugin=aotfactory.plugin(
        transposed,
        "transposed::transposed",
        inputs="x",
        outputs={"x": "x"},
        SIZE=32,
        grid=3,
    ),
    summary="",
    inputs=(Input(name="x", shape=(3, 32, 32), dims=("B", "I", "J")),),
    dtypes=("fp32",),
    reference=lambda x: x.swapaxes(1, 2),
)
