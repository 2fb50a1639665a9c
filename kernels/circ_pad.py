# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Circular padding of 1-D to 4-D tensors, as torch.nn.functional.pad(mode="circular"), for any dimensions.

How it gets to the speed of a copy. A flat block of the output is written with aligned 16-byte stores; what it reads is
shifted by the padding, so loads are narrow and served by L1. The time goes into integer arithmetic then:

* Dimensions are merged first: an unpadded one joins the one before it, so (N, C, H, W) with pads on W and H is a
  (N*C, H, W) problem, and with pads on H alone (N*C, H*W). Elements are fused into words of up to 8 bytes where extent
  and padding of the last dimension allow.
* One scalar division per program and dimension finds where a block begins. Within the block, indices are small, and a
  row number is a compare (rows longer than the block), one multiplication (dynamic extents: the reciprocal arrives as
  an extra argument), or a division by a constant, which is a multiplication too. About 25 instructions per element:
  enough for 4-byte and 2-byte elements.
* int8 has no time for 25 instructions per byte. `circ_pad_words_kernel` computes indices once per output word and puts
  the word together from two aligned input words. The words at row borders come out wrong and are written again, byte by
  byte, after a barrier: about 8 instructions per byte in all.
"""

from dataclasses import dataclass
from math import gcd, prod
from typing import Any, List, Tuple

import numpy as np
import numpy.typing as npt
import triton
import triton.language as tl

from aotfactory import dtypes
from aotfactory.errors import UsageError
from aotfactory.kernel import AotKernel, aot_kernel
from aotfactory.recipe import Input, Recipe

import tensorrt.plugin as trtp  # isort: skip  (aotfactory.kernel decides which TensorRT this is)

INT32_MAX = 2**31 - 1
COMPARE, MULTIPLY, DIVIDE = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)


@triton.jit
def _split(i, size, reciprocal, HOW: tl.constexpr):
    # (i // size, i % size) for 0 <= i < size + (what the block spans), which `_how` has chosen the way for.
    if HOW == COMPARE:
        quotient = (i >= size).to(tl.int32)
    elif HOW == MULTIPLY:
        quotient = tl.umulhi(i.to(tl.uint32), tl.cast(reciprocal, tl.uint32) * 2).to(tl.int32)
    else:
        quotient = (i.to(tl.uint32) // tl.cast(size, tl.uint32)).to(tl.int32)
    return quotient, i - quotient * size


@triton.jit
def _wrap(i, size):
    # i % size for a padding of at most one turn, -size <= i < 2 * size.
    i = tl.where(i < 0, i + size, i)
    return tl.where(i >= size, i - size, i)


@triton.jit
def _input_row(row, step, size, out, left, reciprocal, how, RANK: tl.constexpr, PAD_OUTER: tl.constexpr):
    # The row of the input that row + step of the output shows; row is a scalar, step small and not negative.
    if RANK == 2:
        found = row + step
        if PAD_OUTER:
            found = _wrap(found - left[2], size[2])
    else:
        plane = row // out[2]
        planes, high = _split((row - plane * out[2]).to(tl.int32) + step, out[2], reciprocal[2], how[2])
        if RANK == 3:
            outer = plane + planes
            if PAD_OUTER:
                outer = _wrap(outer - left[1], size[1])
        else:
            batch = plane // out[1]
            batches, mid = _split((plane - batch * out[1]).to(tl.int32) + planes, out[1], reciprocal[1], how[1])
            outer = batch + batches
            if PAD_OUTER:
                outer = _wrap(outer - left[0], size[0])
            outer = outer * size[1] + _wrap(mid - left[1], size[1])
        found = outer * size[2] + _wrap(high - left[2], size[2])
    return found


@triton.jit
def circ_pad_kernel(
    x_ptr, y_ptr, full_blocks, tail,
    size0, size1, size2, size3, out1, out2, out3, left0, left1, left2, left3, reciprocal1, reciprocal2, reciprocal3,
    HOW1: tl.constexpr, HOW2: tl.constexpr, HOW3: tl.constexpr, RANK: tl.constexpr, PAD_OUTER: tl.constexpr,
    ELEMENT: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    size, out, left = (size0, size1, size2, size3), (1, out1, out2, out3), (left0, left1, left2, left3)
    reciprocal, how = (0, reciprocal1, reciprocal2, reciprocal3), (0, HOW1, HOW2, HOW3)
    x_ptr = x_ptr.to(tl.pointer_type(ELEMENT), bitcast=True)
    y_ptr = y_ptr.to(tl.pointer_type(ELEMENT), bitcast=True)
    block = tl.program_id(0)
    start = block.to(tl.int64) * BLOCK if WIDE else block * BLOCK
    i = tl.arange(0, BLOCK)
    row = start // out3
    step, column = _split((start - row * out3).to(tl.int32) + i, out3, reciprocal3, HOW3)
    found = _input_row(row, step, size, out, left, reciprocal, how, RANK, PAD_OUTER)
    source = found * size3 + _wrap(column - left3, size3)
    # A mask that need not be a multiple of 16 would split the 16-byte stores: only the last block has one.
    if block < full_blocks:
        tl.store(y_ptr + start + i, tl.load(x_ptr + source))
    else:
        tl.store(y_ptr + start + i, tl.load(x_ptr + source, mask=i < tail), mask=i < tail)


@triton.jit
def circ_pad_words_kernel(
    x_ptr, y_ptr, full_blocks, tail, count, input_words, input_rest,
    size0, size1, size2, size3, out1, out2, out3, left0, left1, left2, left3, right3,
    reciprocal1, reciprocal2, reciprocal3,
    HOW1: tl.constexpr, HOW2: tl.constexpr, HOW3: tl.constexpr, RANK: tl.constexpr, PAD_OUTER: tl.constexpr,
    ELEMENT: tl.constexpr, BITS: tl.constexpr, WORD: tl.constexpr, PER_WORD: tl.constexpr,
    EDGE: tl.constexpr, BORDERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # Words of PER_WORD elements of BITS bits; all indices are in elements unless they say words.
    size, out, left = (size0, size1, size2, size3), (1, out1, out2, out3), (left0, left1, left2, left3)
    reciprocal, how = (0, reciprocal1, reciprocal2, reciprocal3), (0, HOW1, HOW2, HOW3)
    x_words = x_ptr.to(tl.pointer_type(WORD), bitcast=True)
    y_words = y_ptr.to(tl.pointer_type(WORD), bitcast=True)
    x_ptr = x_ptr.to(tl.pointer_type(ELEMENT), bitcast=True)
    y_ptr = y_ptr.to(tl.pointer_type(ELEMENT), bitcast=True)
    block = tl.program_id(0)
    start = block * (BLOCK * PER_WORD)
    end = tl.minimum(start + BLOCK * PER_WORD, count)
    word = tl.arange(0, BLOCK)
    i = word * PER_WORD
    row = start // out3
    step, column = _split(start - row * out3 + i, out3, reciprocal3, HOW3)
    found = _input_row(row, step, size, out, left, reciprocal, how, RANK, PAD_OUTER)
    # A word is whole if all of it shows one stretch of one input row without wrapping around.
    column -= left3
    whole = (column >= 0) & (column + PER_WORD <= size3) & (start + i + PER_WORD <= end)
    source = found * size3 + column
    shift = ((source & (PER_WORD - 1)) * BITS).to(WORD)
    at = source // PER_WORD
    low = tl.load(x_words + at, mask=whole, other=0)
    high = tl.load(x_words + at + 1, mask=whole & (shift != 0) & (at + 1 < input_words), other=0)
    if input_rest != 0:
        # The input's last word is not all there: read it element by element.
        last = tl.zeros((1,), WORD)
        for k in tl.static_range(PER_WORD - 1):
            at_end = input_words * PER_WORD + k + tl.zeros((1,), tl.int32)
            piece = tl.load(x_ptr + at_end, mask=k < input_rest + tl.zeros((1,), tl.int32), other=0)
            last |= (piece.to(WORD) & ((1 << BITS) - 1)) << (k * BITS)
        high = tl.where(at + 1 == input_words, last, high)
    # Not high << (the word's bits - shift): that is undefined where shift is 0.
    value = (low >> shift) | ((high << (PER_WORD * BITS - 1 - shift)) << 1)
    if block < full_blocks:
        tl.store(y_words + block * BLOCK + word, value)
    else:
        tl.store(y_words + block * BLOCK + word, value, mask=word < tail)

    # Now the words that are not whole, over what was just stored: the barrier orders the two stores, and no other
    # program writes to this block.
    tl.debug_barrier()
    _pad_borders(
        x_ptr, y_ptr, start, end, size, out, left, right3, reciprocal, how, RANK, PAD_OUTER, PER_WORD, EDGE, BORDERS
    )


@triton.jit
def _pad_borders(
    x_ptr, y_ptr, start, end, size, out, left, right3, reciprocal, how, RANK: tl.constexpr, PAD_OUTER: tl.constexpr,
    PER_WORD: tl.constexpr, EDGE: tl.constexpr, BORDERS: tl.constexpr,
):  # fmt: skip
    # Elements from start to end that are in words with padding or a border between rows, BORDERS borders at a time.
    row = start // out[3]
    last_border = (end - 1) // out[3] + 1
    for first in range(row, last_border + 1, BORDERS):
        steps = first - row + tl.arange(0, BORDERS)
        border = (row + steps) * out[3]
        below = _input_row(row, steps, size, out, left, reciprocal, how, RANK, PAD_OUTER)
        above = _input_row(row, tl.maximum(steps - 1, 0), size, out, left, reciprocal, how, RANK, PAD_OUTER)
        i = ((border - right3) & -PER_WORD)[:, None] + tl.arange(0, EDGE)[None, :]
        stop = tl.where(row + steps <= last_border, (border + left[3] + PER_WORD - 1) & -PER_WORD, 0)
        inside = (i >= start) & (i < tl.minimum(stop, end)[:, None])
        column = i - border[:, None]
        found = tl.where(column < 0, above[:, None], below[:, None])
        column = tl.where(column < 0, column + out[3], column)
        source = found * size[3] + _wrap(column - left[3], size[3])
        tl.store(y_ptr + i, tl.load(x_ptr + source, mask=inside), mask=inside)


@dataclass(frozen=True)
class Tactic:
    """Block is in words stored; `word` is the bytes that `circ_pad_words_kernel` stores at a time, 0: the other one."""

    block: int
    warps: int
    word: int = 0


TACTICS = {
    1: Tactic(512, 4),
    2: Tactic(1024, 4),
    3: Tactic(2048, 4),
    4: Tactic(1024, 4, word=4),
    5: Tactic(2048, 8, word=4),
    6: Tactic(1024, 8, word=8),
}
MAX_EDGE = 32  # elements rewritten at each border between rows; above, the byte-by-byte part would dominate
EDGE_TILE = 512


@dataclass(frozen=True)
class Extent:
    """A size in elements, a number or an expression of dimensions, and what it may be over the profile."""

    value: Any
    least: int
    most: int

    @classmethod
    def of(cls, number: int) -> "Extent":
        return cls(number, number, number)

    def __add__(self, other: "Extent") -> "Extent":
        a, b = (other, self) if isinstance(self.value, int) else (self, other)
        return Extent(a.value + b.value, a.least + b.least, a.most + b.most)

    def __mul__(self, other: "Extent") -> "Extent":
        a, b = (other, self) if isinstance(self.value, int) else (self, other)  # expressions have no __rmul__
        return Extent(a.value * b.value, a.least * b.least, a.most * b.most)


@dataclass(frozen=True)
class Axis:
    size: Extent
    before: Extent
    after: Extent

    @property
    def padded(self) -> bool:
        return self.before.most + self.after.most > 0

    @property
    def padded_size(self) -> Extent:
        return self.size + self.before + self.after


def _axes(sizes: List[Extent], pads: List[int], itemsize: int) -> Tuple[List[Axis], int]:
    """At least two axes, the last first, all padded but possibly the first dimension's; and bytes per element."""
    pads = pads + [0] * (2 * len(sizes) - len(pads))
    padded = [(Extent.of(pads[2 * k]), Extent.of(pads[2 * k + 1])) for k in range(len(sizes))]
    axes = [Axis(size, *ends) for size, ends in zip(reversed(sizes), padded, strict=True)]
    if isinstance(axes[0].size.value, int) and axes[0].size.value:
        numbers = [axes[0].size.value, axes[0].before.value, axes[0].after.value]
        fused = gcd(*numbers, 8 // itemsize)
        axes[0] = Axis(*(Extent.of(n // fused) for n in numbers))
        itemsize *= fused
    merged = axes[:1]
    for axis in axes[1:]:
        inner = merged[-1]
        if inner.padded:
            merged.append(axis)
        else:
            merged[-1] = Axis(*(extent * inner.size for extent in (axis.size, axis.before, axis.after)))
    one, none = Extent.of(1), Extent.of(0)
    return (merged if len(merged) > 1 else [*merged, Axis(one, none, none)]), itemsize


def _how(size: Extent, span: int) -> int:
    """How to divide 0 <= i < size + span by the size; only sizes above 1 come here with MULTIPLY."""
    if size.least >= span:
        return COMPARE.value
    # ceil(2^31 / d) * i >> 31 is exact while i * d < 2^31.
    exact = (size.most + span) * size.most <= INT32_MAX
    return MULTIPLY.value if exact and size.least > 1 and not isinstance(size.value, int) else DIVIDE.value


def _edge(last: Axis, per_word: int) -> int:
    """Elements around a border between rows that are in words which are not whole, as a power of two."""
    return triton.next_power_of_2(max(last.before.most + last.after.most + 2 * (per_word - 1), 1))


def _suits(tactic: Tactic, axes: List[Axis], itemsize: int) -> bool:
    if not tactic.word:
        return True
    last, count = axes[0], prod(a.padded_size.most for a in axes)
    edge = _edge(last, tactic.word // itemsize)
    return (
        itemsize < min(tactic.word, 4)
        and isinstance(last.before.value, int)
        and edge <= MAX_EDGE
        and last.padded_size.least >= edge
        and count + tactic.block * tactic.word // itemsize <= INT32_MAX
    )


def _call(sizes: List[Extent], pads: List[int], itemsize: int, tactic: Tactic) -> Tuple[Any, dict, Any]:
    """The kernel, its arguments other than the two tensors, and the number of programs."""
    axes, itemsize = _axes(sizes, pads, itemsize)
    if not _suits(tactic, axes, itemsize):
        tactic = Tactic(tactic.block, tactic.warps)
    per_word = tactic.word // itemsize if tactic.word else 1
    count = Extent.of(1)
    for axis in axes:
        count = axis.padded_size * count
    wide = count.most + tactic.block * per_word > INT32_MAX
    if wide and max(a.padded_size.most for a in axes) > INT32_MAX - tactic.block:
        raise UsageError("a dimension of more than 2^31 elements", hint="split the tensor")
    size = tactic.block * per_word
    arguments: dict = {
        "full_blocks": count.value // size,
        "tail": (count.value - count.value // size * size) // per_word,
        "RANK": len(axes),
        "PAD_OUTER": axes[-1].padded,
        "BLOCK": tactic.block,
    }
    span = size
    for k in range(4):
        at = 3 - k
        axis = axes[k] if k < len(axes) else Axis(*(Extent.of(0) for _ in range(3)))
        arguments |= {f"size{at}": axis.size.value, f"left{at}": axis.before.value}
        if at:
            out, inner = axis.padded_size, k < len(axes) - 1
            how = _how(out, span) if inner else COMPARE.value
            multiply = how == MULTIPLY.value
            arguments |= {
                f"out{at}": out.value,
                f"HOW{at}": how,
                f"reciprocal{at}": trtp.ShapeExpr(INT32_MAX) // out.value + 1 if multiply else 0,
            }
            span = span // max(out.least, 1) + 2
    if not tactic.word:
        arguments |= {"ELEMENT": getattr(tl, f"int{8 * itemsize}"), "WIDE": wide}
        return circ_pad_kernel, arguments, count.value
    total = Extent.of(1)
    for axis in axes:
        total = axis.size * total
    known = prod(a.size.value for a in axes if isinstance(a.size.value, int))
    rest = total.value - total.value // per_word * per_word if known % per_word else 0
    edge = _edge(axes[0], per_word)
    arguments |= {
        "count": count.value,
        "input_words": total.value // per_word,
        "input_rest": rest,
        "right3": axes[0].after.value,
        "ELEMENT": getattr(tl, f"int{8 * itemsize}"),
        "WORD": getattr(tl, f"uint{8 * tactic.word}"),
        "BITS": 8 * itemsize,
        "PER_WORD": per_word,
        "EDGE": edge,
        "BORDERS": EDGE_TILE // edge,
    }
    return circ_pad_words_kernel, arguments, count.value


PADS_HINT = "give two for each padded dimension, the last dimension first: left, right, top, bottom, ..."


def _check(pads: List[int], sizes: List[Any]) -> None:
    """Raise UsageError for paddings that this plugin does not do; sizes are numbers, None where not known."""
    if len(pads) % 2:
        raise UsageError(f"pads has {len(pads)} items", hint=PADS_HINT)
    if len(pads) > 2 * len(sizes):
        raise UsageError(
            f"pads has {len(pads)} items, for {len(pads) // 2} dimensions, but the tensor has {len(sizes)}",
            hint=PADS_HINT,
        )
    if min(pads, default=0) < 0:
        raise UsageError(f"pads holds {min(pads)}", hint="slice the tensor to make it smaller; padding is 0 or more")
    for k, size in enumerate(reversed(sizes[len(sizes) - len(pads) // 2 :])):
        most = max(pads[2 * k : 2 * k + 2])
        if size is not None and most > size:
            raise UsageError(
                f"pads holds {most} for dimension {len(sizes) - 1 - k}, which may be as small as {size}",
                hint="circular padding wraps around once: pad by the size of the dimension at most",
            )


@trtp.register("aotfactory::circ_pad")
def circ_pad_desc(inp0: trtp.TensorDesc, pads: npt.NDArray[np.int32]) -> trtp.TensorDesc:
    """The input, of 1 to 4 dimensions, continued periodically on each side.

    Attributes:
        pads: In elements, last dimension first: left, right, top, bottom, front, back, ...; each from 0 to the size
            of its dimension. Dimensions that are not listed are not padded.
    """
    sizes = inp0.shape_expr
    if not 1 <= inp0.ndim <= 4:
        raise UsageError(f"circ_pad of a tensor of {inp0.ndim} dimensions", hint="reshape it to 1 to 4 dimensions")
    numbers = [int(p) for p in np.ravel(pads)]
    _check(numbers, [s.constant_value() if not s.is_fake and s.is_constant else None for s in sizes])
    out = inp0.like()
    for k in range(len(numbers) // 2):
        out.shape_expr[inp0.ndim - 1 - k] += numbers[2 * k] + numbers[2 * k + 1]
    return out


def _bounds(tensor: trtp.TensorDesc) -> List[Tuple[int, int]]:
    shape = tensor.shape
    ends = (shape.min, shape.max) if shape.is_dynamic else (tuple(shape), tuple(shape))
    return list(zip(*ends, strict=True))


@trtp.autotune("aotfactory::circ_pad")
def circ_pad_autotune(
    inp0: trtp.TensorDesc, pads: npt.NDArray[np.int32], outputs: Tuple[trtp.TensorDesc]
) -> List[trtp.AutoTuneCombination]:
    # Only the bounds matter here, and there is nothing to compute expressions with.
    sizes = [Extent(a if a == b else float("nan"), a, b) for a, b in _bounds(inp0)]
    combinations = []
    for name in ("FP32", "FP16", "BF16", "INT8", "INT32"):
        itemsize = {"FP32": 4, "INT32": 4, "INT8": 1}.get(name, 2)
        axes, fused = _axes(sizes, [int(p) for p in pads], itemsize)
        tactics = [n for n, tactic in TACTICS.items() if _suits(tactic, axes, fused)]
        combinations.append(trtp.AutoTuneCombination(f"{name}, {name}", "LINEAR", tactics))
    return combinations


@trtp.aot_impl("aotfactory::circ_pad")
def circ_pad_aot(
    inp0: trtp.TensorDesc, pads: npt.NDArray[np.int32], outputs: Tuple[trtp.TensorDesc], tactic: int
) -> AotKernel:
    numbers, ranges = [int(p) for p in pads], _bounds(inp0)
    _check(numbers, [least for least, _ in ranges])
    sizes = [
        Extent(int(s.constant_value()) if s.is_constant else s, *ends)
        for s, ends in zip(inp0.shape_expr, ranges, strict=True)
    ]
    chosen = TACTICS[tactic]
    kernel, arguments, count = _call(sizes, numbers, dtypes.of_trt(inp0.dtype).itemsize, chosen)
    blocks = trtp.cdiv(trtp.ShapeExpr(count), arguments["BLOCK"] * arguments.get("PER_WORD", 1))
    return aot_kernel(
        kernel, x_ptr=inp0, y_ptr=outputs[0], **arguments, num_warps=chosen.warps, grid=trtp.max(blocks, 1)
    )


@trtp.impl("aotfactory::circ_pad")
def circ_pad_jit(
    inp0: trtp.Tensor, pads: npt.NDArray[np.int32], outputs: Tuple[trtp.Tensor], stream: int, tactic: int
) -> None:
    """The same kernels from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    sizes, chosen = [Extent.of(int(n)) for n in inp0.shape], TACTICS[tactic]
    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, y = torch.as_tensor(inp0, device="cuda"), torch.as_tensor(outputs[0], device="cuda")
        kernel, arguments, count = _call(sizes, [int(p) for p in pads], x.element_size(), chosen)
        blocks = triton.cdiv(count, arguments["BLOCK"] * arguments.get("PER_WORD", 1))
        kernel[(max(blocks, 1),)](x, y, **arguments, num_warps=chosen.warps)


def circ_pad_reference(x, pads):
    for k in range(len(pads) // 2):
        axis = x.ndim - 1 - k
        size = x.shape[axis]
        if pads[2 * k] or pads[2 * k + 1]:
            x = np.take(x, np.arange(-pads[2 * k], size + pads[2 * k + 1]) % size, axis)
    return x


RECIPE = Recipe(
    name="circ_pad",
    plugin="aotfactory::circ_pad",
    summary="circular padding, pads as in torch.nn.functional.pad",
    inputs=(Input(name="x", shape=(1, 3, 32, 32), dims=("N", "C", "H", "W")),),
    dtypes=("fp32", "fp16", "bf16", "int8", "int32"),
    attributes={"pads": np.array([1, 1, 1, 1], np.int32)},
    reference=circ_pad_reference,
    odd_shapes=(((1, 1, 1, 1),), ((1, 1, 7, 13),), ((2, 3, 1, 31),), ((1, 2, 5, 509),), ((3, 1, 61, 3),)),
)
