# SPDX-License-Identifier: Apache-2.0
"""Plugins in one call each."""

import numpy as np
import triton
import triton.language as tl

import aotfactory
from aotfactory import Input, Recipe, Tolerance, trtp


@triton.jit
def leaky_kernel(x_ptr, y_ptr, count, slope, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < count).to(tl.float32)
    tl.store(y_ptr + i, tl.where(x > 0, x, x * slope).to(y_ptr.dtype.element_ty), mask=i < count)


leaky = aotfactory.plugin(
    leaky_kernel,
    "one_call::leaky",
    inputs="x_ptr",
    outputs="y_ptr",
    count=lambda t: t.x_ptr.shape_expr.numel(),
    slope=float,
    BLOCK=256,
    grid=lambda a: trtp.cdiv(a["count"], a["BLOCK"]),
)


@triton.autotune(configs=[triton.Config({"BLOCK": b}) for b in (64, 128)], key=["n"])
@triton.jit
def swap_kernel(a, b, ids, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x, y = tl.load(a + i, mask=i < n), tl.load(b + i, mask=i < n)
    tl.store(a + i, y, mask=i < n)
    tl.store(b + i, x, mask=i < n)


aotfactory.plugin(
    swap_kernel,
    "one_call::swap",
    inputs={"a": None, "b": None, "ids": "int64"},
    outputs={"a": "a", "b": "b"},
    n=lambda t: t.a.shape_expr.numel(),
    grid=lambda meta: (triton.cdiv(meta["n"], meta["BLOCK"]),),
    dtypes=("fp32", "int8"),
)

RECIPES = (
    Recipe(
        name="leaky",
        plugin=leaky,
        summary="",
        inputs=(Input(name="x", shape=(3, 48), dims=("N", "C")),),
        dtypes=("fp32", "fp16", "bf16"),
        attributes={"slope": 0.1},
        reference=lambda x, slope: np.where(x > 0, x, x.astype(np.float64) * slope),
        tolerance={d: Tolerance(rtol=r, atol=1e-6) for d, r in (("fp32", 1e-6), ("fp16", 1e-3), ("bf16", 8e-3))},
    ),
    Recipe(
        name="swap",
        plugin="one_call::swap",
        summary="",
        inputs=(
            Input(name="a", shape=(3, 48), dims=("N", "C")),
            Input(name="b", shape=(3, 48), dims=("N", "C")),
            Input(name="ids", shape=(2,), dtypes=("int64",)),
        ),
        dtypes=("fp32", "int8"),
        reference=lambda a, b, ids: (b, a),
    ),
)
