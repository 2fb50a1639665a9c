# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Tactics of the kernels over the last dimension, and which of them can win for the shapes of a profile.

There are three kinds. A *tile* is held in registers by one program, in its own type: whole rows, several where they are
short. The blocks of a *cluster* hold one row together. *Parts*: so many programs share a row that is read in blocks,
twice, the second time mostly from L2; each finds for itself what the whole row gives, and writes its part.

`offered` estimates the time that each tactic takes at the opt shape, and offers the best MOST. So a build need not time
all, and needs no GPU to choose. The estimate, in microseconds, is

    LAUNCH + max(memory, programs) + OVERLAP * min(memory, programs)

memory: all bytes once, at SPEED for each multiprocessor; parts also read the rows again that L2 could not hold, and all
of them from L2 for each program that shares them.
programs: rounds of as many programs as fit, by their registers and threads, each of which takes LATENCY (SYNC more in a
cluster, whose exchange waits for no more than its own shared memory from PTX ISA 8.6 on), its bytes at NEAR, and a
kernel's work for each element. Figures are of an H100; scripts/bench_rows.py holds estimates against times.
"""

import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Tuple

import triton

from aotfactory import trtp
from aotfactory.core import dtypes
from aotfactory.plugins.clusters import capability, leave_out, no_clusters

MOST = 4
MULTIPROCESSORS = {75: 40, 80: 108, 86: 84, 87: 16, 89: 142, 90: 132, 100: 148, 103: 160, 120: 170, 121: 48}
LAUNCH, LATENCY, SYNC, PAIRS = 0.9, 1.2, 1.4, 0.12
SPEED, FROM_L2, NEAR = 22400.0, 38000.0, 60000.0  # bytes a microsecond
ROUNDED = 0.25
"""So much of a program may be missing for one more to a multiprocessor: registers are estimated too high."""

CLUSTERED, FULL = 0.004, 0.05
"""Longer by as much for each block of a cluster, for they begin and end together; and where a thread holds much."""

OVERLAP, ALONE = 0.05, 1.2
L2 = 16e6
"""Bytes of rows between their two readings that L2 holds beside what is written."""

AHEAD = 1.07
"""Times the least estimate of the others, up to which a cluster is worth offering: estimates are not exact."""

REGISTERS = 65536
SHORTEST = 16384
"""Elements of a row below which one program was always the fastest."""

WORTH = 2.0
"""Times the least estimate: what is beyond is not offered."""


@dataclass(frozen=True)
class Tile:
    """Elements for a program (where a row is shorter, it takes several) and for a thread; its warps at most."""

    elements: int
    per_thread: int
    warps: int = 16


@dataclass(frozen=True)
class Cluster:
    blocks: int
    warps: int = 8


@dataclass(frozen=True)
class Parts:
    programs: int
    warps: int = 32
    depth: int = 4
    """Vectors of a thread that are under way at a time."""


TACTICS: Dict[int, Tile | Cluster | Parts] = {
    1: Tile(1024, 8),
    2: Tile(2048, 16),
    3: Tile(4096, 32),
    4: Tile(1, 16, 32),
    5: Tile(1, 64),
    6: Cluster(2),
    7: Cluster(4),
    8: Cluster(8),
    9: Parts(1),
    10: Parts(2),
    11: Parts(4),
    12: Parts(8),
    13: Parts(16),
    14: Parts(1, 16, 2),
    16: Parts(4, 16, 2),
    17: Cluster(8, 16),
    18: Cluster(4, 16),
}


@dataclass(frozen=True)
class Rows:
    """Rows that a tactic is chosen for.

    Attributes:
        count, length: How many rows of how many elements there are usually, which tactics are timed for.
        longest: Elements of the longest.
        read, written: Bytes of an element.
        vector: Elements of a vector: all accesses are of so many, but at a line's ends.
        work: Picoseconds of a multiprocessor for an element.
        tensors: As many are read, and held; and as many written.
        weights: Whether columns have weights, which take registers where they are loaded ahead.
        pairs: Whether a cluster's blocks get two numbers of each other, not a sum: PAIRS longer for each block.
    """

    count: int
    length: int
    longest: int
    read: int
    written: int
    vector: int
    work: int
    tensors: int = 1
    weights: bool = True
    pairs: bool = False


def rows_of(
    x: trtp.TensorDesc, work: int, written: int = 0, tensors: int = 1, weights: bool = True, pairs: bool = False
) -> Rows:
    """The rows of a `TensorDesc`, of whose elements so many bytes are written, by default as many as are read."""
    itemsize = dtypes.of_trt(x.dtype).itemsize
    usual, largest = (x.shape.opt, x.shape.max) if x.shape.is_dynamic else (tuple(x.shape),) * 2
    return Rows(
        count=max(math.prod(usual[:-1]), 1),
        length=max(int(usual[-1]), 1),
        longest=int(largest[-1]),
        read=itemsize,
        written=written or itemsize,
        vector=16 // min(itemsize, written or itemsize),
        work=work,
        tensors=tensors,
        weights=weights,
        pairs=pairs,
    )


def rows_like(x: Any, work: int, written: int = 0, tensors: int = 1, weights: bool = True) -> Rows:
    """The same of a torch tensor."""
    itemsize, cols = x.element_size(), x.shape[-1]
    vector = 16 // min(itemsize, written or itemsize)
    count, written = x.numel() // max(cols, 1), written or itemsize
    return Rows(count, cols, cols, itemsize, written, vector, work, tensors, weights)


def arguments(rows: Rows, tactic: int) -> Dict[str, Any]:
    """The kernel's constants, and its num_warps and num_ctas.

    ROWS: lines of a program; BLOCK: elements of a line that it holds, or reads at a time; LIMIT: the most it holds;
    CLUSTER: whether its lines are parts of one row; PARTS: programs that share a row, 0 where it is held in registers;
    DEPTH: blocks at a time; AHEAD: whether weights are loaded with the row, not after it.
    """
    chosen = TACTICS[tactic]
    lines, parts, depth, blocks, warps = 1, 0, 1, 1, chosen.warps
    limit = rows.longest // rows.vector * rows.vector
    if isinstance(chosen, Parts):
        parts, depth = chosen.programs, chosen.depth
        block = 32 * warps * rows.vector
    elif isinstance(chosen, Cluster):
        lines = blocks = chosen.blocks
        limit = -(-rows.longest // (lines * rows.vector)) * rows.vector
        block = triton.next_power_of_2(max(limit, 16))
    else:
        block = triton.next_power_of_2(max(limit, 16))
        lines = max(chosen.elements // block, 1)
        warps = min(max(lines * block // (32 * chosen.per_thread), 1), warps)
    # Registers of weights are worth their latency where there is little else to wait for it with.
    spare = 16 if rows.count * blocks < 4 * MULTIPROCESSORS[90] else 8
    if blocks > 1 and rows.count * blocks <= MULTIPROCESSORS[90]:
        spare = (128 if rows.weights else 256) // rows.read  # a block has a multiprocessor to itself
    # What the compiler takes beyond these costs a program: its loads are under way all at once anyway.
    fit = 1024 // (32 * warps) if parts else 0
    if blocks > 1 and rows.count * blocks > MULTIPROCESSORS[90] and rows.longest % rows.vector == 0:
        fit = int(REGISTERS / (32 * warps * _registers(rows, -(-limit // (32 * warps)), True)) + ROUNDED)
    # Given a limit, the compiler goes up to it.
    most = REGISTERS // (2 * 32 * warps) if fit == 2 else 256
    return {
        **({"maxnreg": most} if most < 256 else {}),
        "ROWS": lines,
        "BLOCK": block,
        "LIMIT": limit,
        "CLUSTER": blocks > 1,
        "PARTS": parts,
        "DEPTH": depth,
        "VECTOR": rows.vector,
        "AHEAD": not parts and (1 if blocks > 1 else lines) * block <= spare * 32 * warps,
        "num_warps": warps,
        "num_ctas": blocks,
    }


def _registers(rows: Rows, held: int, cluster: bool) -> float:
    """How many a thread is expected to need for so many elements."""
    # Of a cluster, a block is offered where there are few rows, or keeps its part in its own type alone.
    of_element = 0.8 if cluster and rows.read < 4 else 1.15 if rows.read < 4 else 1.5
    ends = 16 if cluster and rows.longest % rows.vector else 0
    return 24 + ends + held * rows.tensors * of_element


def programs(count: Any, made: Dict[str, Any], cdiv: Callable[[Any, int], Any]) -> Any:
    """How many programs so many rows take."""
    if made["PARTS"]:
        return count * made["PARTS"]
    return count if made["CLUSTER"] or made["ROWS"] == 1 else cdiv(count, made["ROWS"])


def estimate(rows: Rows, tactic: int, multiprocessors: int = MULTIPROCESSORS[90]) -> float:
    """Microseconds that a tactic is expected to take; infinite where a thread has too few registers for it."""
    chosen, made = TACTICS[tactic], arguments(rows, tactic)
    if rows.longest < SHORTEST and not isinstance(chosen, Tile):
        return math.inf
    threads = 32 * made["num_warps"]
    moved, work = rows.tensors * (rows.read + rows.written), rows.work * 1e-6
    memory = rows.count * rows.length * moved / (SPEED * multiprocessors)
    if isinstance(chosen, Parts):
        count, fit = rows.count * chosen.programs, 32.0 // chosen.warps
        each = rows.length * (rows.read / NEAR + 1.2 * work) + rows.length / chosen.programs * (moved / NEAR + work)
        between = min(count, multiprocessors * fit) / chosen.programs * rows.length * rows.read
        memory *= 1 + 0.3 * min(max(between / L2 - 1, 0), 1.6)
        again = rows.count * (chosen.programs + 1) * rows.length * rows.read
        memory = max(memory, again / (FROM_L2 * multiprocessors))
        each += LATENCY + 0.4
    else:
        lines = 1 if made["CLUSTER"] else made["ROWS"]
        held = lines * -(-made["LIMIT"] // threads)
        registers = _registers(rows, held, made["CLUSTER"])
        if registers > min(1.13 * REGISTERS / threads, 255):
            return math.inf
        fit = min(REGISTERS / (threads * registers) + (ROUNDED if made["CLUSTER"] else 0), 2048 / threads)
        fit = float(min(max(int(fit), 1), 32))
        length = rows.length / made["ROWS"] if made["CLUSTER"] else rows.length * lines
        count = rows.count * made["ROWS"] if made["CLUSTER"] else -(-rows.count // lines)
        each = LATENCY + length * (moved / NEAR + work) + 0.005 * made["num_warps"]
        if made["CLUSTER"]:
            each += SYNC + PAIRS * made["num_ctas"] * rows.pairs
            memory *= 1 + CLUSTERED * made["num_ctas"] + FULL * (held * rows.read > 128)
            if fit == 1 and count > multiprocessors:  # nothing is read while it writes
                memory *= ALONE
    rounds = count / (multiprocessors * fit)
    busy = (math.ceil(rounds) if rounds < 4 else rounds + 0.5) * each
    return LAUNCH + max(memory, busy) + OVERLAP * min(memory, busy)


def tactics(
    x: trtp.TensorDesc, work: int, written: int = 0, tensors: int = 1, weights: bool = True, pairs: bool = False
) -> List[int]:
    """The MOST tactics of the least estimated times; those that come out the same for the rows count once.

    Args:
        written: Bytes of an element, by default as many as are read.
        tensors: Like x, that are read; the last of several is overwritten: no program may read what is another's part.
    """
    rows, reason = rows_of(x, work, written, tensors, weights, pairs), no_clusters()
    best = offered(rows, MULTIPROCESSORS.get(capability(), MULTIPROCESSORS[90]))
    clusters = [n for n in best if isinstance(TACTICS[n], Cluster)]
    if reason and capability() >= 90:
        for n in clusters:
            leave_out(n, reason)
    return offered(rows, MULTIPROCESSORS.get(capability(), MULTIPROCESSORS[90]), False) if reason else best


def offered(rows: Rows, multiprocessors: int = MULTIPROCESSORS[90], clusters: bool = True) -> List[int]:
    """The tactics for rows, on a GPU of so many multiprocessors, with clusters or without."""
    times: Dict[Tuple[Any, ...], Tuple[float, int]] = {}
    for n, tactic in TACTICS.items():
        if rows.tensors > 1 and isinstance(tactic, Parts) and tactic.programs > 1:
            continue
        key = tuple(arguments(rows, n).values())
        times.setdefault(key, (estimate(rows, n, multiprocessors), n))
    of = {n: time for time, n in sorted(times.values()) if time < math.inf}
    others = [n for n in of if not isinstance(TACTICS[n], Cluster)]
    others = [n for n in others if of[n] <= WORTH * of[others[0]]]
    # Not every runtime may launch a cluster: there is always something else, and clusters only where they would win.
    near = min(WORTH * min(of.values()), AHEAD * of[others[0]])
    together = [n for n in of if isinstance(TACTICS[n], Cluster) and of[n] <= near] if clusters else []
    few = rows.count <= multiprocessors or (together and AHEAD * of[together[0]] < of[others[0]])
    together = together[: 2 if few else 1]
    return sorted([*together, *others][:MOST])
