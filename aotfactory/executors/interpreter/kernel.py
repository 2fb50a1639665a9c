# SPDX-License-Identifier: Apache-2.0
"""Run one Triton kernel on the CPU through Triton's interpreter, watching every memory access.

Only for a process that was started with ``TRITON_INTERPRET=1``: `triton.jit` then makes interpreted functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import triton
import triton.language as tl
from triton.runtime import interpreter

from aotfactory.compiler.calling_convention import TENSOR_ALIGNMENT
from aotfactory.core import dtypes
from aotfactory.executors.interpreter.narrow_floats import exact_arithmetic


class AccessError(Exception):
    """A kernel touched memory that it must not touch."""


class Unsupported(Exception):
    """Triton's interpreter cannot run a kernel."""


class Buffer:
    """A tensor's memory: aligned as TensorRT aligns it, with a record of the bytes that were written.

    Attributes:
        writable: Whether the kernel that runs may write to it.
    """

    def __init__(self, name: str, array: np.ndarray[Any, Any], *, initialised: bool) -> None:
        self.name = name
        self.size = array.nbytes
        self._store = np.zeros(self.size + TENSOR_ALIGNMENT, np.uint8)
        offset = -self._store.ctypes.data % TENSOR_ALIGNMENT
        self._bytes = self._store[offset : offset + self.size]
        self._bytes[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.address = self._store.ctypes.data + offset
        self.written = np.full(self.size, initialised)
        self.writable = True

    def array(self, dtype: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        """A copy of the first elements, as `shape` of `dtype`."""
        element = dtypes.find(dtype)
        count = int(np.prod(shape, dtype=np.int64)) * element.itemsize
        found: np.ndarray[Any, Any] = self._bytes[:count].copy().view(element.array).reshape(shape)
        return found


@dataclass
class Watch:
    """Checks each access of a running kernel against the buffers it was given."""

    buffers: list[Buffer]

    def access(self, what: str, addresses: Any, mask: Any, itemsize: int) -> None:
        at = np.broadcast_to(addresses, mask.shape)[mask].astype(np.int64)
        inside = np.zeros(at.shape, bool)
        for buffer in self.buffers:
            hit = (at >= buffer.address) & (at + itemsize <= buffer.address + buffer.size)
            inside |= hit
            touched = (at[hit] - buffer.address)[:, None] + np.arange(itemsize)
            if what == "write":
                if hit.any() and not buffer.writable:
                    raise AccessError(f"writes to {buffer.name}, which is an input")
                buffer.written[touched] = True
            elif not buffer.written[touched].all():
                raise AccessError(f"reads {buffer.name} where nothing was written")
        if not inside.all():
            address = int(at[~inside][0])
            near = min(self.buffers, key=lambda b: max(b.address - address, address - b.address - b.size))
            raise AccessError(f"out-of-range {what}: byte {address - near.address} of {near.name} ({near.size} bytes)")


@contextmanager
def watching(buffers: list[Buffer]) -> Iterator[None]:
    """Check every access of Triton's interpreter while this is open."""
    builder = interpreter.InterpreterBuilder
    watch = Watch(buffers)
    names = ("create_masked_load", "create_masked_store", "create_atomic_rmw", "create_atomic_cas")
    originals = {n: getattr(builder, n) for n in names}

    def itemsize(pointers: Any) -> int:
        return max(1, int(pointers.get_element_ty().primitive_bitwidth) // 8)

    def load(self: Any, ptrs: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        watch.access("read", ptrs.data, mask.data, itemsize(ptrs))
        return originals["create_masked_load"](self, ptrs, mask, *rest, **named)

    def store(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        watch.access("write", ptrs.data, mask.data, itemsize(ptrs))
        return originals["create_masked_store"](self, ptrs, value, mask, *rest, **named)

    def update(self: Any, op: Any, ptr: Any, value: Any, mask: Any, *rest: Any) -> Any:
        for what in ("read", "write"):
            watch.access(what, ptr.data, mask.data, itemsize(ptr))
        return originals["create_atomic_rmw"](self, op, ptr, value, mask, *rest)

    def compare_and_swap(self: Any, ptr: Any, *rest: Any) -> Any:
        for what in ("read", "write"):
            watch.access(what, ptr.data, np.ones(ptr.data.shape, bool), itemsize(ptr))
        return originals["create_atomic_cas"](self, ptr, *rest)

    for name, watched in zip(names, (load, store, update, compare_and_swap), strict=True):
        setattr(builder, name, watched)
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(builder, name, original)


@contextmanager
def _numpy_2_4() -> Iterator[None]:
    """Let Triton's scalars, arrays of one element, be bounds of a loop: Triton 3.5 takes them by `int(array)`."""
    original = interpreter._patch_lang_tensor

    def patch(tensor: Any, *rest: Any) -> None:
        original(tensor, *rest)
        tensor.__index__ = lambda self: int(self.handle.data.item())

    interpreter._patch_lang_tensor = patch
    try:
        yield
    finally:
        interpreter._patch_lang_tensor = original


@contextmanager
def capturing(compilations: Sequence[dict[str, Any]]) -> Iterator[list[Any]]:
    """Let `triton.compile` take down its source, and answer with the metadata and PTX of the real compilations.

    Yields:
        The sources (`ASTSource`), in the order of the calls.
    """
    sources: list[Any] = []
    original = triton.compile

    def record(src: Any, target: Any = None, options: Any = None) -> Any:
        recorded = compilations[min(len(sources), len(compilations) - 1)]
        src.num_ctas = int((options or {}).get("num_ctas", 1))
        sources.append(src)
        return SimpleNamespace(metadata=SimpleNamespace(**recorded["metadata"]), asm={"ptx": recorded["ptx"]})

    triton.compile = triton.compiler.compile = record
    try:
        yield sources
    finally:
        triton.compile = triton.compiler.compile = original


class _Executor(interpreter.GridExecutor):  # type: ignore[misc]
    """The interpreter's grid loop over arguments that are on the CPU already."""

    def _init_args_hst(self, args: Any, kwargs: Any) -> Any:
        return list(args), kwargs

    def _restore_args_dev(self, *args: Any) -> None:
        return None


def run(source: Any, grid: tuple[int, int, int], arguments: Sequence[Buffer | int]) -> None:
    """Run a kernel over a grid of programs, with TensorRT's arguments: input pointers, extra arguments, outputs.

    Raises:
        AccessError: It touched memory that it must not touch, or cannot take these arguments.
        Unsupported: It uses what Triton's interpreter lacks, such as inline assembly or libdevice.
    """
    # The grid counts blocks, of which a cluster runs one program.
    grid = (grid[0] // getattr(source, "num_ctas", 1), *grid[1:])
    names = source.fn.arg_names
    constants = {names[path[0]]: value for path, value in source.constants.items()}
    types = {n: source.signature[n] for n in names if n in source.signature and n not in constants}
    types = {n: t for n, t in types.items() if t != "constexpr"}
    if len(types) != len(arguments):
        raise AccessError(f"takes {len(types)} arguments ({', '.join(types)}), but TensorRT passes {len(arguments)}")
    values: dict[str, Any] = dict(constants)
    for (name, kind), argument in zip(types.items(), arguments, strict=True):
        if isinstance(argument, Buffer) != kind.startswith("*"):
            passed = "a pointer" if isinstance(argument, Buffer) else "an int32"
            raise AccessError(f"declares {name} as {kind}, but TensorRT passes {passed}")
        if isinstance(argument, int) and not -(2**31) <= argument < 2**31:
            raise AccessError(f"{name} is {argument}, which int32 does not hold")
        values[name] = _tensor(kind, argument)
    executor = _Executor(source.fn.rewrite(), names, grid)
    executor.constexprs = [*executor.constexprs, *constants]
    with _numpy_2_4(), exact_arithmetic(), watching([a for a in arguments if isinstance(a, Buffer)]):
        try:
            executor(**values)
        except Exception as error:
            cause: BaseException = error
            while cause.__cause__ is not None and not isinstance(cause, AccessError):
                cause = cause.__cause__
            if isinstance(cause, AccessError):
                raise cause from None
            if isinstance(cause, NotImplementedError):
                raise Unsupported(f"Triton's interpreter cannot run the kernel: {cause}") from error
            raise AccessError(f"{type(cause).__name__}: {cause}") from error


def _tensor(kind: str, argument: Buffer | int) -> Any:
    element = tl.str_to_ty(kind, None)
    data = np.array([argument.address], np.uint64) if isinstance(argument, Buffer) else np.array([argument], np.int32)
    return tl.tensor(interpreter.TensorHandle(data, element), element)
