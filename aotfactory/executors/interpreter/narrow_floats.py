# SPDX-License-Identifier: Apache-2.0
"""Arithmetic on bf16 and fp8 for Triton's interpreter, which computes with their bits as if they were integers, cuts
digits off instead of rounding, and gets denormals wrong.

That it has no bf16 is in Triton's documentation ("Debugging Triton"). But a kernel that adds in bf16 is right on a GPU
and must not be called wrong here. Each operation is rounded to the nearest number of the type, as a GPU does;
conversion to fp8 saturates, as Triton has the GPU do. Conversion to integers, which Triton leaves undefined for NaN and
for what does not fit, saturates at 32 or 64 bits and takes NaN for 0, as NVIDIA's does. Of a number and NaN, a GPU's
maximum and minimum are the number; the interpreter's were NaN up to Triton 3.6 at least, for every type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import triton.language as tl
from triton.runtime import interpreter

NARROW = {
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "fp8e4nv": np.dtype(ml_dtypes.float8_e4m3fn),
    "fp8e5": np.dtype(ml_dtypes.float8_e5m2),
}
"""By Triton's name of the type; the interpreter holds its bits in unsigned integers."""

NEAREST = interpreter._ir.ROUNDING_MODE.RTNE


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Make the interpreter compute with the numbers of these types, not the bits, and with NaN as a GPU does."""
    builder = interpreter.InterpreterBuilder
    names = ["binary_op", "unary_op", "ternary_op", "create_fma", "create_dot", "create_maxnumf", "create_minnumf"]
    names += ["create_fp_to_si", "create_fp_to_ui", "cast_impl", "create_fp_to_fp"]
    originals = {name: getattr(builder, name) for name in names}

    def elementwise(name: str) -> Callable[..., Any]:
        def operate(self: Any, first: Any, *rest: Any) -> Any:
            *operands, op = rest
            return originals[name](self, first, *operands, _on_numbers(op, _narrow(first)))

        return operate

    def fma(self: Any, x: Any, y: Any, z: Any) -> Any:
        if not (element := _narrow(x)):
            return originals["create_fma"](self, x, y, z)
        # float64 holds the product exactly.
        a, b, c = (operand.data.view(element).astype(np.float64) for operand in (x, y, z))
        return interpreter.TensorHandle((a * b + c).astype(element).view(x.data.dtype), x.dtype.scalar)

    def dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return originals["create_dot"](self, _widened(a), _widened(b), *rest)

    def conversion(name: str) -> Callable[..., Any]:
        def convert(self: Any, source: Any, to: Any, rounding: Any = NEAREST) -> Any:
            element, wanted = _narrow(source), NARROW.get(str(to.scalar))
            if (element is None and wanted is None) or rounding not in (NEAREST, None):
                return originals[name](self, source, to, *([rounding] if name == "create_fp_to_fp" else []))
            numbers = source.data if element is None else source.data.view(element).astype(np.float32)
            return interpreter.TensorHandle(_converted(numbers, wanted, to), to.scalar)

        return convert

    def constant(self: Any, value: float) -> Any:
        return self.cast_impl(self.get_fp32(value), tl.bfloat16)

    lacks_constants = not hasattr(builder, "get_bf16")  # Triton 3.5
    if lacks_constants:
        builder.get_bf16 = constant
    for name in names[:3]:
        setattr(builder, name, elementwise(name))
    for name in names[-2:]:
        setattr(builder, name, conversion(name))
    builder.create_fma, builder.create_dot = fma, dot
    builder.create_fp_to_si = builder.create_fp_to_ui = _integer
    builder.create_maxnumf = lambda self, a, b: self.binary_op(a, b, np.fmax)
    builder.create_minnumf = lambda self, a, b: self.binary_op(a, b, np.fmin)
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(builder, name, original)
        if lacks_constants:
            del builder.get_bf16


def _integer(self: Any, source: Any, to: Any) -> Any:
    """Floats as integers: first of 32 bits, or 64 if those are wanted, then of as many as are."""
    element, wanted = _narrow(source), np.dtype(interpreter._get_np_dtype(to))
    numbers = (source.data if element is None else source.data.view(element)).astype(np.float64)
    wide = np.dtype(f"{wanted.kind}{max(wanted.itemsize, 4)}")
    limits, whole = np.iinfo(wide), np.trunc(numbers)
    fits = (whole >= limits.min) & (whole < float(limits.max) + (wide.itemsize == 4))
    found = np.where(whole > 0, limits.max, limits.min).astype(wide)
    found[fits], found[np.isnan(numbers)] = whole[fits].astype(wide), 0
    return interpreter.TensorHandle(found.astype(wanted), to.scalar)


def _narrow(handle: Any) -> np.dtype[Any] | None:
    # Triton's interpreter labels the result of a comparison with the type of its operands.
    return None if handle.data.dtype == np.bool_ else NARROW.get(str(handle.dtype.scalar))


def _converted(numbers: Any, wanted: np.dtype[Any] | None, to: Any) -> Any:
    bits = interpreter._get_np_dtype(to)
    with np.errstate(all="ignore"):
        if wanted is None:
            return numbers.astype(bits)
        numbers = numbers.astype(np.float32)
        if wanted.itemsize == 1:
            largest = float(ml_dtypes.finfo(wanted).max)
            numbers = np.clip(numbers, -largest, largest)
        return numbers.astype(wanted).view(bits)


def _widened(handle: Any) -> Any:
    element = _narrow(handle)
    if element is None:
        return handle
    return interpreter.TensorHandle(handle.data.view(element).astype(np.float32), tl.float32)


def _on_numbers(op: Callable[..., Any], element: np.dtype[Any] | None) -> Callable[..., Any]:
    if element is None:
        return op

    def operate(*bits: Any) -> Any:
        with np.errstate(all="ignore"):
            result = op(*(b.view(element) for b in bits))
        return result.view(bits[0].dtype) if result.dtype == element else result

    return operate
