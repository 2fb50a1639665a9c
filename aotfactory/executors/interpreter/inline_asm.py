# SPDX-License-Identifier: Apache-2.0
"""Inline assembly for Triton's interpreter, which has none: the PTX instructions that kernels write that way.

They are those that Triton has no function for: rounding to TF32, approximations, conversions that pack two numbers,
bits. An approximation is computed exactly; its error on a GPU is the tolerance's business. Sources: "PTX ISA", chapter
9.7, for the instructions; the documentation of `tl.inline_asm_elementwise` for how operands are packed into registers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from triton.runtime import interpreter

Register = npt.NDArray[np.uint32]

STATEMENT = re.compile(r"(?:@\S+\s+)?([a-z][\w.:]*)\s*(.*)", re.DOTALL)


def _as_float(register: Register) -> npt.NDArray[np.float32]:
    return register.view(np.float32)


def _bits(values: Any) -> Register:
    bits: Register = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return bits


def _float(function: Callable[..., Any]) -> Callable[..., Register]:
    """An instruction on fp32: computed in float64, rounded once."""
    return lambda *registers: _bits(function(*(_as_float(r).astype(np.float64) for r in registers)))


def _flushed(function: Callable[..., Register]) -> Callable[..., Register]:
    """With ``.ftz``: denormals are zeros of their sign, going in and coming out."""

    def flush(register: Register) -> Register:
        return np.where(register & 0x7F800000 == 0, register & 0x80000000, register).astype(np.uint32)

    return lambda *registers: flush(function(*map(flush, registers)))


def _tf32(x: Register) -> Register:
    """To the nearest number of 10 bits after the point, away from zero where two are as near (``.rna``)."""
    finite = x & 0x7F800000 != 0x7F800000
    return np.where(finite, x + np.uint32(0x1000) & np.uint32(0xFFFFE000), x).astype(np.uint32)


def _pair(element: Any, saturate: float | None = None) -> Callable[..., Register]:
    """Two fp32 to two numbers of a narrower type, the first operand's in the upper half."""
    dtype = np.dtype(element)
    width = dtype.itemsize * 8
    unsigned = np.dtype(f"u{dtype.itemsize}")

    def convert(high: Register, low: Register) -> Register:
        values = np.stack([_as_float(high), _as_float(low)])
        if saturate is not None:
            values = np.clip(values, -saturate, saturate)
        upper, lower = values.astype(dtype).view(unsigned).astype(np.uint32)
        joined: Register = upper << np.uint32(width) | lower
        return joined

    return convert


def _shifted(function: Callable[..., Any]) -> Callable[..., Register]:
    """Shifts by 32 and more leave nothing, which NumPy does not define."""
    return lambda x, by: np.where(by < 32, function(x, np.minimum(by, 31)), 0).astype(np.uint32)


def _logic(a: Register, b: Register, c: Register, table: Register) -> Register:
    """``lop3``: each bit of the result is looked up by the three operands' bits."""
    found = np.zeros_like(a)
    for index in range(8):
        if int(np.ravel(table)[0]) >> index & 1:
            chosen = (v if index & bit else ~v for v, bit in ((a, 4), (b, 2), (c, 1)))
            found |= next(chosen) & next(chosen) & next(chosen)
    return found


def _permuted(a: Register, b: Register, selection: Register) -> Register:
    """``prmt``: four of the eight bytes of b and a."""
    source = b.astype(np.uint64) << np.uint64(32) | a
    found = np.zeros_like(a)
    for i in range(4):
        choice = selection >> np.uint32(4 * i) & np.uint32(15)
        byte = source >> (choice & np.uint32(7)).astype(np.uint64) * np.uint64(8) & np.uint64(255)
        byte = np.where(choice & 8, np.where(byte & 128, 255, 0), byte)  # the byte's sign instead
        found |= byte.astype(np.uint32) << np.uint32(8 * i)
    return found


_FLOAT: dict[str, Callable[..., Any]] = {
    r"add(\.rn)?": np.add,
    r"sub(\.rn)?": np.subtract,
    r"mul(\.rn)?": np.multiply,
    r"div(\.rn|\.approx|\.full)": np.divide,
    r"fma\.rn": lambda x, y, z: x * y + z,
    r"min": np.fmin,
    r"max": np.fmax,
    r"min\.NaN": np.minimum,
    r"max\.NaN": np.maximum,
    r"abs": np.abs,
    r"neg": np.negative,
    r"rcp(\.approx|\.rn)": lambda x: 1 / x,
    r"sqrt(\.approx|\.rn)": np.sqrt,
    r"rsqrt\.approx": lambda x: 1 / np.sqrt(x),
    r"ex2\.approx": np.exp2,
    r"lg2\.approx": np.log2,
    r"tanh\.approx": np.tanh,
    r"sin\.approx": np.sin,
    r"cos\.approx": np.cos,
}

INSTRUCTIONS: list[tuple[re.Pattern[str], Callable[..., Register]]] = [
    *((re.compile(rf"{name}\.f32"), _float(f)) for name, f in _FLOAT.items()),
    *((re.compile(rf"{name}\.ftz\.f32"), _flushed(_float(f))) for name, f in _FLOAT.items()),
    (re.compile(r"cvt\.rna\.tf32\.f32"), _tf32),
    (re.compile(r"cvt\.rn\.f16x2\.f32"), _pair(np.float16)),
    (re.compile(r"cvt\.rn\.bf16x2\.f32"), _pair(ml_dtypes.bfloat16)),
    (re.compile(r"cvt\.rn\.satfinite\.e4m3x2\.f32"), _pair(ml_dtypes.float8_e4m3fn, 448)),
    (re.compile(r"cvt\.rn\.satfinite\.e5m2x2\.f32"), _pair(ml_dtypes.float8_e5m2, 57344)),
    (re.compile(r"mov\.(b32|u32|s32|f32|b16|u16)"), lambda x: x),
    (re.compile(r"add\.[us]32"), np.add),
    (re.compile(r"sub\.[us]32"), np.subtract),
    (re.compile(r"mul\.lo\.[us]32"), np.multiply),
    (re.compile(r"mad\.lo\.[us]32"), lambda x, y, z: x * y + z),
    (re.compile(r"and\.b(32|16)"), np.bitwise_and),
    (re.compile(r"or\.b(32|16)"), np.bitwise_or),
    (re.compile(r"xor\.b(32|16)"), np.bitwise_xor),
    (re.compile(r"not\.b32"), np.bitwise_not),
    (re.compile(r"shl\.b32"), _shifted(np.left_shift)),
    (re.compile(r"shr\.[bu]32"), _shifted(np.right_shift)),
    (re.compile(r"lop3\.b32"), _logic),
    (re.compile(r"prmt\.b32"), _permuted),
]
"""What is known: the whole opcode, and what it does to the bits of 32-bit registers."""


@contextmanager
def known_instructions() -> Iterator[None]:
    """Let the interpreter run inline assembly that consists of known instructions."""
    builder = interpreter.InterpreterBuilder
    original = builder.create_inline_asm
    builder.create_inline_asm = lambda self, *given: _call(*given)
    try:
        yield
    finally:
        builder.create_inline_asm = original


def _call(text: str, constraints: str, values: Sequence[Any], types: Sequence[Any], pure: bool, pack: int) -> Any:
    kinds = [part.strip() for part in constraints.split(",") if not part.strip().startswith("~")]
    if wide := next((kind for kind in kinds if kind.lstrip("=") not in ("f", "r", "h")), None):
        raise NotImplementedError(f"inline assembly with an operand {wide!r} cannot be interpreted")
    shape = np.shape(values[0].data) if values else (1,)
    count = int(np.prod(shape))
    operands = [register for value in values for register in _registers(value.data, count, pack)]
    length = -(-count // pack)
    results = _execute(text, kinds, operands, length)
    made = []
    for kind in types:
        element = interpreter._get_np_dtype(kind)
        width = np.dtype(element).itemsize
        taken = [results.pop(0) for _ in range(-(-pack * width // 4))]
        data = np.stack(taken, axis=1).view(np.uint8)[:, : pack * width] if taken else np.zeros((0, 0), np.uint8)
        data = np.ascontiguousarray(data).view(element).reshape(-1)[:count].reshape(shape)
        made.append(interpreter.TensorHandle(data, kind.scalar))
    return SimpleNamespace(get_result=made.__getitem__)


def _registers(data: npt.NDArray[Any], count: int, pack: int) -> list[Register]:
    """An operand's registers: `pack` elements at a time, as many to a register as it has room for."""
    flat = np.broadcast_to(data, np.shape(data)).reshape(-1)
    padded = np.concatenate([flat, np.zeros(-count % pack, flat.dtype)])
    width = padded.dtype.itemsize
    if width > 4:
        raise NotImplementedError("inline assembly on 64-bit operands cannot be interpreted")
    group = np.ascontiguousarray(padded.reshape(-1, pack)).view(np.uint8)
    room = np.zeros((len(group), -(-pack * width // 4) * 4), np.uint8)
    room[:, : pack * width] = group
    return list(room.view(np.uint32).T.copy())


def _execute(text: str, kinds: Sequence[str], operands: Sequence[Register], length: int) -> list[Register]:
    outputs = sum(kind.startswith("=") for kind in kinds)
    names = {f"${i}": register for i, register in enumerate(operands, outputs)}
    for opcode, function, target, sources in _program(text):
        found = [names[s] if s in names else np.full(length, _number(s, opcode), np.uint32) for s in sources]
        try:
            with np.errstate(all="ignore"):
                names[target] = np.asarray(function(*found), np.uint32)
        except TypeError as error:
            raise NotImplementedError(f"inline assembly: {opcode} with {len(sources)} operands") from error
    return [names.get(f"${i}", np.zeros(length, np.uint32)) for i in range(outputs)]


@lru_cache
def _program(text: str) -> tuple[tuple[str, Callable[..., Register], str, tuple[str, ...]], ...]:
    """Each instruction: its opcode, what it does, where to and with what."""
    program = []
    for statement in re.sub(r"//[^\n]*|/\*.*?\*/|[{}]", " ", text, flags=re.DOTALL).split(";"):
        statement = statement.strip()
        if not statement or statement.startswith(".reg"):
            continue
        matched = STATEMENT.fullmatch(statement)
        opcode, rest = (matched[1], matched[2]) if matched else (statement, "")
        function = next((f for pattern, f in INSTRUCTIONS if pattern.fullmatch(opcode)), None)
        if function is None or statement.startswith("@"):
            raise NotImplementedError(f"the instruction {statement!r} of inline assembly cannot be interpreted")
        target, *sources = (part.strip() for part in rest.split(","))
        program.append((opcode, function, target, tuple(sources)))
    return tuple(program)


def _number(text: str, opcode: str) -> int:
    """The bits of an immediate: ``7``, ``0x7f``, ``0f3F800000``, ``1.0``."""
    if matched := re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", text):
        return int(matched[1], 16)
    try:
        return int(text, 0) & 0xFFFFFFFF if not opcode.endswith("f32") else int(np.float32(text).view(np.uint32))
    except ValueError as error:
        raise NotImplementedError(f"the operand {text!r} of inline assembly cannot be interpreted") from error
