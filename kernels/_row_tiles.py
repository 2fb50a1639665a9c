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
def from_anywhere(ptr, begin, inner, ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr):
    """BLOCK elements of each line from `begin` on, of which the first `inner` are read, up to LIMIT.

    Those are all in whole words of 8 bytes (see `body_of_words`), and the others mean nothing.
    """
    tl.static_assert(ptr.dtype.element_ty.primitive_bitwidth == 16)
    words = ptr.to(tl.pointer_type(tl.uint64), bitcast=True)
    lane = lanes(ROWS, BLOCK // 8)
    at = column(begin // 4, ROWS) + 2 * lane
    inside = (lane < column(inner // 8, ROWS)) & (lane < LIMIT // 8)
    shift = column(begin % 4, ROWS) + lane * 0
    a = tl.load(words + at, mask=inside, other=0)
    b = tl.load(words + (at + 1), mask=inside, other=0)
    c = tl.load(words + (at + 2), mask=inside & (shift > 0), other=0)
    # By half a word where a vector begins in a later half, then by 16 bits. So an element takes one shift of two
    # registers, and a register one choice.
    late = shift >= 2
    first = tl.where(late, _upper(a), a.to(tl.uint32))
    second = tl.where(late, b.to(tl.uint32), _upper(a))
    third = tl.where(late, _upper(b), b.to(tl.uint32))
    fourth = tl.where(late, c.to(tl.uint32), _upper(b))
    fifth = tl.where(late, _upper(c), c.to(tl.uint32))
    bits = (shift % 2 * 16).to(tl.uint64)
    one, two, three, four = _both(first, second), _both(second, third), _both(third, fourth), _both(fourth, fifth)
    lower = tl.join(tl.join(one >> bits, three >> bits), tl.join(two >> bits, four >> bits))
    bits += 16
    upper = tl.join(tl.join(one >> bits, three >> bits), tl.join(two >> bits, four >> bits))
    halves = tl.join(lower.to(tl.uint16), upper.to(tl.uint16))
    elements = halves.reshape(ROWS, BLOCK) if ROWS > 1 else halves.reshape(BLOCK)
    return elements.to(ptr.dtype.element_ty, bitcast=True)


@triton.jit
def _upper(word):
    return (word >> 32).to(tl.uint32)


@triton.jit
def _both(low, high):
    return low.to(tl.uint64) | (high.to(tl.uint64) << 32)


@triton.jit
def weights(
    ptr, at, inside, begin, inner, ROWS: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr, WORDS: tl.constexpr
):
    """A tile's weights: of columns `at`, or (WORDS) `inner` of each line from its column `begin` on."""
    return from_anywhere(ptr, begin, inner, ROWS, BLOCK, LIMIT) if WORDS else tl.load(ptr + at, mask=inside, other=0)


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
