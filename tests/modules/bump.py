# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP007, UP035  (annotations as TensorRT's documentation writes them)
"""x += delta in place, written as TensorRT's documentation does."""

from typing import List, Tuple, Union

import numpy as np
import triton
import triton.language as tl
from triton.compiler import ASTSource

from aotfactory.plugins import tensorrt_api
from aotfactory.recipe import Input, Recipe

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402


@triton.jit
def bump_kernel(x_ptr, n, y_ptr, DELTA: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + i, tl.load(x_ptr + i, mask=i < n) + DELTA, mask=i < n)


@trtp.register("definitions::bump")
def bump_desc(x: trtp.TensorDesc, delta: int) -> trtp.TensorDesc:
    return x.aliased()


@trtp.autotune("definitions::bump")
def bump_autotune(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32|INT32, FP32|INT32")]


@trtp.aot_impl("definitions::bump")
def bump_aot(
    x: trtp.TensorDesc, delta: int, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs]:
    kind = {"FLOAT": "*fp32", "INT32": "*i32"}[x.dtype.name]
    source = ASTSource(
        fn=bump_kernel,
        signature={"x_ptr": kind, "n": "i32", "y_ptr": kind, "DELTA": "constexpr", "BLOCK": "constexpr"},
        constexprs={"DELTA": delta, "BLOCK": 64},
    )
    compiled = triton.compile(source)
    n = x.shape_expr.numel()
    launch = trtp.KernelLaunchParams(grid_x=trtp.cdiv(n, 64), block_x=compiled.metadata.num_warps * 32)
    extra_args = trtp.SymIntExprs(1)
    extra_args[0] = trtp.SymInt32(n)
    return compiled.metadata.name, compiled.asm["ptx"], launch, extra_args


RECIPE = Recipe(
    name="bump",
    plugin="definitions::bump",
    summary="x += delta in place, twice",
    inputs=(Input(name="x", shape=(2, 48), dims=("N", "C"), limits="any"),),
    dtypes=("fp32", "int32"),
    attributes={"delta": 3},
    reference=lambda x, delta: x + np.asarray(delta).astype(x.dtype),
    chain=2,
)
