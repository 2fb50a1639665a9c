# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Kernels with arguments of every kind, in orders of their own, for test_aot_kernel.py."""

from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory.kernel import AotKernel, aot_kernel
from aotfactory.recipe import Input, Recipe, Tolerance

import tensorrt.plugin as trtp  # isort: skip


@triton.jit
def affine_kernel(
    out, BLOCK: tl.constexpr, count, scale, source, mode, absolute, bias, DTYPE: tl.constexpr, offset=2
):  # fmt: skip
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(source + i, mask=i < count).to(DTYPE) * scale
    if mode == "shift":
        value += offset
    if absolute:
        value = tl.abs(value)
    if bias is not None:
        value += tl.load(bias + i, mask=i < count)
    tl.store(out + i, value, mask=i < count)


@trtp.register("arguments::affine")
def affine_desc(x: trtp.TensorDesc, scale: float, mode: str, absolute: bool, block: int) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("arguments::affine")
def affine_aot(
    x: trtp.TensorDesc,
    scale: float,
    mode: str,
    absolute: bool,
    block: int,
    outputs: Tuple[trtp.TensorDesc],
    tactic: int,
) -> AotKernel:
    count = x.shape_expr.numel()
    return aot_kernel(
        affine_kernel,
        bias=None,
        count=count,
        source=x,
        out=outputs[0],
        scale=float(scale),
        mode=str(mode),
        absolute=bool(absolute),
        DTYPE=tl.float32,
        BLOCK=int(block),
        grid=trtp.cdiv(count, int(block)),
        num_warps=2,
    )


def affine_reference(x, scale, mode, absolute, block):
    value = x.astype(np.float32) * np.float32(scale)
    value = value + np.float32(2) if mode == "shift" else value
    return (np.abs(value) if absolute else value).astype(np.float64)


@triton.jit
def both_kernel(n, difference, a, total, b, columns, BLOCK: tl.constexpr):
    i = (tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)) * BLOCK + tl.arange(0, BLOCK)
    x, y = tl.load(a + i, mask=i < n), tl.load(b + i, mask=i < n)
    tl.store(total + i, x + y * columns, mask=i < n)
    tl.store(difference + i, x - y, mask=i < n)


@trtp.register("arguments::both")
def both_desc(a: trtp.TensorDesc, b: trtp.TensorDesc) -> Tuple[trtp.TensorDesc, trtp.TensorDesc]:
    return a.like(), b.like()


@trtp.aot_impl("arguments::both")
def both_aot(
    a: trtp.TensorDesc, b: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc], tactic: int
) -> AotKernel:
    shape = a.shape_expr
    return aot_kernel(
        both_kernel,
        a=a,
        b=b,
        total=outputs[0],
        difference=outputs[1],
        n=trtp.SymInt32(shape.numel()),
        columns=trtp.SymInt32(shape[1]) + trtp.SymInt32(0),
        BLOCK=64,
        grid=(trtp.cdiv(shape.numel(), 128), 2),
    )


@triton.jit
def square_kernel(left, right, product, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(product + i, tl.load(left + i, mask=i < n) * tl.load(right + i, mask=i < n), mask=i < n)


@trtp.register("arguments::square")
def square_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("arguments::square")
def square_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_kernel(square_kernel, left=x, right=x, product=outputs[0], n=n, BLOCK=1024, grid=trtp.cdiv(n, 1024))


@triton.jit
def negate_kernel(n, unused, x, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + i, 0 - tl.load(x + i, mask=i < n), mask=i < n)


@trtp.register("arguments::negate")
def negate_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.aliased()


@trtp.aot_impl("arguments::negate")
def negate_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_kernel(negate_kernel, x=x, unused=outputs[0], n=n, BLOCK=64, grid=(trtp.cdiv(n, 64), 1, 1))


@triton.jit
def total_kernel(x, y, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    total = tl.sum(tl.load(x + i, mask=i < n, other=0).to(tl.int64), 0)
    tl.store(y + i, total.to(tl.float32) + tl.zeros((BLOCK,), tl.float32), mask=i < n)


@trtp.register("arguments::total")
def total_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("arguments::total")
def total_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_kernel(
        total_kernel, x=x, y=outputs[0], n=n, BLOCK=1024, num_warps=8, num_stages=2, enable_fp_fusion=False, grid=1
    )


@triton.jit
def plain_kernel(x, n, y, WIDTH: tl.constexpr):
    i = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    tl.store(y + i, tl.load(x + i, mask=i < n), mask=i < n)


def not_jitted(x: Any, n: Any, y: Any) -> None: ...


Call = Callable[[trtp.TensorDesc, trtp.TensorDesc], AotKernel]
MISTAKES: Dict[str, Call] = {
    "missing": lambda x, y: aot_kernel(plain_kernel, grid=1, x=x, y=y),
    "left over": lambda x, y: aot_kernel(plain_kernel, grid=1, x=x, y=y, n=1, WIDTH=64, m=2, BLOCK=64),
    "both": lambda x, y: aot_kernel(plain_kernel, grid=1, x=x, y=y, WIDTH=64, N=1),
    "symbolic constexpr": lambda x, y: aot_kernel(plain_kernel, grid=1, x=x, y=y, n=1, WIDTH=x.shape_expr[0]),
    "symbolic constexpr int32": lambda x, y: aot_kernel(
        plain_kernel, grid=1, x=x, y=y, n=1, WIDTH=trtp.SymInt32(x.shape_expr[0])
    ),
    "tensor constexpr": lambda x, y: aot_kernel(plain_kernel, grid=1, x=x, y=y, n=1, WIDTH=x),
    "no output": lambda x, y: aot_kernel(plain_kernel, grid=1, x=x, y=x, n=1, WIDTH=64),
    "no input": lambda x, y: aot_kernel(plain_kernel, grid=1, x=y, y=y, n=1, WIDTH=64),
    "whole shape": lambda x, y: aot_kernel(plain_kernel, grid=1, x=x, y=y, n=x.shape_expr, WIDTH=64),
    "not a kernel": lambda x, y: aot_kernel(not_jitted, grid=1, x=x, y=y, n=1),
    "foreign value": lambda x, y: aot_kernel(plain_kernel, grid=1, x=x, y=y, n=np.zeros(3), WIDTH=64),
    "a list": lambda x, y: aot_kernel(plain_kernel, grid=1, x=x, y=y, n=[48], WIDTH=64),
    "foreign tensor": lambda x, y: aot_kernel(
        square_kernel, grid=1, left=x, right=trtp.TensorDesc(), product=y, n=1, BLOCK=64
    ),
    "no mistake": lambda x, y: aot_kernel(plain_kernel, grid=1, x=x, y=y, n=x.shape_expr.numel(), WIDTH=64),
    "NumPy integer": lambda x, y: aot_kernel(plain_kernel, grid=1, x=x, y=y, n=np.int64(48), WIDTH=64),
}


@trtp.register("arguments::mistake")
def mistake_desc(x: trtp.TensorDesc, which: str) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("arguments::mistake")
def mistake_aot(x: trtp.TensorDesc, which: str, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    return MISTAKES[which](x, outputs[0])


def _recipe(name: str, inputs: List[str], reference: Callable, **more: Any) -> Recipe:
    tensors = tuple(Input(name=i, shape=(3, 48), dims=("N", "C")) for i in inputs)
    return Recipe(
        name=name,
        plugin=f"arguments::{name}",
        summary="",
        inputs=tensors,
        dtypes=("fp32",),
        reference=reference,
        **more,
    )


CLOSE = {"fp32": Tolerance(atol=1e-30, rtol=1e-6)}
RECIPES = (
    _recipe("affine", ["x"], affine_reference),
    _recipe("both", ["a", "b"], lambda a, b: (a + b * np.float32(a.shape[1]), a - b), tolerance=CLOSE),
    _recipe("square", ["x"], lambda x: x * x),
    _recipe("negate", ["x"], lambda x: np.float32(0) - x, chain=2),
)
