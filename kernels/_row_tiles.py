# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""How the kernels over the last dimension split their work: the rows and elements that a program holds, and its warps.

A program holds whole rows in registers, several where they are short; a row that is too long is read in chunks.
"""

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import triton

REACH = 16384
"""Elements of a row that a program holds in registers, where every access is a vector; half of it otherwise."""

CHUNK = 8192
"""Elements at a time of longer rows."""

MAX_WARPS = 16
"""Which leaves a thread the 128 registers that 32 elements and narrow accesses can take."""


@dataclass(frozen=True)
class Tactic:
    """Elements for a program (where a row is shorter, it takes several) and for a thread."""

    tile: int
    per_thread: int


TACTICS = {1: Tactic(1024, 8), 2: Tactic(2048, 16), 3: Tactic(4096, 32)}


def tile(longest: int, vectors: bool, tactic: int) -> Tuple[int, int, int]:
    """Rows and elements of a row that a program holds, and its warps; narrow accesses take registers, too."""
    block = triton.next_power_of_2(max(longest, 16))
    block = block if block <= (REACH if vectors else REACH // 2) else CHUNK
    rows = max(TACTICS[tactic].tile // block, 1)
    return rows, block, min(max(rows * block // (32 * TACTICS[tactic].per_thread), 1), MAX_WARPS)


def tactics(longest: int, vectors: bool) -> List[int]:
    """Tactics that differ for rows of this length."""
    return sorted({tile(longest, vectors, n): n for n in sorted(TACTICS, reverse=True)}.values())


def arguments(longest: int, vectors: bool, vector: int, tactic: int) -> Dict[str, Any]:
    """The kernel's ROWS, BLOCK, WHOLE (no row is longer than a block) and VECTOR (elements), and its num_warps."""
    rows, block, warps = tile(longest, vectors, tactic)
    return {"ROWS": rows, "BLOCK": block, "WHOLE": longest <= block, "VECTOR": vector, "num_warps": warps}


def length(x: Any, vector: int = 8) -> Tuple[int, bool]:
    """Elements of the longest row of a `TensorDesc`, and whether every row is known to be vectors."""
    size, dynamic = int(tuple(x.shape)[-1]), x.shape.is_dynamic
    return int(x.shape.max[-1]) if dynamic else size, size > 0 and size % vector == 0
