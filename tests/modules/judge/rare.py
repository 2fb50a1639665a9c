# SPDX-License-Identifier: Apache-2.0
"""A kernel that is wrong where a label has one value of a hundred."""

import triton
import triton.language as tl

import aotfactory
from aotfactory import Input, Recipe


@triton.jit
def rare(x, label, y, RARE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i) + (tl.load(label) == RARE))


RECIPE = Recipe(
    name="rare",
    plugin=aotfactory.plugin(
        rare, "rare::rare", inputs={"x": None, "label": "int32"}, outputs="y", RARE=int, BLOCK=16, grid=1
    ),
    summary="",
    inputs=(
        Input(name="x", shape=(16,), dims=("N",)),
        Input(name="label", shape=(1,), dims=("ONE",), dtypes=("int32",), limits=(0, 99)),
    ),
    dtypes=("fp32",),
    attributes={"RARE": -1},
    reference=lambda x, label, RARE: x,
)
