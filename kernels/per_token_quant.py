# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Quantisation of each row (token) by its largest magnitude, to int8 or fp8 (e4m3), with the scales as a second output.

A program holds whole rows in registers, several where they are short, so memory is read once and written once. Longer
rows are held by a cluster of blocks together, or read twice, the second time mostly from L2. All accesses of rows are
by vectors, wherever rows begin; for dynamic lengths the kernel looks when it runs.

The result is defined bit by bit, in fp32. With m the row's largest magnitude, at least 2^-100, and `most` 127 or 448:
    scale = m / most        y = round(clamp(x * (most / m), -most, most)), to nearest, ties to even.
A row with NaN has a NaN scale; its int8 values are 0, its fp8 values NaN. A row with an infinity has an infinite scale
and zeros; where it is infinite int8 has 0 and fp8 NaN.

From sm_90 on fp8 comes from the GPU's own conversion (sm_89 has one too, but its oldest drivers' PTX does not);
elsewhere, and in Triton's interpreter, from arithmetic on integers and fp32 with the same results.
"""

from contextlib import contextmanager
from typing import Any, Iterator, List, Tuple

import ml_dtypes
import numpy as np
import triton
import triton.language as tl
from aotfactory.kernels import _row_tactics, _row_tiles
from triton.backends.nvidia.compiler import CUDAOptions

from aotfactory import AotKernel, Input, Recipe, UnsupportedError, aot_kernel, trt, trtp

TYPES = "FP32|FP16|BF16"
WORK = 25  # picoseconds of a multiprocessor for an element
INT8, FP8, NATIVE_FP8 = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
MAGNITUDE, EXPONENT = tl.constexpr(0x7FFFFFFF), tl.constexpr(0x7F800000)
LEAST = tl.constexpr(0x0D800000)  # 2^-100 as fp32's bits


@triton.jit
def _magnitude(x):
    # Magnitudes order as their bits do, and NaN is above them all, which the maximum of floats would ignore.
    return x.to(tl.int32, bitcast=True) & MAGNITUDE


@triton.jit
def _scales(largest, TO: tl.constexpr):
    most = tl.maximum(largest, LEAST).to(tl.float32, bitcast=True)
    bound = tl.full(most.shape, 127.0 if TO == INT8 else 448.0, tl.float32)
    return tl.div_rn(most, bound), tl.div_rn(bound, most)


@triton.jit
def _quantised(x, TO: tl.constexpr):
    # x is scaled already, and beyond the bound by rounding at most; or NaN.
    if TO == INT8:
        x = tl.minimum(tl.maximum(tl.where(x == x, x, 0.0), -127.0), 127.0)
        # 1.5 * 2^23 leaves no room for a fraction: the addition rounds, and the sum's low bits are the integer.
        y = (x + 12582912.0).to(tl.int32, bitcast=True).to(tl.int8)
    elif TO == NATIVE_FP8:
        y = x.to(tl.float8e4nv)  # cvt.rn.satfinite: clamps, and keeps NaN
    else:
        bits = x.to(tl.int32, bitcast=True)
        size = tl.minimum((bits & MAGNITUDE).to(tl.float32, bitcast=True), 448.0)
        # As above, but what leaves room for 3 bits after the first is 2^20 times the number's power of two; or
        # that of the smallest normal number, 2^-6, as the denormal ones are spaced alike.
        power = tl.maximum(size.to(tl.int32, bitcast=True) & EXPONENT, (127 - 6) << 23)
        room = (power + (20 << 23)).to(tl.float32, bitcast=True)
        rounded = (size + room) - room
        # 2^-120 moves the exponents from fp32's bias to that of e4m3, denormal numbers included.
        code = (rounded * 7.52316384526264e-37).to(tl.int32, bitcast=True) >> 20
        y = (tl.where(x == x, code, 0x7F) | ((bits >> 24) & 0x80)).to(tl.uint8)
    return y


@triton.jit
def _whole_row(
    x_ptr, y_ptr, scale_ptr, rows, cols, TO: tl.constexpr, ROWS: tl.constexpr, CLUSTER: tl.constexpr,
    BLOCK: tl.constexpr, LIMIT: tl.constexpr, VECTOR: tl.constexpr, ODD: tl.constexpr,
):  # fmt: skip
    # Lines that are held in registers.
    row, start, first, count = _row_tiles.lines(tl.program_id(0), rows, cols, ROWS, CLUSTER, VECTOR)
    head, begin, inner = _row_tiles.body(start, count, VECTOR, ODD)
    lane = _row_tiles.lanes(ROWS, BLOCK)
    inside = (lane < _row_tiles.column(inner, ROWS)) & (lane < LIMIT)
    at = _row_tiles.column(begin, ROWS) + lane
    x = tl.load(x_ptr + at, mask=inside, other=0)
    if ODD:
        # Before the first reduction: behind its barrier, they would be waited for by themselves.
        place, outside = _row_tiles.ends(count, head, inner, ROWS, VECTOR)
        end_at = _row_tiles.column(start, ROWS) + place
        end = tl.load(x_ptr + end_at, mask=outside, other=0).to(tl.float32)
    largest = tl.max(_magnitude(x.to(tl.float32)), -1)
    if ODD:
        largest = tl.maximum(largest, tl.max(_magnitude(end), -1))
    if CLUSTER:
        largest = tl.max(largest, 0) + first * 0
    if ROWS == 1:
        # A block of one element: a scalar has no shape to make constants of.
        one = tl.arange(0, 1)
        scale, inverse = _scales(one + largest, TO)
        tl.store(scale_ptr + (one + row), scale, mask=one + row < rows)
    else:
        scale, inverse = _scales(largest, TO)
        tl.store(scale_ptr + row, scale, mask=(row < rows) & (first == 0))
        inverse = inverse[:, None]
    tl.store(y_ptr + at, _quantised(x.to(tl.float32) * inverse, TO), mask=inside)
    if ODD:
        tl.store(y_ptr + end_at, _quantised(end * inverse, TO), mask=outside)


@triton.jit
def _long_row(
    x_ptr, y_ptr, scale_ptr, cols, TO: tl.constexpr, PARTS: tl.constexpr, DEPTH: tl.constexpr, LANES: tl.constexpr,
    VECTOR: tl.constexpr, ODD: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) // PARTS
    part = tl.program_id(0) % PARTS
    start = row.to(tl.int64) * cols
    head, begin, inner = _row_tiles.body(start, cols, VECTOR, ODD)
    largest = tl.zeros((LANES,), tl.int32)
    tile = tl.arange(0, DEPTH)[:, None] * LANES + tl.arange(0, LANES)[None, :]
    if ODD:
        # Before the first reduction, as in _whole_row.
        place, outside = _row_tiles.ends(cols, head, inner, 1, VECTOR)
        end = tl.load(x_ptr + start + place, mask=outside, other=0).to(tl.float32)
    for i in range(0, inner, DEPTH * LANES):
        inside = i + tile < inner
        x = tl.load(x_ptr + begin + (i + tile), mask=inside, other=0, eviction_policy="evict_last").to(tl.float32)
        largest = tl.maximum(largest, tl.max(_magnitude(x), 0))
    # A block of one element: a scalar has no shape to make constants of.
    most = tl.max(largest[None, :], 1)
    if ODD:
        most = tl.maximum(most, tl.max(_magnitude(end)[None, :], 1))
    scale, inverse = _scales(most, TO)
    one = tl.arange(0, 1)
    tl.store(scale_ptr + (one + row), scale, mask=one + part == 0)
    if ODD:
        tl.store(y_ptr + start + place, _quantised(end * inverse, TO), mask=outside & (place * 0 + part == PARTS - 1))
    size = _row_tiles.part_size(inner, PARTS, VECTOR)
    last = tl.minimum((part + 1) * size, inner)
    for i in range(part * size, last, LANES):
        at = i + tl.arange(0, LANES)
        x = tl.load(x_ptr + begin + at, mask=at < last, other=0).to(tl.float32)
        tl.store(y_ptr + begin + at, _quantised(x * inverse, TO), mask=at < last)


@triton.jit
def _row(
    x_ptr, y_ptr, scale_ptr, rows, cols, TO: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, CLUSTER: tl.constexpr, PARTS: tl.constexpr,
    DEPTH: tl.constexpr, VECTOR: tl.constexpr,
    ODD: tl.constexpr,
):  # fmt: skip
    if PARTS == 0:
        _whole_row(x_ptr, y_ptr, scale_ptr, rows, cols, TO, ROWS, CLUSTER, BLOCK, LIMIT, VECTOR, ODD)
    else:
        _long_row(x_ptr, y_ptr, scale_ptr, cols, TO, PARTS, DEPTH, BLOCK, VECTOR, ODD)


@triton.jit
def per_token_quant_kernel(
    x_ptr, rows, cols, y_ptr, scale_ptr, TO: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, CLUSTER: tl.constexpr, PARTS: tl.constexpr,
    DEPTH: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    if TO == FP8:
        y_ptr = y_ptr.to(tl.pointer_type(tl.uint8), bitcast=True)
    if cols % VECTOR == 0:
        # Written so, the compiler sees that rows begin at 16-byte boundaries.
        aligned = cols // VECTOR * VECTOR
        _row(
            x_ptr, y_ptr, scale_ptr, rows, aligned, TO, ROWS, BLOCK, LIMIT, CLUSTER, PARTS, DEPTH, VECTOR, False
        )  # fmt: skip
    else:
        _row(
            x_ptr, y_ptr, scale_ptr, rows, cols, TO, ROWS, BLOCK, LIMIT, CLUSTER, PARTS, DEPTH, VECTOR, True
        )  # fmt: skip


def _fp8() -> int:
    """How the GPU that Triton compiles for, or the interpreter, gets to fp8."""
    if triton.knobs.runtime.interpret:
        return FP8.value
    target = triton.runtime.driver.active.get_current_target()
    return NATIVE_FP8.value if target.backend == "cuda" and int(target.arch) >= 90 else FP8.value


@contextmanager
def _fp8_pointers() -> Iterator[None]:
    """Let kernels have fp8 pointers for any GPU: before sm_89 Triton refuses the very type, not only conversions."""
    types = CUDAOptions.supported_fp8_dtypes
    CUDAOptions.supported_fp8_dtypes = tuple(sorted({*types, "fp8e4nv"}))
    try:
        yield
    finally:
        CUDAOptions.supported_fp8_dtypes = types


def _outputs(x: trtp.TensorDesc, dtype: Any) -> Tuple[trtp.TensorDesc, trtp.TensorDesc]:
    if x.ndim < 1:
        raise UnsupportedError("per_token_quant of a scalar", hint="x takes 1 dimension or more")
    y = x.like()
    y.dtype = dtype
    return y, trtp.from_shape_expr((*list(x.shape_expr)[:-1], 1), dtype=trt.float32)


@trtp.register("aotfactory::per_token_quant_int8")
def per_token_quant_int8_desc(x: trtp.TensorDesc) -> Tuple[trtp.TensorDesc, trtp.TensorDesc]:
    """x of (..., D) as int8 of the same shape, -127 to 127, and fp32 scales of (..., 1): x is about y * scale."""
    return _outputs(x, trt.int8)


@trtp.register("aotfactory::per_token_quant_fp8")
def per_token_quant_fp8_desc(x: trtp.TensorDesc) -> Tuple[trtp.TensorDesc, trtp.TensorDesc]:
    """x of (..., D) as fp8 (e4m3) of the same shape, and fp32 scales of (..., 1): x is about y * scale."""
    return _outputs(x, trt.fp8)


@trtp.autotune("aotfactory::per_token_quant_int8")
def per_token_quant_int8_autotune(
    x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(f"{TYPES}, INT8, FP32", "LINEAR", _row_tactics.tactics(x, WORK, written=1))]


@trtp.autotune("aotfactory::per_token_quant_fp8")
def per_token_quant_fp8_autotune(
    x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination(f"{TYPES}, FP8, FP32", "LINEAR", _row_tactics.tactics(x, WORK, written=1))]


def _aot(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc], tactic: int, to: int) -> AotKernel:
    *leading, cols = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    arguments = _row_tactics.arguments(_row_tactics.rows_of(x, WORK, written=1), tactic)
    del arguments["AHEAD"]  # there are no weights
    grid = trtp.max(_row_tactics.programs(rows, arguments, trtp.cdiv), 1)
    tensors = {"x_ptr": x, "y_ptr": outputs[0], "scale_ptr": outputs[1]}
    return aot_kernel(per_token_quant_kernel, **tensors, rows=rows, cols=cols, TO=to, grid=grid, **arguments)


@trtp.aot_impl("aotfactory::per_token_quant_int8")
def per_token_quant_int8_aot(
    x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc], tactic: int
) -> AotKernel:
    return _aot(x, outputs, tactic, INT8.value)


@trtp.aot_impl("aotfactory::per_token_quant_fp8")
def per_token_quant_fp8_aot(
    x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc, trtp.TensorDesc], tactic: int
) -> AotKernel:
    with _fp8_pointers():
        return _aot(x, outputs, tactic, _fp8())


def _jit(x: trtp.Tensor, outputs: Tuple[trtp.Tensor, trtp.Tensor], stream: int, tactic: int, to: int) -> None:
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, y, scale = (torch.as_tensor(t, device="cuda") for t in (x, *outputs))
        cols = x.shape[-1]
        rows, arguments = x.numel() // cols, _row_tactics.arguments(_row_tactics.rows_like(x, WORK, written=1), tactic)
        del arguments["AHEAD"]
        grid = (max(_row_tactics.programs(rows, arguments, triton.cdiv), 1),)
        per_token_quant_kernel[grid](x, rows, cols, y, scale, TO=to, **arguments)


@trtp.impl("aotfactory::per_token_quant_int8")
def per_token_quant_int8_jit(
    x: trtp.Tensor, outputs: Tuple[trtp.Tensor, trtp.Tensor], stream: int, tactic: int
) -> None:
    """The same kernel from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    _jit(x, outputs, stream, tactic, INT8.value)


@trtp.impl("aotfactory::per_token_quant_fp8")
def per_token_quant_fp8_jit(x: trtp.Tensor, outputs: Tuple[trtp.Tensor, trtp.Tensor], stream: int, tactic: int) -> None:
    """The same kernel from Python, where TensorRT's bindings expose x and FP8 to torch."""
    _jit(x, outputs, stream, tactic, _fp8())


def _reference(x, most):
    """The scaled numbers before rounding, and the scales: every step as in the kernel, in fp32."""
    x = x.astype(np.float32)
    with np.errstate(all="ignore"):
        largest = np.maximum(np.max(np.abs(x), -1, keepdims=True), np.float32(2**-100))
        return np.clip(x * (np.float32(most) / largest), -most, most), largest / np.float32(most)


def per_token_quant_int8_reference(x):
    y, scale = _reference(x, 127)
    return np.rint(np.where(np.isnan(y), 0, y)).astype(np.int8), scale


def per_token_quant_fp8_reference(x):
    y, scale = _reference(x, 448)
    return y.astype(ml_dtypes.float8_e4m3fn), scale


ROWS_OF = (((1, 1), 1), ((3, 5), 61), ((37,), 64), ((2,), 40001))

# No tolerance: bit-exact.
RECIPES = tuple(
    Recipe(
        name=f"per_token_quant_{kind}",
        plugin=f"aotfactory::per_token_quant_{kind}",
        summary=f"each row as {kind}, by its largest magnitude, and fp32 scales",
        inputs=(Input(name="x", shape=(4, 256, 4096), dims=("B", "S", "D")),),
        dtypes=("fp32", "fp16", "bf16"),
        outputs=("y", "scale"),
        reference=reference,
        extremes=True,
        shrink=("B", "S"),
        odd_shapes=tuple(((*s, d),) for s, d in ROWS_OF),
    )
    for kind, reference in (("int8", per_token_quant_int8_reference), ("fp8", per_token_quant_fp8_reference))
)
