# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: UP006, UP035  (annotations as TensorRT's documentation writes them)
"""Circular padding of 1-D to 4-D tensors, as torch.nn.functional.pad(mode="circular"), for any dimensions.

How it gets to the speed of a copy. A flat block of the output is written with aligned 16-byte stores; what it reads is
shifted by the padding, so loads are narrow and served by L1. The time then goes into integer arithmetic:

* Dimensions are merged first: an unpadded one joins the one before it, so (N, C, H, W) with pads on W and H is a
  (N*C, H, W) problem, and with pads on H alone (N*C, H*W). Elements are fused into units of up to 8 bytes where extent
  and padding of the last dimension allow.
* One scalar division per program and dimension finds where a block begins. Within the block indices are small, and a
  row number is a compare (rows longer than the block), one multiplication (dynamic extents: the reciprocal arrives as
  an extra argument), or a division by a constant, which is a multiplication too. On sm_90 an element takes 21
  instructions where extents are static, and about 35 where they are not.
* That is too much for int8. `circ_pad_words_kernel` computes indices once for a word of 8 bytes, and puts it together
  from two aligned words of the input. Words that hold padding come out wrong; after a barrier, each is put together
  element by element and written again.
"""

from dataclasses import dataclass
from math import gcd, prod
from typing import Any, List, Tuple

import numpy as np
import numpy.typing as npt
import triton
import triton.language as tl

from aotfactory import AotKernel, Input, Recipe, UnsupportedError, aot_kernel, trtp
from aotfactory.core import dtypes

INT32_MAX = 2**31 - 1
MAX_NARROW = INT32_MAX
"""Elements up to which a tensor is indexed in 32 bits."""

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
    ELEMENT: tl.constexpr, BITS: tl.constexpr, PER_WORD: tl.constexpr, EDGE: tl.constexpr, BORDERS: tl.constexpr,
    PARTIAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # BLOCK words of 8 bytes, of PER_WORD elements of BITS bits; indices are in elements unless they say otherwise.
    size, out, left = (size0, size1, size2, size3), (1, out1, out2, out3), (left0, left1, left2, left3)
    reciprocal, how = (0, reciprocal1, reciprocal2, reciprocal3), (0, HOW1, HOW2, HOW3)
    x_words = x_ptr.to(tl.pointer_type(tl.uint64), bitcast=True)
    y_words = y_ptr.to(tl.pointer_type(tl.uint64), bitcast=True)
    x_ptr = x_ptr.to(tl.pointer_type(ELEMENT), bitcast=True)
    y_ptr = y_ptr.to(tl.pointer_type(ELEMENT), bitcast=True)
    block = tl.program_id(0)
    start = block * (BLOCK * PER_WORD)
    word = tl.arange(0, BLOCK)
    # A word is taken for the inside of the row it begins in, or of the next row where it begins in the right padding:
    # then all that comes out wrong is words that hold padding.
    row = (start + right3) // out3
    step, column = _split(start + right3 - row * out3 + word * PER_WORD, out3, reciprocal3, HOW3)
    found = _input_row(row, step, size, out, left, reciprocal, how, RANK, PAD_OUTER)
    source = found * size3 + (column - right3 - left3)
    shift = (source & (PER_WORD - 1)) * BITS
    at = (source & -PER_WORD) // PER_WORD
    low = tl.load(x_words + at, mask=(at >= 0) & (at < input_words), other=0)
    high = tl.load(x_words + at + 1, mask=(at + 1 >= 0) & (at + 1 < input_words), other=0)
    if input_rest != 0:
        # The input's last word is not all there: read it element by element.
        last = tl.zeros((1,), tl.uint64)
        for k in tl.static_range(PER_WORD - 1):
            at_end = input_words * PER_WORD + k + tl.zeros((1,), tl.int32)
            piece = tl.load(x_ptr + at_end, mask=k < input_rest + tl.zeros((1,), tl.int32), other=0)
            last |= (piece.to(tl.uint64) & ((1 << BITS) - 1)) << (k * BITS)
        low = tl.where(at == input_words, last, low)
        high = tl.where(at + 1 == input_words, last, high)
    # In two steps, as high << (64 - shift) is undefined where shift is 0.
    value = (low >> shift.to(tl.uint64)) | ((high << (63 - shift).to(tl.uint64)) << 1)
    if block < full_blocks:
        tl.store(y_words + block * BLOCK + word, value)
    else:
        tl.store(y_words + block * BLOCK + word, value, mask=word < tail)

    # Now what came out wrong, over what was just stored: the barrier orders the two stores, and no other program
    # writes to this block. (Left out of the first store, these words would leave parts of sectors, which is slower.)
    tl.debug_barrier()
    end = tl.minimum(start + BLOCK * PER_WORD, count)
    _pad_borders(
        x_ptr, y_words, start, end, count, size, out, left, right3, reciprocal, how,
        RANK, PAD_OUTER, BITS, PER_WORD, EDGE, BORDERS,
    )  # fmt: skip
    if PARTIAL:  # noqa: SIM102  (it is a constant; what follows is decided at run time)
        if end == count:
            _last_word(x_ptr, y_ptr, count, size, out, left, reciprocal, how, RANK, PAD_OUTER, PER_WORD)


@triton.jit
def _pad_borders(
    x_ptr, y_words, start, end, count, size, out, left, right3, reciprocal, how, RANK: tl.constexpr,
    PAD_OUTER: tl.constexpr, BITS: tl.constexpr, PER_WORD: tl.constexpr, EDGE: tl.constexpr, BORDERS: tl.constexpr,
):  # fmt: skip
    # The words that hold padding, up to EDGE at each border between rows, of the elements from start to end.
    row = start // out[3]
    borders = (end - 1) // out[3] + 1 - row
    for first in range(0, borders + 1, BORDERS):
        steps = first + tl.arange(0, BORDERS)
        border = (row + steps) * out[3]
        above = _input_row(row, tl.maximum(steps - 1, 0), size, out, left, reciprocal, how, RANK, PAD_OUTER) * size[3]
        below = _input_row(row, steps, size, out, left, reciprocal, how, RANK, PAD_OUTER) * size[3]
        begin = (border - right3) & -PER_WORD
        stop = tl.where(steps <= borders, tl.minimum(border + left[3], end), 0)
        word = begin[:, None] + tl.arange(0, EDGE)[None, :] * PER_WORD
        inside = (word >= start) & (word < stop[:, None])
        value = tl.zeros((BORDERS, EDGE), tl.uint64)
        for k in tl.static_range(PER_WORD):
            # Four runs of the input: the row above, its beginning as padding, the end of the row below, that row.
            i = word + k - border[:, None]
            run = tl.where(i < left[3], (below + (size[3] - left[3]))[:, None], (below - left[3])[:, None])
            run = tl.where(i < 0, (above + right3)[:, None], run)
            run = tl.where(i < -right3, (above + (size[3] + right3))[:, None], run)
            piece = tl.load(x_ptr + run + i, mask=inside & (word + k < count), other=0)
            value |= (piece.to(tl.uint64) & ((1 << BITS) - 1)) << (k * BITS)
        tl.store(y_words + word // PER_WORD, value, mask=inside & (word + PER_WORD <= count))


@triton.jit
def _last_word(
    x_ptr, y_ptr, count, size, out, left, reciprocal, how, RANK: tl.constexpr, PAD_OUTER: tl.constexpr,
    PER_WORD: tl.constexpr,
):  # fmt: skip
    # The output's last word, if it is not whole.
    i = (count & -PER_WORD) + tl.arange(0, PER_WORD)
    row = (count - 1) // out[3]
    found = _input_row(row, i * 0, size, out, left, reciprocal, how, RANK, PAD_OUTER)
    source = found * size[3] + _wrap(i - row * out[3] - left[3], size[3])
    tl.store(y_ptr + i, tl.load(x_ptr + source, mask=i < count), mask=i < count)


@dataclass(frozen=True)
class Tactic:
    """What a program stores, elements or with `words` words of 8 bytes, and its warps."""

    block: int
    warps: int
    words: bool = False


TACTICS = {
    1: Tactic(512, 4),
    2: Tactic(1024, 4),
    3: Tactic(512, 4, words=True),
    4: Tactic(1024, 4, words=True),
}
WORD_BYTES = 8
MAX_EDGE = 4  # words written twice at each border between rows


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
    """Words, as a power of two, that may hold padding at a border between rows."""
    padding = last.before.most + last.after.most
    return triton.next_power_of_2((padding + per_word - 2) // per_word + 1)


def _suits(tactic: Tactic, axes: List[Axis], itemsize: int) -> bool:
    if not tactic.words:
        return True
    last, count, per_word = axes[0], prod(a.padded_size.most for a in axes), WORD_BYTES // itemsize
    return (
        itemsize < 4
        and isinstance(last.before.value, int)
        and _edge(last, per_word) <= MAX_EDGE
        # So that what these words hold on either side of the padding is of one row.
        and last.size.least >= per_word
        and count + (tactic.block + MAX_EDGE) * per_word <= MAX_NARROW
    )


def _call(sizes: List[Extent], pads: List[int], itemsize: int, tactic: Tactic) -> Tuple[Any, dict, Any, int]:
    """The kernel, its arguments other than the two tensors, the elements to write, and those that a program writes."""
    axes, itemsize = _axes(sizes, pads, itemsize)
    if not _suits(tactic, axes, itemsize):
        tactic = Tactic(tactic.block, tactic.warps)
    per_word = WORD_BYTES // itemsize
    unit = per_word if tactic.words else 1
    block = tactic.block * unit
    count, input_count = Extent.of(1), Extent.of(1)
    for axis in axes:
        count, input_count = axis.padded_size * count, axis.size * input_count
    wide = count.most + block > MAX_NARROW
    if max(a.padded_size.most for a in axes) > INT32_MAX - block:
        raise UnsupportedError("a dimension of more than 2^31 elements", hint="split the tensor")
    arguments: dict = {
        "full_blocks": count.value // block,
        "tail": (count.value - count.value // block * block) // unit,
        "RANK": len(axes),
        "PAD_OUTER": axes[-1].padded,
        "BLOCK": tactic.block,
    }
    span = block
    for k, at in enumerate((3, 2, 1, 0)):
        axis = axes[k] if k < len(axes) else Axis(*[Extent.of(0)] * 3)
        # What the kernel does not look at is 0: constants do not become arguments.
        inner = k < len(axes) - 1
        used = axis.size.value if inner or axis.padded else 0
        arguments |= {f"size{at}": used, f"left{at}": axis.before.value}
        if at:
            out = axis.padded_size
            how = _how(out, span) if inner else COMPARE.value
            reciprocal = trtp.ShapeExpr(INT32_MAX) // out.value + 1 if how == MULTIPLY.value else 0
            arguments |= {f"out{at}": out.value if inner else 0, f"HOW{at}": how, f"reciprocal{at}": reciprocal}
            span = span // max(out.least, 1) + 2
    element = getattr(tl, f"int{8 * itemsize}")
    if not tactic.words:
        return circ_pad_kernel, arguments | {"ELEMENT": element, "WIDE": wide}, count.value, block
    edge = _edge(axes[0], per_word)
    known = prod(a.size.value for a in axes if isinstance(a.size.value, int))
    known_count = prod(a.padded_size.value for a in axes if isinstance(a.padded_size.value, int))
    whole_words = input_count.value // per_word
    arguments |= {
        "count": count.value,
        "input_words": whole_words,
        "input_rest": input_count.value - whole_words * per_word if known % per_word else 0,
        "right3": axes[0].after.value,
        "ELEMENT": element,
        "BITS": 8 * itemsize,
        "PER_WORD": per_word,
        "EDGE": edge,
        "BORDERS": 32 * tactic.warps // edge,
        "PARTIAL": known_count % per_word > 0,
    }
    return circ_pad_words_kernel, arguments, count.value, block


PADS_HINT = "give two for each padded dimension, the last dimension first: left, right, top, bottom, ..."


def _check(pads: List[int], sizes: List[Any]) -> None:
    """Raise UsageError for paddings that this plugin does not do; sizes are numbers, None where not known."""
    if len(pads) % 2:
        raise UnsupportedError(f"pads has {len(pads)} items", hint=PADS_HINT)
    if len(pads) > 2 * len(sizes):
        raise UnsupportedError(
            f"pads has {len(pads)} items, for {len(pads) // 2} dimensions, but the tensor has {len(sizes)}",
            hint=PADS_HINT,
        )
    if min(pads, default=0) < 0:
        raise UnsupportedError(
            f"pads holds {min(pads)}", hint="slice the tensor to make it smaller; padding is 0 or more"
        )
    for k, size in enumerate(reversed(sizes[len(sizes) - len(pads) // 2 :])):
        most = max(pads[2 * k : 2 * k + 2])
        if size is not None and most > size:
            raise UnsupportedError(
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
        raise UnsupportedError(
            f"circ_pad of a tensor of {inp0.ndim} dimensions", hint="reshape it to 1 to 4 dimensions"
        )
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
    kernel, arguments, count, block = _call(sizes, numbers, dtypes.of_trt(inp0.dtype).itemsize, chosen)
    grid = trtp.max(trtp.cdiv(trtp.ShapeExpr(count), block), 1)  # CUDA refuses a grid of 0 for an empty tensor
    return aot_kernel(kernel, x_ptr=inp0, y_ptr=outputs[0], **arguments, num_warps=chosen.warps, grid=grid)


@trtp.impl("aotfactory::circ_pad")
def circ_pad_jit(
    inp0: trtp.Tensor, pads: npt.NDArray[np.int32], outputs: Tuple[trtp.Tensor], stream: int, tactic: int
) -> None:
    """The same kernels from Python (not for BF16, which TensorRT's bindings do not expose to torch)."""
    import torch

    sizes, chosen = [Extent.of(int(n)) for n in inp0.shape], TACTICS[tactic]
    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
        x, y = torch.as_tensor(inp0, device="cuda"), torch.as_tensor(outputs[0], device="cuda")
        kernel, arguments, count, block = _call(sizes, [int(p) for p in pads], x.element_size(), chosen)
        kernel[(max(triton.cdiv(count, block), 1),)](x, y, **arguments, num_warps=chosen.warps)


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
    extremes=True,
    shrink=("N", "C"),
    odd_shapes=(((1, 1, 1, 1),), ((1, 1, 7, 13),), ((2, 3, 1, 31),), ((1, 2, 5, 509),), ((3, 1, 61, 3),)),
)
