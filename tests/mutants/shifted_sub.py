# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP007, UP035  (annotations as TensorRT's documentation writes them)
"""A good plugin, written as TensorRT's documentation does, for test_mutations.py to break.

y = a - b, with b shifted by the number of rows, as if it were one line that ends where it begins.
"""

from typing import List, Tuple, Union

import numpy as np
import triton
import triton.language as tl
from triton.compiler import ASTSource

from aotfactory.plugins import tensorrt_api
from aotfactory.recipe import Input, Recipe

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402

BLOCK = 32


@triton.jit
def shifted_sub_kernel(a_ptr, b_ptr, n, rows, y_ptr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    j = i + rows
    j = tl.where(j >= n, j - n, j)
    a = tl.load(a_ptr + i, mask=i < n)
    b = tl.load(b_ptr + j, mask=i < n)
    tl.store(y_ptr + i, a - b, mask=i < n)


@trtp.register("mutants::shifted_sub")
def shifted_sub_desc(a: trtp.TensorDesc, b: trtp.TensorDesc) -> trtp.TensorDesc:
    return a.like()


@trtp.autotune("mutants::shifted_sub")
def shifted_sub_autotune(
    a: trtp.TensorDesc, b: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32, FP32")]


@trtp.aot_impl("mutants::shifted_sub")
def shifted_sub_aot(
    a: trtp.TensorDesc, b: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int
) -> Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs]:
    rows, n = a.shape_expr[0], a.shape_expr.numel()
    source = ASTSource(
        fn=shifted_sub_kernel,
        signature={
            "a_ptr": "*fp32",
            "b_ptr": "*fp32",
            "n": "i32",
            "rows": "i32",
            "y_ptr": "*fp32",
            "BLOCK": "constexpr",
        },
        constexprs={"BLOCK": BLOCK},
        attrs={(0,): [["tt.divisibility", 16]], (2,): [["tt.divisibility", 16]]},
    )
    compiled = triton.compile(source, options={"num_warps": 1})
    launch = trtp.KernelLaunchParams()
    launch.grid_x = trtp.cdiv(n, BLOCK)
    launch.block_x = compiled.metadata.num_warps * 32
    launch.shared_mem = compiled.metadata.shared
    extra_args = trtp.SymIntExprs(2)
    extra_args[0] = trtp.SymInt32(n)
    extra_args[1] = trtp.SymInt32(rows)
    return compiled.metadata.name, compiled.asm["ptx"], launch, extra_args


RECIPE = Recipe(
    name="shifted_sub",
    plugin="mutants::shifted_sub",
    summary="a - b, with b shifted by its number of rows",
    inputs=(Input(name="a", shape=(7, 48), dims=("N", "C")), Input(name="b", shape=(7, 48), dims=("N", "C"))),
    dtypes=("fp32",),
    reference=lambda a, b: a.astype(np.float64) - np.roll(b.astype(np.float64).ravel(), -len(b)).reshape(b.shape),
)
