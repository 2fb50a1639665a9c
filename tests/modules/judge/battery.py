# SPDX-License-Identifier: Apache-2.0
# ruff: noqa
"""Small kernels around public reports on Triton's interpreter; each is right on a GPU."""

from typing import Tuple

import numpy as np
import triton
import triton.language as tl
from aotfactory.kernel import AotKernel, aot_kernel
from aotfactory.recipe import Input, Recipe, Tolerance

import tensorrt.plugin as trtp
import tensorrt as trt


@triton.jit
def total(x_ptr, y_ptr, n, W: tl.constexpr):  # 11531: an integer sum that wraps around
    at = tl.arange(0, W)
    x = tl.load(x_ptr + at, mask=at < n, other=0)
    tl.store(y_ptr + at, tl.sum(x) + x * 0, mask=at < n)


@triton.jit
def best(x_ptr, y_ptr, n, W: tl.constexpr):  # 11615: argmax of NaN alone
    row = tl.program_id(0)
    x = tl.load(x_ptr + row * n + tl.arange(0, W))
    tl.store(y_ptr + row * n + tl.arange(0, W), (tl.argmax(x, 0) + tl.arange(0, W) * 0).to(tl.float32))


@triton.jit
def plus(a, b):
    return a + b


@triton.jit
def single(x_ptr, y_ptr, n, W: tl.constexpr):  # 6490: reduce of a tuple of one
    at = tl.arange(0, W)
    x = tl.load(x_ptr + at, mask=at < n, other=0)
    (s,) = tl.reduce((x,), 0, plus)
    tl.store(y_ptr + at, s + x * 0, mask=at < n)


@triton.jit
def counting(x_ptr, y_ptr, n, W: tl.constexpr):  # 11402: while tl.condition(...)
    at = tl.arange(0, W)
    i = 0
    while tl.condition(i < n):
        i += 1
    x = tl.load(x_ptr + at, mask=at < n, other=0)
    tl.store(y_ptr + at, x + (i - n), mask=at < n)


@triton.jit
def bits(x_ptr, y_ptr, n, W: tl.constexpr):  # 10919: sum of two booleans wraps around
    at = tl.arange(0, W)
    x = tl.load(x_ptr + at, mask=at < n, other=0)
    a = x > 0
    tl.store(y_ptr + at, (a ^ (x > 1)).to(x.dtype), mask=at < n)


@triton.jit
def pair_scan(ax, ay, bx, by):
    return ax * by + bx, ay * by


@triton.jit
def ema(x_ptr, y_ptr, n, W: tl.constexpr):  # 2657/2359: a scan over a tuple
    at = tl.arange(0, W)
    x = tl.load(x_ptr + at, mask=at < n, other=0)
    one = x * 0 + 1
    s, _ = tl.associative_scan((x, one), 0, pair_scan)
    tl.store(y_ptr + at, s, mask=at < n)


@triton.jit
def tally(x_ptr, y_ptr, n, W: tl.constexpr):  # 10889: histogram
    at = tl.arange(0, W)
    x = tl.load(x_ptr + at, mask=at < n, other=0)
    h = tl.histogram((x & 3).to(tl.int32), 4, mask=at < n)
    tl.store(y_ptr + tl.arange(0, 4), h)
    tl.store(y_ptr + at, x, mask=(at < n) & (at >= 4))


@triton.jit
def noise(x_ptr, y_ptr, n, W: tl.constexpr):  # 1058: random signs
    at = tl.program_id(0) * W + tl.arange(0, W)
    keep = at < n
    x = tl.load(x_ptr + at, mask=keep, other=0)
    tl.store(y_ptr + at, tl.where(tl.rand(7, at) < 2.0, x, 0), mask=keep)


def i32(x):
    return x.astype(np.int64)


def wrap(v):
    return np.asarray(v).astype(np.int64).astype(np.int32)


def argmax(x):
    with np.errstate(all="ignore"):
        return np.where(np.isnan(x), -np.inf, x).argmax(1)[:, None].astype(np.float64) + np.zeros(x.shape)


def hist(x):
    y = x.copy()
    y[:4] = np.bincount((x & 3).astype(np.int64), minlength=4)[:4]
    return y


TABLE = {
    total: ("int32", (128,), lambda x: wrap(x.astype(np.int64).sum()) + x * 0),
    best: ("fp32", (256, 1), argmax),
    single: ("int32", (128,), lambda x: wrap(x.astype(np.int64).sum()) + x * 0),
    counting: ("int32", (100,), lambda x: x),
    bits: ("int32", (100,), lambda x: ((x > 0) ^ (x > 1)).astype(np.int32)),
    ema: ("int32", (64,), lambda x: wrap(np.cumsum(x.astype(np.int64)))),
    tally: ("int32", (100,), hist),
    noise: ("fp32", (100,), lambda x: x),
}
RECIPES = ()
for kernel, (dtype, shape, reference) in TABLE.items():

    def define(kernel=kernel, shape=shape):
        name = f"demo::{kernel.fn.__name__}"

        @trtp.register(name)
        def desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
            return x.like()

        @trtp.aot_impl(name)
        def aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
            last = x.shape_expr[x.ndim - 1]
            width = triton.next_power_of_2(shape[-1])
            return aot_kernel(
                kernel, x_ptr=x, y_ptr=outputs[0], n=last, W=width, grid=x.shape_expr[0] if x.ndim > 1 else 1
            )

        return name

    RECIPES += (
        Recipe(
            name=kernel.fn.__name__,
            plugin=define(),
            summary="x",
            inputs=(Input(name="x", shape=shape),),
            dtypes=(dtype,),
            reference=reference,
        ),
    )
