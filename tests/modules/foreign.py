# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Kernels as public code has them: typed scalars, autotuned, in place through one pointer, any names."""

import os
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, constant, tactics_of, trt, trtp, upper_bound


@triton.jit
def _offset(row, stride):
    return row * stride.to(tl.int64)


@triton.jit
def scalars_kernel(x, y, stride, one, wide: tl.int64, scale, flag, optional, n, BLOCK: tl.constexpr):
    start = _offset(tl.program_id(0), stride) * one.to(tl.int64)
    i = tl.multiple_of(tl.arange(0, BLOCK), 16)
    tl.static_assert(wide.dtype == tl.int64)
    tl.static_assert(scale.dtype == tl.float32)
    tl.static_assert(n.dtype == tl.int32)
    tl.static_assert(optional is None)
    value = tl.load(x + start + i, mask=i < n)
    if flag:
        value = (value * scale.to(tl.float32)).to(value.dtype)
    tl.store(y + start + i, value, mask=i < n)


@trtp.register("foreign::scalars")
def scalars_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("foreign::scalars")
def scalars_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        scalars_kernel,
        x=x,
        y=outputs[0],
        stride=cols,
        one=1,
        wide=7,
        scale=2.0,
        flag=True,
        optional=None,
        n=cols,
        BLOCK=triton.next_power_of_2(upper_bound(cols)),
        grid=rows,
    )


@triton.jit
def product_kernel(x, y, a, b, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n) * a + b, mask=i < n)


@trtp.register("foreign::product")
def product_desc(x: trtp.TensorDesc, a: int, b: int) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("foreign::product")
def product_aot(x: trtp.TensorDesc, a: int, b: int, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_kernel(product_kernel, x=x, y=outputs[0], a=a, b=b, n=n, BLOCK=64, grid=trtp.cdiv(n, 64))


def _prune(configs: List[Any], named: Any, **rest: Any) -> List[Any]:
    return [c for c in configs if c.kwargs["BLOCK"] != 32]


class LibraryEntry:
    """A wrapper as FlagGems has one."""

    def __init__(self, fn: Any) -> None:
        self.fn, self.arg_names = fn, fn.arg_names
        while not isinstance(fn, triton.runtime.JITFunction):
            fn = fn.fn
        self.params = fn.params


def autotune(**options: Any) -> Any:
    """As some libraries have it."""
    return (lambda fn: fn) if os.environ.get("TRITON_INTERPRET") == "1" else triton.autotune(**options)


@LibraryEntry
@triton.heuristics({"EVEN": lambda args: args["x"].shape[1] % 16 == 0 and args["x"].stride(1) == 1})
@autotune(
    configs=[
        triton.Config({"BLOCK": 32}),
        triton.Config({"BLOCK": 16384}, num_warps=8),
        triton.Config({"BLOCK": 65}, num_warps=2),
        triton.Config({"BLOCK": 128}, num_warps=2, pre_hook=lambda args: None),
        triton.Config({"BLOCK": 128}, num_warps=2),
        triton.Config({"BLOCK": 256}, num_warps=8),
    ],
    key=["n"],
    prune_configs_by={"early_config_prune": _prune},
    reset_to_zero=["y"],
)
@triton.heuristics({"num_stages": lambda args: 2})
@triton.jit
def tuned_kernel(x, y, n, EVEN: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    if BLOCK > 8192:  # through shared memory
        value = tl.reshape(tl.trans(tl.reshape(value, (128, BLOCK // 128))), (BLOCK,))
    tl.store(y + i, value * 2 if EVEN else value * 3, mask=i < n)


@trtp.register("foreign::tuned")
def tuned_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.autotune("foreign::tuned")
def tuned_autotune(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32", "LINEAR", tactics_of(tuned_kernel))]


@trtp.aot_impl("foreign::tuned")
def tuned_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_kernel(
        tuned_kernel, x=x, y=outputs[0], n=n, config=tactic, grid=lambda meta: (triton.cdiv(meta["n"], meta["BLOCK"]),)
    )


def _made(configs: Any, named: Any, **options: Any) -> Any:
    """As Transformer Engine's: what it lists only says how many there may be."""
    return [triton.Config({"BLOCK": 64 * named["x"].shape[1] // 48}, num_warps=w) for w in (2, 4)]


@triton.autotune(
    configs=[triton.Config({"BLOCK": 8}), triton.Config({"BLOCK": 4}), triton.Config({"BLOCK": 2})],
    key=["n"],
    prune_configs_by={"early_config_prune": _made},
)
@triton.jit
def made_kernel(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n) * 2, mask=i < n)


@trtp.register("foreign::made")
def made_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.autotune("foreign::made")
def made_autotune(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32", "LINEAR", tactics_of(made_kernel))]


@trtp.aot_impl("foreign::made")
def made_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_kernel(
        made_kernel, x=x, y=outputs[0], n=n, config=tactic, grid=lambda meta: (triton.cdiv(n, meta["BLOCK"]),)
    )


@trtp.register("foreign::first")
def first_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("foreign::first")
def first_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_kernel(tuned_kernel, x=x, y=outputs[0], n=n, grid=lambda meta: trtp.cdiv(n, meta["BLOCK"]))


@triton.jit
def pair_kernel(a, b, counts, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x, y = tl.load(a + i, mask=i < n), tl.load(b + i, mask=i < n)
    tl.store(a + i, y, mask=i < n)
    tl.store(b + i, x, mask=i < n)
    tl.atomic_add(counts + i % 3, 1, mask=i < n)


@trtp.register("foreign::pair")
def pair_desc(
    a: trtp.TensorDesc, b: trtp.TensorDesc, counts: trtp.TensorDesc, like: trtp.TensorDesc
) -> Tuple[trtp.TensorDesc, trtp.TensorDesc, trtp.TensorDesc]:
    return a.aliased(), b.aliased(), counts.aliased()


@trtp.aot_impl("foreign::pair")
def pair_aot(
    a: trtp.TensorDesc,
    b: trtp.TensorDesc,
    counts: trtp.TensorDesc,
    like: trtp.TensorDesc,
    outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc, trtp.TensorDesc],
    tactic: int,
) -> AotKernel:
    n = a.shape_expr.numel()
    return aot_kernel(pair_kernel, a=a, b=b, counts=counts, n=n, BLOCK=64, unused=[like], grid=trtp.cdiv(n, 64))


@triton.jit
def names_kernel(x, grid, num_warps: tl.constexpr, num_stages, fn, _kernel, config, tl_, strides, y):
    i = tl.program_id(0) * num_warps * 32 + tl.arange(0, num_warps * 32)
    keep = i < strides[0] * strides[1]
    value = tl.load(x + i, mask=keep) + (num_stages + fn + _kernel + config + tl_ + grid)
    tl.store(y + i, value, mask=keep)


@trtp.register("foreign::names")
def names_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("foreign::names")
def names_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    rows, cols = x.shape_expr
    return aot_kernel(
        names_kernel,
        {"grid": 1, "config": 16},
        x=x,
        num_warps=2,
        num_stages=2,
        fn=4,
        _kernel=8,
        tl_=32,
        strides=(rows, constant(cols)),
        y=outputs[0],
        grid=trtp.cdiv(rows * cols, 64),
    )


@triton.jit
def narrow_kernel(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n).to(tl.float8e4nv), mask=i < n)


@trtp.register("foreign::narrow")
def narrow_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return trtp.from_shape_expr(x.shape_expr, dtype=trt.fp8)


@trtp.aot_impl("foreign::narrow")
def narrow_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = x.shape_expr.numel()
    return aot_kernel(narrow_kernel, x=x, y=outputs[0], n=n, BLOCK=128, grid=trtp.cdiv(n, 128))


@triton.jit
def fp4_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    asm: tl.constexpr = "{ .reg .b8 b, c; mov.b16 {b, c}, $1; cvt.rn.f16x2.e2m1x2 $0, b; }"
    bits = tl.load(x + i).to(tl.int16)
    pairs = tl.inline_asm_elementwise(asm, "=r,h", [bits], dtype=tl.int32, is_pure=True, pack=1)
    tl.store(y + i, pairs)


@trtp.register("foreign::fp4")
def fp4_desc(x: trtp.TensorDesc) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("foreign::fp4")
def fp4_aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    return aot_kernel(fp4_kernel, x=x, y=outputs[0], BLOCK=64, grid=1)


PASTED: Dict[str, Callable] = {
    "launch": lambda x, y: product_kernel[(1,)](x, y, 1, 2, 48, BLOCK=64),
    "tuned launch": lambda x, y: tuned_kernel.fn.fn[(1,)](x, y, 48, EVEN=True),
    "stride": lambda x, y: aot_kernel(product_kernel, x=x, y=y, a=x.stride(0), b=0, n=1, BLOCK=64, grid=1),
    "size": lambda x, y: aot_kernel(product_kernel, x=x, y=y, a=x.size(0), b=0, n=1, BLOCK=64, grid=1),
    "tactic": lambda x, y: aot_kernel(product_kernel, x=x, y=y, a={1: 5}[2], b=0, n=1, BLOCK=64, grid=1),
    "bits": lambda x, y: 1 << (x.shape_expr[1] - 1).bit_length(),
    "range": lambda x, y: list(range(x.shape_expr[1])),
    "power": lambda x, y: triton.next_power_of_2(x.shape_expr[0]),
    "constant": lambda x, y: constant(x.shape_expr[0]),
    "torch": lambda x, y: aot_kernel(product_kernel, x=Torch(), y=y, a=1, b=0, n=1, BLOCK=64, grid=1),
    "inner": lambda x, y: triton.compile(triton.compiler.ASTSource(fn=tuned_kernel.fn.fn, signature={})),
    "grid": lambda x, y: aot_kernel(product_kernel, x=x, y=y, a=1, b=0, n=1, BLOCK=64, grid=(1, 1, 1, 1)),
}


class Torch:
    def data_ptr(self) -> int:
        return 0


@trtp.register("foreign::pasted")
def pasted_desc(x: trtp.TensorDesc, which: str) -> trtp.TensorDesc:
    return x.like()


@trtp.aot_impl("foreign::pasted")
def pasted_aot(x: trtp.TensorDesc, which: str, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    return PASTED[which](x, outputs[0])


def _recipe(name: str, reference: Callable, **more: Any) -> Recipe:
    return Recipe(
        name=name,
        plugin=f"foreign::{name}",
        summary="",
        inputs=more.pop("inputs", (Input(name="x", shape=(3, 48), dims=("N", "C")),)),
        dtypes=more.pop("dtypes", ("fp32",)),
        reference=reference,
        **more,
    )


def pair_reference(a, b, counts, like):
    added = counts.astype(np.int64).copy()
    np.add.at(added, np.arange(a.size) % 3, 1)
    return b, a, added.astype(np.int32)


def product_reference(x, a, b):
    wraps = np.iinfo(x.dtype).bits
    return (x.astype(np.int64) * a + b).astype(np.int64).astype(f"int{wraps}")


RECIPES = (
    _recipe("scalars", lambda x: x * np.float32(2)),
    _recipe("product", product_reference, dtypes=("int8", "int32"), attributes={"a": 3, "b": 1}),
    _recipe("tuned", lambda x: x * np.float32(2)),
    _recipe("first", lambda x: x * np.float32(2)),
    _recipe("names", lambda x: x.astype(np.float64) + 63, tolerance={"fp32": Tolerance(rtol=1e-6)}),
    _recipe(
        "pair",
        pair_reference,
        inputs=(
            Input(name="a", shape=(5, 13), dims=("N", "C")),
            Input(name="b", shape=(5, 13), dims=("N", "C")),
            Input(name="counts", shape=(3,), dtypes=("int32",)),
            Input(name="like", shape=(2,)),
        ),
    ),
)
