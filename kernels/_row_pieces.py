# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Long rows of softmax, rms_norm and layer_norm for a plugin library: a row's pieces are those of many programs.

A piece gives two numbers, which go through a workspace; a row's, joined, are what its outputs take. Either by two
kernels in a row, all pieces' numbers and then the outputs; or by one whose programs take turns (`_in_turn`), which
reads x once from memory where it is larger than L2.

`offered` holds an estimate against that of the tactics that every road has (`_row_tactics`).
"""

import math
from dataclasses import dataclass
from typing import Any, Dict, List

import triton
import triton.language as tl
from aotfactory.kernels import _in_turn, _row_tactics

from aotfactory import AotKernel, aot_kernels, launch, road, trt, trtp, workspace

SOFTMAX, RMS_NORM, LAYER_NORM = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
LOWEST = tl.constexpr(-3.4028234663852886e38)

MOST_PIECES = 2048
"""Of a row: what a program joins."""


@dataclass(frozen=True)
class Pieces:
    """A thread's elements of a piece, a program's warps, and whether programs of one kernel take turns."""

    per_thread: int
    warps: int
    in_turn: bool = False

    @property
    def size(self) -> int:
        return 32 * self.warps * self.per_thread


TACTICS: Dict[int, Pieces] = {
    40: Pieces(16, 8),
    41: Pieces(32, 8),
    42: Pieces(32, 8, in_turn=True),
}


@triton.jit
def _exp(x):
    return tl.exp2(x * 1.4426950408889634)


@triton.jit
def _store_partial(partial_ptr, x, inside, count, KIND: tl.constexpr):
    # Softmax: the largest, and the sum of exponentials below it; else the mean (RMS_NORM: 0), and squares from there.
    if KIND == SOFTMAX:
        # Not -inf: the difference of two infinities would be NaN.
        first = tl.maximum(tl.max(tl.where(inside, x, float("-inf")), 0), LOWEST)
        second = tl.sum(tl.where(inside, _exp(x - first), 0), 0)
    elif KIND == RMS_NORM:
        first = 0.0
        second = tl.sum(x * x, 0)
    else:
        # Each element is divided first: the sum of large ones could leave fp32's range where their mean does not.
        first = tl.sum(x * (1.0 / count), 0)
        apart = tl.where(inside, x - first, 0)
        second = tl.sum(apart * apart, 0)
    tl.store(partial_ptr, first)
    tl.store(partial_ptr + 1, second)


@triton.jit
def _join(partial_ptr, cols, pieces, eps, KIND: tl.constexpr, SIZE: tl.constexpr, PIECES: tl.constexpr):
    # A row's two numbers: what is subtracted from an element, and what it is multiplied by then.
    piece = tl.arange(0, PIECES)
    there = piece < pieces
    # Other programs wrote them, maybe in this very kernel: not from L1.
    second = tl.load(partial_ptr + piece * 2 + 1, mask=there, other=0, cache_modifier=".cg")
    if KIND == RMS_NORM:
        top = 0.0
        scale = tl.rsqrt(tl.sum(second, 0) / cols + eps)
    else:
        first = tl.load(partial_ptr + piece * 2, mask=there, other=LOWEST, cache_modifier=".cg")
        if KIND == SOFTMAX:
            top = tl.max(first, 0)
            scale = 1 / tl.sum(second * _exp(first - top), 0)
        else:
            count = tl.where(there, tl.minimum(cols - piece * SIZE, SIZE), 0).to(tl.float32)
            top = tl.sum(tl.where(there, first, 0) * (count / cols), 0)
            apart = tl.where(there, first - top, 0)
            scale = tl.rsqrt(tl.sum(second + apart * apart * count, 0) / cols + eps)
    return top, scale


@triton.jit
def _store_outputs(y_ptr, x, inside, top, scale, weight, bias, KIND: tl.constexpr):
    z = x.to(tl.float32)
    if KIND == SOFTMAX:
        y = _exp(z - top) * scale
    elif KIND == RMS_NORM:
        y = z * scale * weight.to(tl.float32)
    else:
        y = (z - top) * scale * weight.to(tl.float32) + bias.to(tl.float32)
    tl.store(y_ptr, y.to(y_ptr.dtype.element_ty), mask=inside, eviction_policy="evict_first")


@triton.jit
def _load_weights(weight_ptr, bias_ptr, at, inside, KIND: tl.constexpr):
    weight = 1.0
    bias = 0.0
    if KIND != SOFTMAX:
        weight = tl.load(weight_ptr + at, mask=inside, other=0)
    if KIND == LAYER_NORM:
        bias = tl.load(bias_ptr + at, mask=inside, other=0)
    return weight, bias


@triton.jit
def _statistics(x_ptr, partial_ptr, cols, pieces, KIND: tl.constexpr, SIZE: tl.constexpr):
    row, first = tl.program_id(0) // pieces, tl.program_id(0) % pieces * SIZE
    at = first + tl.arange(0, SIZE)
    x = tl.load(x_ptr + row.to(tl.int64) * cols + at, mask=at < cols, other=0, eviction_policy="evict_last")
    count = tl.minimum(cols - first, SIZE)
    _store_partial(partial_ptr + tl.program_id(0) * 2, x.to(tl.float32), at < cols, count, KIND)


@triton.jit
def statistics_kernel(x_ptr, partial_ptr, cols, pieces, KIND: tl.constexpr, SIZE: tl.constexpr, VECTOR: tl.constexpr):
    if cols % VECTOR == 0:
        # Written so, the compiler sees that rows begin at 16-byte boundaries.
        _statistics(x_ptr, partial_ptr, cols // VECTOR * VECTOR, pieces, KIND, SIZE)
    else:
        _statistics(x_ptr, partial_ptr, cols, pieces, KIND, SIZE)


@triton.jit
def _outputs(
    x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, cols, pieces, eps,
    KIND: tl.constexpr, SIZE: tl.constexpr, PIECES: tl.constexpr,
):  # fmt: skip
    # The last ones first: they were read last, so that L2 has them.
    program = tl.num_programs(0) - 1 - tl.program_id(0)
    row, at = program // pieces, program % pieces * SIZE + tl.arange(0, SIZE)
    start = row.to(tl.int64) * cols
    x = tl.load(x_ptr + start + at, mask=at < cols, other=0, eviction_policy="evict_first")
    weight, bias = _load_weights(weight_ptr, bias_ptr, at, at < cols, KIND)
    top, scale = _join(partial_ptr + row * pieces * 2, cols, pieces, eps, KIND, SIZE, PIECES)
    _store_outputs(y_ptr + start + at, x, at < cols, top, scale, weight, bias, KIND)


@triton.jit
def outputs_kernel(
    x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, cols, pieces, eps,
    KIND: tl.constexpr, SIZE: tl.constexpr, PIECES: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    if cols % VECTOR == 0:
        aligned = cols // VECTOR * VECTOR
        _outputs(x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, aligned, pieces, eps, KIND, SIZE, PIECES)
    else:
        _outputs(x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, cols, pieces, eps, KIND, SIZE, PIECES)


@triton.jit
def _in_turns(
    x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, turns_ptr, cols, pieces, all_pieces, lag, eps,
    KIND: tl.constexpr, SIZE: tl.constexpr, PIECES: tl.constexpr,
):  # fmt: skip
    turn = _in_turn.take(turns_ptr)
    lane = tl.arange(0, SIZE)

    # Both readings are under way before anything is waited for.
    row, first = turn // pieces, turn % pieces * SIZE
    inside = (first + lane < cols) & (turn < all_pieces)
    new = tl.load(x_ptr + row.to(tl.int64) * cols + first + lane, mask=inside, other=0, eviction_policy="evict_last")

    before = turn - lag
    old_row, at = tl.maximum(before, 0) // pieces, tl.maximum(before, 0) % pieces * SIZE + lane
    old_inside = (at < cols) & (before >= 0)
    start = old_row.to(tl.int64) * cols
    x = tl.load(x_ptr + start + at, mask=old_inside, other=0, eviction_policy="evict_first")
    weight, bias = _load_weights(weight_ptr, bias_ptr, at, old_inside, KIND)

    top, scale = 0.0, 0.0
    if before >= 0:
        top, scale = _in_turn.wait(turns_ptr, old_row)
    if turn < all_pieces:
        count = tl.minimum(cols - first, SIZE)
        _store_partial(partial_ptr + turn * 2, new.to(tl.float32), inside, count, KIND)
        if _in_turn.is_last(turns_ptr, row, pieces):
            new_top, new_scale = _join(partial_ptr + row * pieces * 2, cols, pieces, eps, KIND, SIZE, PIECES)
            _in_turn.publish(turns_ptr, row, new_top, new_scale)
    if before >= 0:
        _store_outputs(y_ptr + start + at, x, old_inside, top, scale, weight, bias, KIND)


@triton.jit
def in_turns_kernel(
    x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, turns_ptr, cols, pieces, all_pieces, lag, eps,
    KIND: tl.constexpr, SIZE: tl.constexpr, PIECES: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    if cols % VECTOR == 0:
        _in_turns(
            x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, turns_ptr, cols // VECTOR * VECTOR, pieces, all_pieces,
            lag, eps, KIND, SIZE, PIECES,
        )  # fmt: skip
    else:
        _in_turns(
            x_ptr, weight_ptr, bias_ptr, y_ptr, partial_ptr, turns_ptr, cols, pieces, all_pieces, lag, eps, KIND, SIZE,
            PIECES,
        )  # fmt: skip


LAUNCH, SECOND, TURNS = 1.3, 2.0, 4.0
"""Microseconds of a kernel that moves little, of a second one in a row, and of one whose programs take turns."""

SPEED, FROM_L2, BUSY = 2.95e6, 7e6, 1.08
"""Bytes a microsecond, read or written; read from L2 for the second time; and how much longer turns take."""

SHORTEST = {"one": 131072, "several": 262144}
"""Elements of a row below which a cluster was as fast, or nothing was measured; for one row, and for several."""

NEAR = 1.2
"""Times the least of their own estimates, up to which they are offered."""

HELD = 20e6
"""Bytes of x that are still in L2 when the second kernel reads them."""

WORTH = 1.5
"""Times the estimate of a cluster, up to which another tactic is worth offering: theirs are low for such long rows."""


def estimate(rows: _row_tactics.Rows, tactic: int) -> float:
    """Microseconds that a tactic is expected to take, on an H100 (scripts/road_gpu.py has the times)."""
    read, written = (rows.count * rows.length * size for size in (rows.read, rows.written))
    copied = LAUNCH + (read + written) / SPEED
    if TACTICS[tactic].in_turn:
        return TURNS + BUSY * copied
    return SECOND + copied + min(read, HELD) / FROM_L2 + max(read - HELD, 0) / SPEED


def tactics(x: trtp.TensorDesc, work: int, weights: bool = True) -> List[int]:
    """Those of every road, and for a plugin library those of pieces."""
    own = _row_tactics.tactics(x, work, weights=weights)
    return [*own, *offered(_row_tactics.rows_of(x, work, weights=weights), own)]


def offered(rows: _row_tactics.Rows, others: List[int]) -> List[int]:
    """Tactics that are expected to be faster than all of the others, for a plugin library; none for AOT plugins."""
    few = rows.count <= _row_tactics.MULTIPROCESSORS[90]
    long = rows.length >= SHORTEST["one" if rows.count == 1 else "several"]
    if road() != "library" or rows.tensors > 1 or not (few and long):
        return []
    times = {n: _row_tactics.estimate(rows, n) for n in others}
    clusters = {n for n in times if isinstance(_row_tactics.TACTICS[n], _row_tactics.Cluster)}
    best = min((time * (WORTH if n in clusters else 1) for n, time in times.items()), default=math.inf)
    fit = {n: estimate(rows, n) for n, tactic in TACTICS.items() if rows.longest <= MOST_PIECES * tactic.size}
    return [n for n, time in fit.items() if time < best and time <= NEAR * min(fit.values())]


def aot(kind: Any, x: Any, weight: Any, bias: Any, eps: float, output: Any, tactic: int) -> AotKernel:
    """The kernels of a tactic, of x's rows; x stands for a weight and a bias that are not there."""
    chosen = TACTICS[tactic]
    *leading, cols = x.shape_expr
    rows = trtp.ShapeExprs.from_tuple(leading).numel()
    pieces = trtp.max(trtp.cdiv(cols, chosen.size), 1)
    described = _row_tactics.rows_of(x, 0)
    shared = {
        "x_ptr": x,
        "partial_ptr": workspace(rows * pieces * 2, trt.float32),
        "cols": cols,
        "pieces": pieces,
        "KIND": kind.value,
        "SIZE": chosen.size,
        "VECTOR": described.vector,
        "num_warps": chosen.warps,
    }
    outputs_of = {
        "weight_ptr": weight,
        "bias_ptr": bias,
        "y_ptr": output,
        "eps": eps,
        "PIECES": triton.next_power_of_2(max(-(-described.longest // chosen.size), 1)),
    }
    if not chosen.in_turn:
        grid = rows * pieces
        return aot_kernels(
            launch(statistics_kernel, **shared, grid=grid), launch(outputs_kernel, **shared, **outputs_of, grid=grid)
        )
    lag = _in_turn.lag(rows, pieces, chosen.size * described.read)
    turns = workspace(_in_turn.size(rows), trt.int64)
    return aot_kernels(
        _in_turn.zeros(turns, rows),
        launch(
            in_turns_kernel,
            **shared,
            **outputs_of,
            turns_ptr=turns,
            all_pieces=rows * pieces,
            lag=lag,
            grid=rows * pieces + lag,
        ),
    )
