# SPDX-License-Identifier: Apache-2.0
"""Where a program of a kernel over the last dimension finds its elements: the jit functions that those kernels share.

A program takes ROWS lines at a time. A line is a row, or (CLUSTER) one of ROWS equal parts of a row, each for one block
of a cluster: then what is reduced over the lines goes through distributed shared memory. Where there is one line, what
belongs to a line is a scalar, else a tensor of ROWS; `column` makes either fit a tile.

A line of any length, wherever it begins (ODD), is read by vectors all the same: its body is what lies between the first
and the last 16-byte boundary in it, its ends are the fewer than VECTOR elements before and after. No access is outside
the line. Where lines are known to begin at such boundaries and to end there, there are no ends.
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
def ends(count, head, inner, ROWS: tl.constexpr, VECTOR: tl.constexpr):
    """Places in each line of VECTOR elements at its beginning and VECTOR at its end; and which are not in its body."""
    side = lanes(ROWS, 2 * VECTOR)
    place = tl.where(side < VECTOR, side, column(count, ROWS) - 2 * VECTOR + side)
    before = (side < VECTOR) & (place < column(head, ROWS))
    after = (side >= VECTOR) & (place >= column(head + inner, ROWS)) & (place >= 0)
    return place, before | after


@triton.jit
def again(x, never):
    """x once more, where `never` is False, which the compiler cannot know: so it keeps x in x's own type for it."""
    return x + never.to(x.dtype)
