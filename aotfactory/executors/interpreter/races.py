# SPDX-License-Identifier: Apache-2.0
"""Races between the warps of one program, which the interpreter, where a program runs in step, does not have.

A program that reads what it stored, or stores where it has read, is right only if the same threads do both or a barrier
is between the two. Which thread holds an element of a tile is the compiler's choice: an access is called a race where
the two are in different warps for every layout that Triton gives loads and stores of that tile. Reductions, scans,
sorts, `tl.dot`, atomic operations and the like exchange data between warps, and are taken for barriers. So does a value
that is loaded in one layout and stored in another, as of a tile that is transposed in place: where the PTX has barriers
and nothing of the above explains them, nothing is called a race.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from triton.runtime import interpreter

from aotfactory.executors.inputs import Array

WARP = 32
WIDEST = 16
"""Elements that a thread loads at once, at most: 16 bytes."""
KEPT = 64
"""Accesses to a buffer that are remembered, for reads and for writes."""


@dataclass(frozen=True)
class _Access:
    """Elements of a tile that were accessed: their addresses in order, and where in the tile each is."""

    addresses: Array
    elements: Array
    shape: tuple[int, ...]

    @property
    def scalar(self) -> bool:
        return int(np.prod(self.shape)) == 1

    def warps(self, at: Array, warps: int) -> Array:
        """The warp that has each of some elements; a row for each layout: the order of axes, the width of vectors."""
        places = np.unravel_index(self.elements[at], self.shape)
        most = max(1, int(np.prod(self.shape)) // (WARP * warps))
        widths = [2**i for i in range(WIDEST.bit_length()) if 2**i <= most]
        found = []
        for order in permutations(range(len(self.shape))):
            flat = np.zeros(len(at), np.int64)
            for axis in order:
                flat = flat * self.shape[axis] + places[axis]
            found += [flat // (WARP * width) % warps for width in widths]
        return np.stack(found)


class Races:
    """The accesses of a program since its last barrier, in buffers that it may write to."""

    def __init__(self, warps: int, ptx: str = "") -> None:
        """The warps of a program, and what the kernel was compiled to."""
        self.warps = warps
        self._synchronizes = "bar.sync" in ptx or "barrier." in ptx
        self._waited = False
        self._reads: dict[str, list[_Access]] = {}
        self._writes: dict[str, list[_Access]] = {}

    def begin(self) -> None:
        """The beginning of a program."""
        self.barrier()
        self._waited = False

    def barrier(self) -> None:
        """An operation that waits for all warps."""
        self._waited = True
        self._reads.clear()
        self._writes.clear()

    def access(self, buffer: str, what: str, addresses: Any, mask: Any) -> int | None:
        """Take down a "read" or "write".

        Returns:
            The address of an element that another warp has written, or read before this write, since the last barrier.
        """
        if self.warps == 1 or not 0 < mask.ndim <= 3:
            return None
        elements = np.flatnonzero(mask)
        at = np.broadcast_to(addresses, mask.shape).reshape(-1)[elements].astype(np.int64)
        if not at.size:
            return None
        order = np.argsort(at, kind="stable")
        this = _Access(at[order], elements[order], mask.shape)
        mine, others = (self._reads, self._writes) if what == "read" else (self._writes, self._reads)
        explained = self._synchronizes and not self._waited
        for other in () if explained else others.get(buffer, ()):
            address = self._raced(this, other) if what == "read" else self._raced(other, this)
            if address is not None and not (what == "write" and (this.scalar or other.scalar)):
                return address
        kept = mine.setdefault(buffer, [])
        kept.append(this)
        del kept[:-KEPT]
        return None

    def _raced(self, read: _Access, write: _Access) -> int | None:
        """The address of an element that is in different warps in two accesses, whatever their layouts."""
        if read.addresses[0] > write.addresses[-1] or write.addresses[0] > read.addresses[-1]:
            return None
        if read.scalar and write.scalar:
            return None
        near = np.minimum(np.searchsorted(write.addresses, read.addresses), len(write.addresses) - 1)
        both = np.flatnonzero(write.addresses[near] == read.addresses)
        if not both.size:
            return None
        if read.scalar or write.scalar:  # warp 0 stores scalars; all load them, warp 0 too
            tile, at = (write, near[both]) if read.scalar else (read, both)
            apart = (tile.warps(at, self.warps) != 0).all(0)
        else:
            of_read, of_write = read.warps(both, self.warps), write.warps(near[both], self.warps)
            if read.shape != write.shape:  # else one layout for both, and not one for each
                of_read, of_write = of_read[:, None], of_write[None, :]
            apart = (of_read != of_write).reshape(-1, len(both)).all(0)
        return int(read.addresses[both[np.argmax(apart)]]) if apart.any() else None


@contextmanager
def barriers(races: Races) -> Iterator[None]:
    """Let operations of Triton's interpreter that wait for all warps be barriers while this is open."""
    builder = interpreter.InterpreterBuilder
    places = [(builder, name) for name in ("create_barrier", "create_dot", "create_dot_scaled", "create_histogram")]
    places += [(builder, name) for name in ("create_gather", "create_atomic_rmw", "create_atomic_cas")]
    places += [(interpreter.ReduceOps, "apply_impl"), (interpreter.ScanOps, "apply_impl")]
    places = [(owner, name) for owner, name in places if hasattr(owner, name)]
    originals = [getattr(owner, name) for owner, name in places]

    def waiting(original: Any) -> Any:
        def operation(*given: Any, **named: Any) -> Any:
            races.barrier()
            return original(*given, **named)

        return operation

    for (owner, name), original in zip(places, originals, strict=True):
        setattr(owner, name, waiting(original))
    try:
        yield
    finally:
        for (owner, name), original in zip(places, originals, strict=True):
            setattr(owner, name, original)
