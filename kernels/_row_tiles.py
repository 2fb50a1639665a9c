# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""How the kernels over the last dimension split their work: the rows and elements that a program holds, and its warps.

A program holds whole rows in registers, several where they are short; a row that is too long is read in chunks. Where a
row's length is no multiple of a 16-byte vector accesses are narrow and take more registers for an element, which would
leave room for fewer programs even where they are not needed: so a kernel that has both ways reads such rows in steps.
"""

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import triton

REACH = 16384
"""Elements of a row that a program holds in registers, where every access is a vector."""

CHUNK = 8192
"""Elements at a time of longer rows."""

MAX_WARPS = 16
"""Which leaves a thread 128 registers for the 32 elements that it may hold."""


@dataclass(frozen=True)
class Tactic:
    """Elements for a program (where a row is shorter, it takes several) and for a thread."""

    tile: int
    per_thread: int


TACTICS = {1: Tactic(1024, 8), 2: Tactic(2048, 16), 3: Tactic(4096, 32)}


def tile(longest: int, tactic: int) -> Tuple[int, int, int]:
    """Rows and elements of a row that a program takes at a time, and its warps."""
    block = triton.next_power_of_2(max(longest, 16))
    block = block if block <= REACH else CHUNK
    rows = max(TACTICS[tactic].tile // block, 1)
    return rows, block, min(max(rows * block // (32 * TACTICS[tactic].per_thread), 1), MAX_WARPS)


def tactics(x: Any) -> List[int]:
    """Tactics that differ for the rows of a `TensorDesc`."""
    longest, _ = length(x)
    return sorted({tile(longest, n): n for n in sorted(TACTICS, reverse=True)}.values())


def arguments(longest: int, static: bool, vector: int, tactic: int) -> Dict[str, Any]:
    """The kernel's ROWS, BLOCK, WHOLE (no row is longer than a block), STEP, VECTOR (elements), and its num_warps.

    STEP is the elements at a time of a row that is no multiple of a vector, or 0 if it is held in registers: where
    rows are short, or static, so that the kernel has no other way.
    """
    rows, block, warps = tile(longest, tactic)
    held = rows > 1 or (static and longest <= REACH // 2)
    return {
        "ROWS": rows,
        "BLOCK": block,
        "WHOLE": longest <= block,
        "STEP": 0 if held else min(block // 4, 2048),
        "VECTOR": vector,
        "num_warps": warps,
    }


def length(x: Any) -> Tuple[int, bool]:
    """Elements of the longest row of a `TensorDesc`, and whether all rows are so long."""
    ends = {int(tuple(shape)[-1]) for shape in ((x.shape.min, x.shape.max) if x.shape.is_dynamic else (x.shape,))}
    return max(ends), len(ends) == 1
