# SPDX-License-Identifier: Apache-2.0
"""Kernels that are right and unusual: what Triton's language has beyond rows that are loaded, added and stored."""

import numpy as np
import triton
import triton.language as tl

import aotfactory
from aotfactory import Input, Recipe, Tolerance

RECIPES = []
TOLERANCE = {d: Tolerance(rtol=r, atol=r) for d, r in (("fp32", 1e-5), ("fp16", 4e-3), ("bf16", 3e-2), ("int32", 0))}
FLOATS = ("fp32", "fp16", "bf16")
ROWS = lambda a: a["m"]  # noqa: E731


def kind(kernel, reference, *, shape=(6, 100), grid=ROWS, outputs="y_ptr", exact=False, dtypes=FLOATS, **arguments):
    """A recipe of the kernel's name, for x of M x N."""
    name = kernel.__name__.strip("_")
    plugin = aotfactory.plugin(
        kernel,
        f"right::{name}",
        inputs="x_ptr",
        outputs=outputs,
        grid=grid,
        dtypes=dtypes,
        m=lambda t: t.x_ptr.shape_expr[0],
        n=lambda t: t.x_ptr.shape_expr[1],
        **({"BLOCK": 256} | arguments),
    )
    RECIPES.append(
        Recipe(
            name=name,
            plugin=plugin,
            summary="",
            inputs=(Input(name="x", shape=shape, dims=("M", "N")),),
            dtypes=dtypes,
            reference=reference,
            tolerance={} if exact else TOLERANCE,
        )
    )


def twice(x):
    return 2 * x.astype(np.float64)


def at_rest(x):
    return x


LIMIT = tl.constexpr(3.0)


@triton.jit
def _row(x_ptr, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    at = tl.program_id(0) * n + col
    return at, col < n, tl.load(x_ptr + at, mask=col < n, other=0)


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b)


@triton.jit
def of_two_builtins(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    tl.store(y_ptr + at, min(max(x, -1.0), 1.0).to(x.dtype), mask=inside)


kind(of_two_builtins, lambda x: np.fmin(np.fmax(x, np.float64(-1)), 1))


@triton.jit
def loop_variable_is_a_tensor(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    total = 0.0
    for i in range(4):
        total += i.to(tl.float32)
    for i in tl.range(n, num_stages=2):
        total += (i * 0).to(tl.float32)
    tl.store(y_ptr + at, (x * (total - 4.0)).to(x.dtype), mask=inside)


kind(loop_variable_is_a_tensor, twice)


@triton.jit
def while_and_helpers(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    step = 1
    while step < n and step < 64:
        step *= 2
    if step > 1000:
        return
    for _ in tl.static_range(2):
        x = x * 1.0
    tl.store(y_ptr + at, (tl.where(x > LIMIT, LIMIT + 0.0, x)).to(x.dtype), mask=inside)


kind(while_and_helpers, lambda x: np.where(x > 3, 3, x))


@triton.jit
def talks_and_asserts(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    tl.static_assert(BLOCK == 256)
    tl.static_print("compiling", BLOCK)
    tl.device_assert(n > 0, "there is something")
    tl.device_assert(inside | (x == 0), "nothing beyond")
    assert n > 0, "there is something"
    assert BLOCK >= 16
    tl.assume(n > 0)
    tl.device_print("n", n)
    tl.store(y_ptr + at, x, mask=inside)


kind(talks_and_asserts, at_rest, exact=True)


@triton.jit
def atomics(x_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    tl.atomic_add(x_ptr + at, x, mask=inside, sem="relaxed")


kind(atomics, twice, outputs={"x_ptr": "x_ptr"}, dtypes=("fp32", "fp16"))


@triton.jit
def atomics_of_integers(x_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    tl.atomic_max(x_ptr + at, x * 0 + 5, mask=inside)
    tl.atomic_xchg(x_ptr + at, x + 1, mask=inside & (x == 3))


kind(
    atomics_of_integers,
    lambda x: np.where(x == 3, 4, np.maximum(x, 5)),
    outputs={"x_ptr": "x_ptr"},
    dtypes=("int32",),
    exact=True,
)


@triton.jit
def atomics_of_bf16(x_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    tl.atomic_add(x_ptr + at, x, mask=inside)


kind(atomics_of_bf16, twice, outputs={"x_ptr": "x_ptr"}, dtypes=("bf16",))


@triton.jit
def integers_of_what_does_not_fit(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    whole = (x.to(tl.float32) * 1e9).to(tl.int32)
    tl.store(y_ptr + at, (whole // 65536 + (x.to(tl.float32) * 100).to(tl.int8)).to(x.dtype), mask=inside)


def _whole(x):
    """As a GPU converts."""
    with np.errstate(all="ignore"):
        f = x.astype(np.float32)
        wide, small = (
            np.nan_to_num((f * np.float32(k)).astype(np.float64)).clip(-(2.0**31), 2.0**31 - 1) for k in (1e9, 100)
        )
    whole, low = wide.astype(np.int64), small.astype(np.int64).astype(np.int8)
    return np.trunc(whole / 65536) + low.astype(np.float64)


kind(integers_of_what_does_not_fit, _whole)


@triton.jit
def gathers_with_a_lane_to_spare(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    col = tl.arange(0, BLOCK)
    after = tl.gather(x, col + 1, 0)
    tl.store(y_ptr + at, tl.where(col + 1 < n, after, 0), mask=inside)


kind(gathers_with_a_lane_to_spare, lambda x: np.concatenate([x[:, 1:], np.zeros_like(x[:, :1])], 1), exact=True)


@triton.jit
def sorted_rows(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + tl.program_id(0) * n + col, mask=col < n, other=2147483647)
    tl.store(y_ptr + tl.program_id(0) * n + col, tl.sort(x), mask=col < n)


kind(sorted_rows, lambda x: np.sort(x, -1), shape=(3, 25), dtypes=("int32",), exact=True, BLOCK=64)


@triton.jit
def scans(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + tl.program_id(0) * n + col, mask=col < n, other=-float("inf")).to(tl.float32)
    y = tl.associative_scan(x, 0, _larger)
    tl.store(y_ptr + tl.program_id(0) * n + col, y.to(y_ptr.dtype.element_ty), mask=col < n)


kind(scans, lambda x: np.fmax.accumulate(x, -1), exact=True)


@triton.jit
def counted(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    bins = tl.histogram(tl.where(inside, x, -1), 256)
    tl.store(y_ptr + at, tl.gather(bins, tl.where(inside, x, 0), 0), mask=inside)


kind(counted, lambda x: np.array([[np.sum(r == v) for v in r] for r in x]).reshape(x.shape), dtypes=("int32",))


@triton.jit
def shuffled(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    even, odd = tl.split(tl.reshape(x, (BLOCK // 2, 2)))
    there = tl.interleave(even, odd)
    back = tl.reshape(tl.permute(tl.trans(tl.join(even, odd)), (1, 0)), (BLOCK,))
    flipped = tl.flip(tl.flip(x, 0), 0)
    y = ((there + back) * 0.5 + flipped).to(x.dtype)
    tl.store(y_ptr + at, y, mask=inside)


kind(shuffled, twice)


@triton.jit
def bits(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    high = tl.umulhi(x.to(tl.uint32), (x * 0 - 1).to(tl.uint32)).to(tl.int32)
    y = (x << 2) | 1
    y = (y >> 1) ^ (~x & 0xFF)
    tl.store(y_ptr + at, y + high * 0 + (x * 1000003) % 7 + (x - 90) // 7, mask=inside)


def _bits(x):
    x = x.astype(np.int64)
    y = ((x << 2 | 1) >> 1) ^ (~x & 0xFF)
    return (y + np.fmod((x * 1000003).astype(np.int32).astype(np.int64), 7) + np.trunc((x - 90) / 7)).astype(np.int32)


kind(bits, _bits, dtypes=("int32",), exact=True)


@triton.jit
def products(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    lane = tl.arange(0, BLOCK)
    tile = (lane[:, None] == 0).to(x.dtype) * x[None, :]
    eye = (lane[:, None] == lane[None, :]).to(x.dtype)
    y = tl.sum(tl.dot(tile, eye, input_precision="ieee"), 0)
    tl.store(y_ptr + at, (y + x).to(x.dtype), mask=inside)


kind(products, twice, shape=(3, 30), dtypes=("fp16",), BLOCK=64)
RECIPES[-1] = Recipe(**{**vars(RECIPES[-1]), "ordinary": "the product has zeros to multiply infinities with"})


@triton.jit
def random_numbers(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    u = tl.rand(42, at)
    z, w = tl.randn(7, at), tl.randint(3, at)
    fine = (u >= 0) & (u < 1) & (z * 0 == 0) & (w * 0 == 0)
    tl.store(y_ptr + at, tl.where(fine, x + x, 0), mask=inside)


kind(random_numbers, twice, shape=(3, 100))


@triton.jit
def places_of_equals(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    best, place = tl.max(tl.where(inside, x // 20, -1), 0, return_indices=True)
    least = tl.argmin(tl.where(inside, x // 20, 1000), 0)
    tl.store(y_ptr + at, x * 0 + best * 10000 + place * 100 + least, mask=inside)


def _places(x):
    tens = x // 20
    y = tens.max(-1) * 10000 + tens.argmax(-1) * 100 + tens.argmin(-1)
    return np.broadcast_to(y[:, None], x.shape).astype(np.int32)


kind(places_of_equals, _places, dtypes=("int32",), exact=True)


@triton.jit
def last_one_finishes(x_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    tl.store(x_ptr + at, x + x, mask=inside)
    tl.debug_barrier()
    z = tl.load(x_ptr + at, mask=inside)
    tl.store(x_ptr + at, z, mask=inside)


kind(last_one_finishes, twice, outputs={"x_ptr": "x_ptr"})


@triton.jit
def mathematics(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    f = x.to(tl.float32)
    s = tl.sigmoid(f) + tl.exp2(-tl.abs(f)) + tl.fma(f, 0.5, 1.0) + tl.math.erf(f) + tl.cos(f) * tl.sin(f)
    s += tl.fdiv(f, 3.0) + tl.div_rn(f, 3.0) + tl.sqrt_rn(tl.abs(f)) + tl.floor(f) + tl.ceil(f) + tl.log2(1 + tl.abs(f))
    tl.store(y_ptr + at, (s + tl.clamp(f, -1.0, 1.0)).to(x.dtype), mask=inside)


def _mathematics(x):
    from scipy.special import erf, expit

    f = x.astype(np.float64)
    s = expit(f) + 2 ** -np.abs(f) + f * 0.5 + 1 + erf(f) + np.cos(f) * np.sin(f)
    s += f / 3 + f / 3 + np.sqrt(np.abs(f)) + np.floor(f) + np.ceil(f) + np.log2(1 + np.abs(f))
    return s + np.clip(f, -1, 1)


kind(mathematics, _mathematics)


@triton.jit
def eight_bits(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    at, inside, x = _row(x_ptr, n, BLOCK)
    small = x.to(tl.float8e5)
    total = tl.sum(small.to(tl.float32) * 0) + tl.max(small.to(tl.float32) * 0)
    tl.store(y_ptr + at, (small.to(tl.float32) + total).to(x.dtype), mask=inside)


def _eight_bits(x):
    import ml_dtypes

    return x.astype(np.float32).astype(ml_dtypes.float8_e5m2).astype(np.float64)


kind(eight_bits, _eight_bits, exact=True)
RECIPES[-1] = Recipe(**{**vars(RECIPES[-1]), "ordinary": "it adds a sum of the row"})


@triton.jit
def spread_by_the_grid(x_ptr, y_ptr, m, n, BLOCK: tl.constexpr):
    for at in range(tl.program_id(0) * BLOCK, m * n, tl.num_programs(0) * BLOCK):
        i = at + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + i, mask=i < m * n, eviction_policy="evict_first", cache_modifier=".cg")
        tl.store(y_ptr + i, x + x, mask=i < m * n, cache_modifier=".cs")


kind(spread_by_the_grid, twice, grid=3)


@triton.jit
def exchanged_behind_barriers(x_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    row = x_ptr + tl.program_id(0) * n
    x = tl.load(row + n - 1 - col, mask=col < n)
    tl.debug_barrier()
    tl.store(row + col, x + x, mask=col < n)
    tl.debug_barrier()
    y = tl.load(row + n - 1 - col, mask=col < n)
    tl.debug_barrier()
    tl.store(row + col, y, mask=col < n)


kind(exchanged_behind_barriers, twice, outputs={"x_ptr": "x_ptr"}, BLOCK=2048)


@triton.jit
def in_place_by_the_same_threads(x_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    low = x_ptr + tl.program_id(0) * n + col
    high = low + n // 2
    a, b = tl.load(low, mask=col < n // 2), tl.load(high, mask=col < n // 2)
    tl.store(low, b, mask=col < n // 2)
    tl.store(high, a, mask=col < n // 2)
    tl.store(low, tl.load(low, mask=col < n // 2), mask=col < n // 2)


def _halves(x):
    y, half = x.copy(), x.shape[1] // 2
    y[:, :half], y[:, half : 2 * half] = x[:, half : 2 * half], x[:, :half]
    return y


kind(in_place_by_the_same_threads, _halves, outputs={"x_ptr": "x_ptr"}, BLOCK=2048, exact=True)


@triton.jit
def neighbours_in_a_warp(x_ptr, m, n, BLOCK: tl.constexpr):
    col = tl.arange(0, BLOCK)
    row = x_ptr + tl.program_id(0) * n
    pair = col < n // 2 * 2
    x = tl.load(row + (col ^ 1), mask=pair)
    tl.store(row + col, x, mask=pair)


def _swapped(x):
    y, even = x.copy(), x.shape[1] // 2 * 2
    y[:, 0:even:2], y[:, 1:even:2] = x[:, 1:even:2], x[:, 0:even:2]
    return y


kind(neighbours_in_a_warp, _swapped, outputs={"x_ptr": "x_ptr"}, BLOCK=2048, exact=True)
