# SPDX-License-Identifier: Apache-2.0
"""Where a program of a kernel over the last dimension finds its elements: the jit functions that those kernels share.

A program takes ROWS lines at a time. A line is a row, or (CLUSTER) one of ROWS equal parts of a row, each for one block
of a cluster: then what is reduced over the lines goes through distributed shared memory. Where there is one line, what
belongs to a line is a scalar, else a tensor of ROWS; `column` makes either fit a tile.

A line of any length, wherever it begins (ODD), is read by vectors all the same: its body is what lies between the first
and the last 16-byte boundary in it, its ends are the fewer than VECTOR elements before and after. No access is outside
the line. Where lines are known to begin at such boundaries and to end there, there are no ends.

What belongs to columns (weights) begins at no boundary where a body's vector does: `from_anywhere` reads it by words of
8 bytes, each vector from three of them, and shifts. A tensor's last word may not be all there: the body ends before it.
"""

import triton
import triton.language as tl


@triton.jit
def column(of_line, ROWS: tl.constexpr):
    """What belongs to a line, beside a tile's elements."""
    if ROWS > 1:
        of_line = of_line[:, None]
    return of_line


@triton.jit
def lanes(ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """0 to BLOCK - 1, along a tile's lines."""
    lane = tl.arange(0, BLOCK)
    if ROWS > 1:
        lane = lane[None, :]
    return lane


@triton.jit
def part_size(cols, PARTS: tl.constexpr, VECTOR: tl.constexpr):
    """Elements of each of PARTS equal parts, but the last, of so many: a multiple of VECTOR."""
    return (cols + (PARTS * VECTOR - 1)) // (PARTS * VECTOR) * VECTOR


@triton.jit
def lines(program, rows, cols, ROWS: tl.constexpr, CLUSTER: tl.constexpr, VECTOR: tl.constexpr):
    """Of each line: its row, where in the tensor it starts (int64), its first column, and how many it has."""
    if CLUSTER:
        size = part_size(cols, ROWS, VECTOR)
        first = tl.arange(0, ROWS) * size
        row = first * 0 + program
        count = tl.maximum(tl.minimum(cols - first, size), 0)
    else:
        row = program
        if ROWS > 1:
            row = program * ROWS + tl.arange(0, ROWS)
        first = row * 0
        count = tl.where(row < rows, cols, 0)
    # The product is of the row alone, so that the compiler sees what divides either.
    return row, row.to(tl.int64) * cols + first, first, count


@triton.jit
def body(start, count, VECTOR: tl.constexpr, ODD: tl.constexpr):
    """Elements before each line's first boundary, where in the tensor that is, and how many follow, by vectors."""
    head = count * 0
    begin = start
    # Written so, the compiler sees that masks are of whole vectors.
    inner = count // VECTOR * VECTOR
    if ODD:
        begin = (start + (VECTOR - 1)) // VECTOR * VECTOR
        head = tl.minimum((begin - start).to(tl.int32), count)
        inner = (count - head) // VECTOR * VECTOR
    return head, begin, inner


@triton.jit
def body_of_words(first, head, inner, cols, VECTOR: tl.constexpr):
    """How many elements of each body have their columns in whole words of 8 bytes, of as many columns."""
    whole = cols // (VECTOR // 2) * (VECTOR // 2)
    return tl.minimum(inner, tl.maximum(whole - first - head, 0) // VECTOR * VECTOR)


@triton.jit
def from_anywhere(ptr, begin, cols, ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr):
    """BLOCK elements of each line from `begin` on, of `cols` there are, of which whole words of 8 bytes are read.

    What is beyond them, or beyond LIMIT, is not read and means nothing.
    """
    BITS: tl.constexpr = ptr.dtype.element_ty.primitive_bitwidth
    PER_WORD: tl.constexpr = 64 // BITS
    tl.static_assert(BITS == 16)
    words = ptr.to(tl.pointer_type(tl.uint64), bitcast=True)
    lane = 2 * lanes(ROWS, BLOCK // (2 * PER_WORD))
    at = column(begin // PER_WORD, ROWS) + lane
    held = lane < LIMIT // PER_WORD
    last = cols // PER_WORD
    first = tl.load(words + at, mask=held & (at < last), other=0)
    second = tl.load(words + (at + 1), mask=held & (at + 1 < last), other=0)
    third = tl.load(words + (at + 2), mask=held & (at + 2 < last), other=0)
    shift = column(begin % PER_WORD * BITS, ROWS)
    right, left = shift.to(tl.uint64), (63 - shift).to(tl.uint64)
    pair = tl.join((first >> right) | ((second << left) << 1), (second >> right) | ((third << left) << 1))
    halves = tl.join(pair.to(tl.uint32), (pair >> 32).to(tl.uint32))
    quarters = tl.join(halves.to(tl.uint16), (halves >> 16).to(tl.uint16))
    elements = quarters.reshape(ROWS, BLOCK) if ROWS > 1 else quarters.reshape(BLOCK)
    return elements.to(ptr.dtype.element_ty, bitcast=True)


@triton.jit
def weights(
    ptr, at, inside, begin, cols, ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, WORDS: tl.constexpr
):
    """A tile's weights: of columns `at`, or (WORDS) from each line's column `begin` on."""
    return from_anywhere(ptr, begin, cols, ROWS, BLOCK, LIMIT) if WORDS else tl.load(ptr + at, mask=inside, other=0)


@triton.jit
def ends(count, head, inner, ROWS: tl.constexpr, VECTOR: tl.constexpr, SIDES: tl.constexpr = 2):
    """Places of VECTOR elements at each line's beginning, and (SIDES - 1) * VECTOR at its end; which are in no body."""
    side = lanes(ROWS, SIDES * VECTOR)
    place = tl.where(side < VECTOR, side, column(count, ROWS) - SIDES * VECTOR + side)
    before = (side < VECTOR) & (place < column(head, ROWS))
    after = (side >= VECTOR) & (place >= column(head + inner, ROWS)) & (place >= 0)
    return place, before | after


@triton.jit
def pack(a, b):
    """Two fp32 numbers in one: each operand of a reduction takes a barrier of the cluster, which waits for memory."""
    return (a.to(tl.uint32, bitcast=True).to(tl.uint64) << 32) | b.to(tl.uint32, bitcast=True).to(tl.uint64)


@triton.jit
def unpack(both):
    first = (both >> 32).to(tl.uint32).to(tl.float32, bitcast=True)
    return first, both.to(tl.uint32).to(tl.float32, bitcast=True)


@triton.jit
def of_every_line(a, b, LINES: tl.constexpr):
    """Two fp32 numbers of each line, those of all LINES to each of them: one exchange between a cluster's blocks."""
    line = tl.arange(0, LINES)
    return unpack(tl.sum(tl.where(line[:, None] == line[None, :], pack(a, b)[:, None], 0), 0))


@triton.jit
def again(x, never):
    """x once more, where `never` is False, which the compiler cannot know: so it keeps x in x's own type for it."""
    return x + never.to(x.dtype)
