# SPDX-License-Identifier: Apache-2.0
"""Kernels that are wrong in one way each: for some programs, sizes, values, types or tactics alone.

What each should do is what its reference says.
"""

import numpy as np
import triton
import triton.language as tl

import aotfactory
from aotfactory import Input, Recipe, Tolerance, trtp

RECIPES = []
TOLERANCE = {d: Tolerance(rtol=r, atol=r) for d, r in (("fp32", 1e-5), ("fp16", 2e-3), ("bf16", 2e-2))}


def kind(kernel, reference, *, shape=(8, 1000), grid=None, outputs="y_ptr", exact=False, **arguments):
    """A recipe of the kernel's name, for x of M x N; its grid is of rows unless it is told."""
    name = getattr(kernel, "fn", kernel).__name__.strip("_")
    names = getattr(kernel, "arg_names", None) or kernel.fn.arg_names
    if "m" in names:
        arguments["m"] = lambda t: t.x_ptr.shape_expr[0]
    if "n" in names:
        arguments["n"] = lambda t: t.x_ptr.shape_expr[1]
    inputs = "x_ptr"
    plugin = aotfactory.plugin(
        kernel,
        f"wrong::{name}",
        inputs=inputs,
        outputs=outputs,
        grid=grid or (lambda a: a["m"]),
        dtypes=("fp32", "fp16", "bf16"),
        **arguments,
    )
    RECIPES.append(
        Recipe(
            name=name,
            plugin=plugin,
            summary="",
            inputs=(Input(name="x", shape=shape, dims=("M", "N")),),
            dtypes=("fp32", "fp16", "bf16"),
            reference=reference,
            tolerance={} if exact else TOLERANCE,
        )
    )


def twice(x):
    return 2 * x.astype(np.float64)


def by_tiles(block):
    return lambda a: (a["m"], trtp.cdiv(a["n"], block))


@triton.jit
def last_program_of_axis_1(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + tl.program_id(0) * n + col, mask=col < n)
    factor = tl.where((tl.program_id(1) > 0) & (tl.program_id(1) == tl.num_programs(1) - 1), 3.0, 2.0)
    tl.store(y_ptr + tl.program_id(0) * n + col, (x * factor).to(x.dtype), mask=col < n)


kind(last_program_of_axis_1, twice, BLOCK=128, grid=by_tiles(128))


@triton.jit
def where_sizes_are_equal(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * n + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=tl.arange(0, BLOCK) < n)
    factor = tl.where((m == n) & (m > 1), 3.0, 2.0)
    tl.store(y_ptr + at, (x * factor).to(x.dtype), mask=tl.arange(0, BLOCK) < n)


kind(where_sizes_are_equal, twice, shape=(40, 60), BLOCK=128)


@triton.jit
def where_sizes_differ(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + tl.program_id(0) * m + col, mask=col < n)
    tl.store(y_ptr + tl.program_id(0) * n + col, x + x, mask=col < n)


kind(where_sizes_differ, twice, shape=(64, 64), BLOCK=128)


@triton.jit
def tail_after_the_first_block(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    row, lane = tl.program_id(0) * n, tl.arange(0, BLOCK)
    if n <= BLOCK:
        x = tl.load(x_ptr + row + lane, mask=lane < n)
        tl.store(y_ptr + row + lane, x + x, mask=lane < n)
    else:
        for i in range(n // BLOCK):
            x = tl.load(x_ptr + row + i * BLOCK + lane)
            tl.store(y_ptr + row + i * BLOCK + lane, x + x)


kind(tail_after_the_first_block, twice, shape=(4, 256), BLOCK=128)


@triton.jit
def ones_beyond_the_row(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + tl.program_id(0) * n + col, mask=col < n, other=1.0).to(tl.float32)
    tl.store(y_ptr + tl.program_id(0) * n + col, (x - tl.sum(x) / n).to(y_ptr.dtype.element_ty), mask=col < n)


def centred(x):
    x = x.astype(np.float64)
    return x - x.mean(-1, keepdims=True)


kind(ones_beyond_the_row, centred, shape=(8, 120), BLOCK=128)


@triton.jit
def offsets_beyond_int32(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * n + tl.arange(0, BLOCK)
    for i in range(0, n, BLOCK):
        inside = i + tl.arange(0, BLOCK) < n
        x = tl.load(x_ptr + at + i, mask=inside)
        tl.store(y_ptr + at + i, x + x, mask=inside)


kind(offsets_beyond_int32, twice, shape=(64, 4000), BLOCK=2048)


@triton.jit
def not_a_number(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * n + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=tl.arange(0, BLOCK) < n)
    tl.store(y_ptr + at, tl.maximum(x, 0), mask=tl.arange(0, BLOCK) < n)


kind(not_a_number, lambda x: np.maximum(x, 0), BLOCK=2048, exact=True)


@triton.jit
def infinity(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * n + tl.arange(0, BLOCK)
    e = tl.exp(2 * tl.load(x_ptr + at, mask=tl.arange(0, BLOCK) < n).to(tl.float32))
    tl.store(y_ptr + at, ((e - 1) / (e + 1)).to(y_ptr.dtype.element_ty), mask=tl.arange(0, BLOCK) < n)


kind(infinity, lambda x: np.tanh(x.astype(np.float64)), BLOCK=2048)


@triton.jit
def sum_of_too_few(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    row, lane = tl.program_id(0) * n, tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, n - BLOCK + 1, BLOCK):
        total += tl.load(x_ptr + row + i + lane, mask=i + lane < n, other=0).to(tl.float32)
    mean = tl.sum(total) / n
    for i in range(0, n, BLOCK):
        x = tl.load(x_ptr + row + i + lane, mask=i + lane < n).to(tl.float32)
        tl.store(y_ptr + row + i + lane, (x - mean).to(y_ptr.dtype.element_ty), mask=i + lane < n)


kind(sum_of_too_few, centred, BLOCK=128)


@triton.jit
def needs_what_comes_later(x_ptr, m, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * n + tl.arange(0, BLOCK)
    inside = tl.arange(0, BLOCK) < n
    after = tl.load(x_ptr + at + n, mask=inside & (tl.program_id(0) + 1 < tl.num_programs(0)), other=0)
    tl.store(x_ptr + at, after, mask=inside)


kind(
    needs_what_comes_later,
    lambda x: np.concatenate([x[1:], np.zeros_like(x[:1])]),
    outputs={"x_ptr": "x_ptr"},
    shape=(8, 100),
    BLOCK=128,
    exact=True,
)


@triton.jit
def last_one_wins(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + tl.program_id(0) * n + col, mask=col < n)
    for row in range(m):
        tl.store(y_ptr + row * n + col, x, mask=col < n)


kind(last_one_wins, lambda x: np.repeat(x[-1:], len(x), 0), shape=(8, 100), BLOCK=128, exact=True)


@triton.jit
def second_output_of_odd_rows(x_ptr, y_ptr, z_ptr, m, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * n + tl.arange(0, BLOCK)
    inside = tl.arange(0, BLOCK) < n
    x = tl.load(x_ptr + at, mask=inside)
    tl.store(y_ptr + at, x + x, mask=inside)
    if tl.program_id(0) % 2 == 0:
        tl.store(z_ptr + at, -x, mask=inside)


kind(
    second_output_of_odd_rows,
    lambda x: (twice(x), -x),
    outputs={"y_ptr": "x_ptr", "z_ptr": "x_ptr"},
    BLOCK=2048,
)


@triton.jit
def in_bf16_alone(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * n + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=tl.arange(0, BLOCK) < n)
    y = x + x
    if x.dtype == tl.bfloat16:
        y += 1
    tl.store(y_ptr + at, y, mask=tl.arange(0, BLOCK) < n)


kind(in_bf16_alone, twice, BLOCK=2048)


@triton.autotune(configs=[triton.Config({"BLOCK": b}) for b in (512, 2048)], key=["n"])
@triton.jit
def with_the_first_tactic(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * n + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=tl.arange(0, BLOCK) < n)
    tl.store(y_ptr + at, x + x, mask=tl.arange(0, BLOCK) < n)


kind(with_the_first_tactic, twice)


@triton.jit
def offsets_in_int16(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at.to(tl.int16), mask=at < n)
    tl.store(y_ptr + at, x + x, mask=at < n)


kind(offsets_in_int16, twice, shape=(1, 5000), BLOCK=2048, grid=lambda a: trtp.cdiv(a["n"], 2048))


@triton.jit
def an_assertion(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * n + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=tl.arange(0, BLOCK) < n)
    assert n < 1000, "rows are short"
    tl.store(y_ptr + at, x + x, mask=tl.arange(0, BLOCK) < n)


kind(an_assertion, twice, BLOCK=2048)


@triton.jit
def sum_on_what_was_there(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * n + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=tl.arange(0, BLOCK) < n)
    tl.atomic_add(y_ptr + at, x + x, mask=tl.arange(0, BLOCK) < n)


kind(sum_on_what_was_there, twice, BLOCK=2048)


@triton.jit
def modulo_of_a_negative_index(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + tl.program_id(0) * n + (col - 1) % n, mask=col < n)
    tl.store(y_ptr + tl.program_id(0) * n + col, x, mask=col < n)


kind(modulo_of_a_negative_index, lambda x: np.roll(x, 1, -1), BLOCK=2048, exact=True)


@triton.jit
def gathers_beyond(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + tl.program_id(0) * n + col, mask=col < n)
    tl.store(y_ptr + tl.program_id(0) * n + col, tl.gather(x, col + 30, 0), mask=col < n)


kind(gathers_beyond, lambda x: np.roll(x, -30, -1), BLOCK=2048, exact=True)


@triton.jit
def rows_of_zeros(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * n + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=tl.arange(0, BLOCK) < n, other=0).to(tl.float32)
    y = x * tl.rsqrt(tl.sum(x * x) / n - 1e-6)
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=tl.arange(0, BLOCK) < n)


def normalised(x):
    x = x.astype(np.float64)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)


kind(rows_of_zeros, normalised, BLOCK=2048)


@triton.jit
def reads_what_another_warp_wrote(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    row = y_ptr + tl.program_id(0) * n
    x = tl.load(x_ptr + tl.program_id(0) * n + col, mask=col < n)
    tl.store(row + n - 1 - col, x + x, mask=col < n)
    y = tl.load(row + col, mask=col < n)
    tl.store(row + col, y, mask=col < n)


kind(reads_what_another_warp_wrote, lambda x: twice(x)[:, ::-1], BLOCK=2048)


@triton.jit
def writes_where_another_warp_reads(x_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    row = x_ptr + tl.program_id(0) * n
    x = tl.load(row + n - 1 - col, mask=col < n)
    tl.store(row + col, x, mask=col < n)


kind(
    writes_where_another_warp_reads,
    lambda x: x[:, ::-1],
    outputs={"x_ptr": "x_ptr"},
    BLOCK=2048,
    exact=True,
)


@triton.jit
def reads_one_that_another_warp_wrote(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    at = tl.program_id(0) * n + col
    x = tl.load(x_ptr + at, mask=col < n)
    tl.store(y_ptr + at, x, mask=col < n)
    last = tl.load(y_ptr + tl.program_id(0) * n + n - 1)
    tl.store(y_ptr + at, x + last, mask=col < n)


kind(reads_one_that_another_warp_wrote, lambda x: x.astype(np.float64) + x[:, -1:], BLOCK=2048)


@triton.jit
def reloads_what_it_scattered(x_ptr, m, n, BLOCK: tl.constexpr):
    row = x_ptr + tl.program_id(0) * n
    few = tl.arange(0, BLOCK // 8)
    tl.store(row + n - 1 - few, tl.load(row + few, mask=few < n // 2), mask=few < n // 2)
    col = tl.arange(0, BLOCK)
    x = tl.load(row + col, mask=col < n)
    tl.store(row + col, x + x, mask=col < n)


def _scattered(x):
    y, few = x.astype(np.float64), min(x.shape[1] // 2, 256)
    y[:, x.shape[1] - few :] = x[:, :few][:, ::-1]
    return 2 * y


kind(reloads_what_it_scattered, _scattered, outputs={"x_ptr": "x_ptr"}, BLOCK=2048)
