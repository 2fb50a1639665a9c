# SPDX-License-Identifier: Apache-2.0
"""The memory of a kernel that runs in Triton's interpreter: a guarded buffer for each tensor, every access watched."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from triton.runtime import interpreter

from aotfactory.compiler.calling_convention import TENSOR_ALIGNMENT
from aotfactory.core import dtypes
from aotfactory.executors.interpreter.narrow_floats import NARROW
from aotfactory.executors.interpreter.races import Races

GUARD = 2**24
"""Bytes around a buffer that belong to no tensor, so that an address computed wrongly from one does not land in
another. The system gives no memory to pages that nobody touches."""


FAR = 2**40
"""Bytes from the nearest tensor beyond which an address was not computed from it, but read from data, for instance."""


class AccessError(Exception):
    """A kernel touched memory that it must not touch."""


class Buffer:
    """A tensor's memory: aligned as TensorRT aligns it, with a record of what was written.

    Attributes:
        initialised: Whether it had contents before the kernel ran.
        writable: Whether the kernel that runs may write to it.
        written: For each byte, 1 if a kernel wrote it.
        atomic: The same for atomic operations, which several programs may do to one element; None if there were none.
        stores: Elements written so far, each time that one was.
    """

    def __init__(self, name: str, array: np.ndarray[Any, Any], *, initialised: bool) -> None:
        self._place(name, np.empty(array.nbytes + 2 * GUARD + TENSOR_ALIGNMENT, np.uint8), array.nbytes, initialised)
        self.written = np.zeros(self.size, np.uint8)
        self.bytes[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    @classmethod
    def vast(cls, name: str, size: int, *, initialised: bool) -> Buffer:
        """Zeros, of which only what is touched takes memory.

        Raises:
            OSError: The system does not give so many addresses.
        """
        made = cls.__new__(cls)
        made._place(name, _pages(size + 2 * GUARD + TENSOR_ALIGNMENT), size, initialised)
        made.written = _pages(max(size, 1))[:size]
        return made

    def _place(self, name: str, store: np.ndarray[Any, Any], size: int, initialised: bool) -> None:
        start = GUARD + (-store.ctypes.data - GUARD) % TENSOR_ALIGNMENT
        self.name = name
        self.size = size
        self.bytes = store[start : start + size]
        self.address = store.ctypes.data + start
        self.initialised = initialised
        self.atomic: np.ndarray[Any, Any] | None = None
        self.stores = 0
        self.writable = True

    def array(self, dtype: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        """A copy of the first elements, as `shape` of `dtype`."""
        element = dtypes.find(dtype)
        count = int(np.prod(shape, dtype=np.int64)) * element.itemsize
        found: np.ndarray[Any, Any] = self.bytes[:count].copy().view(element.array).reshape(shape)
        return found

    def touched(self, record: np.ndarray[Any, Any], dtype: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        """For each of the first elements, whether all its bytes are in a record (`written`, `atomic`)."""
        itemsize = dtypes.find(dtype).itemsize
        count = int(np.prod(shape, dtype=np.int64)) * itemsize
        found: np.ndarray[Any, Any] = _words(record[:count], itemsize) == ONES[itemsize]
        return found.reshape(shape)


def _pages(size: int) -> np.ndarray[Any, Any]:
    """Zeros that the system makes room for once they are touched."""
    no_reserve = 0x4000  # MAP_NORESERVE, which Python names from 3.13 on
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)
    return np.frombuffer(pages, np.uint8)


ONES = {1: 0x01, 2: 0x0101, 4: 0x01010101, 8: 0x0101010101010101}
"""An element whose bytes are all marked, by its size."""


def _words(record: np.ndarray[Any, Any], itemsize: int) -> np.ndarray[Any, Any]:
    return record.view(f"u{itemsize}")


class Watch:
    """Checks each access of a running kernel against the buffers it was given."""

    def __init__(self, buffers: Sequence[Buffer], races: Races | None = None) -> None:
        self.buffers = list(buffers)
        self.races = races or Races(1)

    def access(self, what: str, addresses: Any, mask: Any, itemsize: int, *, atomic: bool = False) -> None:
        """Check and record one access.

        Raises:
            AccessError: It is not one of the kernel's.
        """
        at = np.broadcast_to(addresses, mask.shape)[mask].astype(np.int64)
        if not at.size:
            return
        low, high = int(at.min()), int(at.max()) + itemsize
        left = np.ones(at.shape, bool)
        for buffer in self.buffers:
            if buffer.address <= low and high <= buffer.address + buffer.size:  # as nearly all are
                self._record(buffer, what, at - buffer.address, itemsize, atomic)
                if buffer.writable and not atomic:
                    self._in_turn(buffer, what, addresses, mask)
                return
        for buffer in self.buffers:
            hit = (at >= buffer.address) & (at + itemsize <= buffer.address + buffer.size)
            if hit.any():
                self._record(buffer, what, at[hit] - buffer.address, itemsize, atomic)
            left &= ~hit
        if left.any():
            address = int(at[left][0])
            near = min(self.buffers, key=lambda b: max(b.address - address, address - b.address - b.size))
            if abs(address - near.address) > FAR:
                raise AccessError(f"out-of-range {what}: address {address:#x} is far from every tensor")
            raise AccessError(f"out-of-range {what}: byte {address - near.address} of {near.name} ({near.size} bytes)")

    def _in_turn(self, buffer: Buffer, what: str, addresses: Any, mask: Any) -> None:
        address = self.races.access(buffer.name, what, addresses, mask)
        if address is not None:
            raise AccessError(
                f"a race: {what}s byte {address - buffer.address} of {buffer.name}, which another warp of the same "
                f"program {'wrote' if what == 'read' else 'may still have to read'}, with no barrier in between "
                "(tl.debug_barrier() is one)"
            )

    def _record(self, buffer: Buffer, what: str, offsets: Any, itemsize: int, atomic: bool) -> None:
        if what == "write":
            if not buffer.writable:
                raise AccessError(f"writes to {buffer.name}, which is an input")
            if atomic:
                buffer.atomic = np.zeros(buffer.size, np.uint8) if buffer.atomic is None else buffer.atomic
                _mark(buffer.atomic, offsets, itemsize)
            _mark(buffer.written, offsets, itemsize)
            buffer.stores += len(offsets)
        elif not buffer.initialised and not _marked(buffer.written, offsets, itemsize):
            raise AccessError(f"reads {buffer.name} where nothing was written")


def _places(record: Any, offsets: Any, itemsize: int) -> tuple[Any, Any]:
    """The record, and where in it these elements are: in words of their size where they are aligned to it."""
    if itemsize in ONES and len(record) % itemsize == 0 and not (offsets % itemsize).any():
        return _words(record, itemsize), offsets // itemsize
    return record, offsets[:, None] + np.arange(itemsize)


def _mark(record: Any, offsets: Any, itemsize: int) -> None:
    words, places = _places(record, offsets, itemsize)
    words[places] = ONES[words.itemsize]


def _marked(record: Any, offsets: Any, itemsize: int) -> bool:
    words, places = _places(record, offsets, itemsize)
    return bool((words[places] == ONES[words.itemsize]).all())


def _added(addresses: Any, values: Any, mask: Any, element: np.dtype[Any]) -> Any:
    """Add to numbers in memory, one after the other: bf16, which the interpreter does not. What was there before."""
    addresses, values, mask = np.broadcast_arrays(addresses, values, mask)
    before = np.zeros_like(values)
    for at in zip(*np.nonzero(mask), strict=True):
        there: Any = (ctypes.c_uint8 * element.itemsize).from_address(int(addresses[at]))
        place = np.frombuffer(there, element)
        before[at] = place.view(values.dtype)[0]
        place[0] = element.type(np.float32(place[0]) + np.float32(values[at].view(element)))
    return before


@contextmanager
def watching(buffers: Sequence[Buffer], races: Races | None = None) -> Iterator[None]:
    """Check every access of Triton's interpreter while this is open."""
    builder = interpreter.InterpreterBuilder
    watch = Watch(buffers, races)
    names = ("create_masked_load", "create_masked_store", "create_atomic_rmw", "create_atomic_cas")
    originals = {n: getattr(builder, n) for n in names}

    def itemsize(pointers: Any) -> int:
        return max(1, int(pointers.get_element_ty().primitive_bitwidth) // 8)

    def truth(mask: Any) -> Any:
        """A mask of truth values: `&` of two of different shapes gives integers in Triton's interpreter."""
        plain = mask.data.dtype == bool
        return mask if plain else interpreter.TensorHandle(mask.data.astype(bool), mask.dtype)

    def load(self: Any, ptrs: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        mask = truth(mask)
        watch.access("read", ptrs.data, mask.data, itemsize(ptrs))
        return originals["create_masked_load"](self, ptrs, mask, *rest, **named)

    def store(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        mask = truth(mask)
        watch.access("write", ptrs.data, mask.data, itemsize(ptrs))
        bits = np.dtype(interpreter._get_np_dtype(ptrs.get_element_ty()))
        if value.data.dtype.itemsize != bits.itemsize:  # Triton 3.5's histogram: it would write over what comes after
            value = interpreter.TensorHandle(value.data.astype(bits), value.dtype)
        return originals["create_masked_store"](self, ptrs, value, mask, *rest, **named)

    def update(self: Any, op: Any, ptr: Any, value: Any, mask: Any, *rest: Any) -> Any:
        mask = truth(mask)
        for what in ("read", "write"):
            watch.access(what, ptr.data, mask.data, itemsize(ptr), atomic=True)
        element = NARROW.get(str(ptr.get_element_ty()))
        if element is not None and op == interpreter._ir.ATOMIC_OP.FADD:
            return interpreter.TensorHandle(_added(ptr.data, value.data, mask.data, element), value.dtype.scalar)
        return originals["create_atomic_rmw"](self, op, ptr, value, mask, *rest)

    def compare_and_swap(self: Any, ptr: Any, *rest: Any) -> Any:
        for what in ("read", "write"):
            watch.access(what, ptr.data, np.ones(ptr.data.shape, bool), itemsize(ptr), atomic=True)
        return originals["create_atomic_cas"](self, ptr, *rest)

    for name, watched in zip(names, (load, store, update, compare_and_swap), strict=True):
        setattr(builder, name, watched)
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(builder, name, original)
