# SPDX-License-Identifier: Apache-2.0
"""The same work in Triton as a first version of a plugin has it, to say what the library's kernels gain.

As in the circular-padding sample of TensorRT's documentation: sizes are arguments, of which the compiler knows nothing,
an element's place is found by division, a row is one program of Triton's default of four warps, and there are no
tactics. `launcher` knows how each is launched.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import triton
import triton.language as tl

SIZES = ["count", "rows", "cols", "n", "c", "h", "w", "out_h", "out_w", "heads", "positions", "groups"]
BLOCK = 256


def _naive(function: Any) -> Any:
    """Compiled once for all sizes, as ahead of time: Triton would look at their divisibility otherwise."""
    return triton.jit(function, do_not_specialize=[n for n in SIZES if n in function.__code__.co_varnames])


@_naive
def _rms_norm(x_ptr, residual_ptr, w_ptr, y_ptr, cols, eps, ADD: tl.constexpr, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * cols
    col = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + start + col, mask=col < cols, other=0).to(tl.float32)
    if ADD:
        x += tl.load(residual_ptr + start + col, mask=col < cols, other=0).to(tl.float32)
        tl.store(residual_ptr + start + col, x.to(residual_ptr.dtype.element_ty), mask=col < cols)
    w = tl.load(w_ptr + col, mask=col < cols, other=0).to(tl.float32)
    y = x * tl.rsqrt(tl.sum(x * x, 0) / cols + eps) * w
    tl.store(y_ptr + start + col, y.to(y_ptr.dtype.element_ty), mask=col < cols)


@_naive
def _layer_norm(x_ptr, w_ptr, b_ptr, y_ptr, cols, eps, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * cols
    col = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + start + col, mask=col < cols, other=0).to(tl.float32)
    x = tl.where(col < cols, x - tl.sum(x, 0) / cols, 0)
    w = tl.load(w_ptr + col, mask=col < cols, other=0).to(tl.float32)
    b = tl.load(b_ptr + col, mask=col < cols, other=0).to(tl.float32)
    y = x * tl.rsqrt(tl.sum(x * x, 0) / cols + eps) * w + b
    tl.store(y_ptr + start + col, y.to(y_ptr.dtype.element_ty), mask=col < cols)


@_naive
def _group_norm_silu(x_ptr, w_ptr, b_ptr, y_ptr, count, h, groups, c, eps, BLOCK: tl.constexpr):
    # count elements of a group, c of its channels, h pixels of a channel
    group = tl.program_id(0)
    start = group.to(tl.int64) * count
    total = tl.zeros((BLOCK,), tl.float32)
    squares = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, count, BLOCK):
        i = first + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + start + i, mask=i < count, other=0).to(tl.float32)
        total += x
        squares += x * x
    mean = tl.sum(total, 0) / count
    scale = tl.rsqrt(tl.sum(squares, 0) / count - mean * mean + eps)
    for first in range(0, count, BLOCK):
        i = first + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + start + i, mask=i < count, other=0).to(tl.float32)
        channel = group % groups * c + i // h
        w = tl.load(w_ptr + channel, mask=i < count, other=0).to(tl.float32)
        b = tl.load(b_ptr + channel, mask=i < count, other=0).to(tl.float32)
        y = (x - mean) * scale * w + b
        tl.store(y_ptr + start + i, (y * tl.sigmoid(y)).to(y_ptr.dtype.element_ty), mask=i < count)


@_naive
def _softmax(x_ptr, mask_ptr, y_ptr, cols, rows, MASKED: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    col = tl.arange(0, BLOCK)
    at = row.to(tl.int64) * cols + col
    x = tl.load(x_ptr + at, mask=col < cols, other=float("-inf")).to(tl.float32)
    if MASKED:
        x += tl.load(mask_ptr + (row % rows) * cols + col, mask=col < cols, other=0).to(tl.float32)
    e = tl.exp(x - tl.max(x, 0))
    tl.store(y_ptr + at, (e / tl.sum(e, 0)).to(y_ptr.dtype.element_ty), mask=col < cols)


@_naive
def _silu_and_mul(x_ptr, y_ptr, count, cols, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    at = i // cols * (2 * cols) + i % cols
    gate = tl.load(x_ptr + at, mask=i < count, other=0).to(tl.float32)
    value = tl.load(x_ptr + at + cols, mask=i < count, other=0).to(tl.float32)
    tl.store(y_ptr + i, (gate * tl.sigmoid(gate) * value).to(y_ptr.dtype.element_ty), mask=i < count)


@_naive
def _gelu_tanh_bias(x_ptr, b_ptr, y_ptr, count, cols, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < count, other=0).to(tl.float32)
    x += tl.load(b_ptr + i % cols, mask=i < count, other=0).to(tl.float32)
    y = x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))
    tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=i < count)


@_naive
def _rope(x_ptr, cos_ptr, sin_ptr, y_ptr, count, cols, heads, positions, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row, col = i // cols, i % cols
    angle = row // heads % positions * cols + col
    at = row * (2 * cols) + col
    a = tl.load(x_ptr + at, mask=i < count, other=0).to(tl.float32)
    b = tl.load(x_ptr + at + cols, mask=i < count, other=0).to(tl.float32)
    cos = tl.load(cos_ptr + angle, mask=i < count, other=0).to(tl.float32)
    sin = tl.load(sin_ptr + angle, mask=i < count, other=0).to(tl.float32)
    tl.store(y_ptr + at, (a * cos - b * sin).to(y_ptr.dtype.element_ty), mask=i < count)
    tl.store(y_ptr + at + cols, (b * cos + a * sin).to(y_ptr.dtype.element_ty), mask=i < count)


@_naive
def _per_token_quant(x_ptr, y_ptr, scale_ptr, cols, MOST: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    col = tl.arange(0, BLOCK)
    at = row.to(tl.int64) * cols + col
    x = tl.load(x_ptr + at, mask=col < cols, other=0).to(tl.float32)
    largest = tl.maximum(tl.max(tl.abs(x), 0), 1e-30)
    tl.store(scale_ptr + row, largest / MOST)
    y = x * (MOST / largest)
    if MOST == 127:
        y = tl.floor(y + 0.5)
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=col < cols)


@_naive
def _circ_pad(x_ptr, y_ptr, count, c, h, w, out_h, out_w, LEFT: tl.constexpr, TOP: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column = (i % out_w - LEFT + w) % w
    row = (i // out_w % out_h - TOP + h) % h
    plane = i // (out_w * out_h)
    x = tl.load(x_ptr + (plane * h + row) * w + column, mask=i < count, other=0)
    tl.store(y_ptr + i, x, mask=i < count)


@_naive
def _grid_sample(x_ptr, grid_ptr, y_ptr, count, c, h, w, out_h, out_w, BLOCK: tl.constexpr):
    # zeros around the image, whose outer edges are at -1 and 1
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    points = out_h * out_w
    plane = i // points
    at = grid_ptr + (plane // c * points + i % points) * 2
    px = ((tl.load(at, mask=i < count, other=0).to(tl.float32) + 1) * w - 1) / 2
    py = ((tl.load(at + 1, mask=i < count, other=0).to(tl.float32) + 1) * h - 1) / 2
    left, top = tl.floor(px), tl.floor(py)
    total = tl.zeros((BLOCK,), tl.float32)
    for k in tl.static_range(4):
        column, row = left + k % 2, top + k // 2
        inside = (i < count) & (column >= 0) & (column < w) & (row >= 0) & (row < h)
        source = x_ptr + (plane * h + row.to(tl.int32)) * w + column.to(tl.int32)
        x = tl.load(source, mask=inside, other=0).to(tl.float32)
        total += x * (1 - tl.abs(px - column)) * (1 - tl.abs(py - row))
    tl.store(y_ptr + i, total.to(y_ptr.dtype.element_ty), mask=i < count)


@_naive
def _add(x_ptr, y_ptr, count, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + i, tl.load(x_ptr + i, mask=i < count) + 1, mask=i < count)


def launcher(
    name: str, given: dict[str, Any], attributes: dict[str, Any], like: list[Any]
) -> Callable[[], list[Any]] | None:
    """A call of the naive kernel on these tensors, which gives its outputs; None where there is no such kernel.

    Args:
        given: Inputs by name; one that is changed in place is its output, too.
        like: Tensors of the outputs' shapes and types.
    """
    outputs = [t.new_empty(t.shape) for t in like]
    if name in IN_PLACE:
        output, changed = IN_PLACE[name]
        outputs[output] = given[changed]
    launch = _launch(name, given, attributes, outputs)
    if launch is None:
        return None

    def call() -> list[Any]:
        launch()
        return outputs

    return call


IN_PLACE = {"rms_norm_add": (1, "residual"), "inplace_add": (0, "x")}
"""The output that is an input's own memory, and that input."""


def _launch(
    name: str, given: dict[str, Any], attributes: dict[str, Any], outputs: list[Any]
) -> Callable[[], Any] | None:
    x, y = given["x"], outputs[0]
    cols = x.shape[-1]
    rows = x.numel() // cols
    row = {"BLOCK": triton.next_power_of_2(cols)}
    flat, block = (triton.cdiv(y.numel(), BLOCK),), {"BLOCK": BLOCK}
    half = (triton.cdiv(y.numel() // 2, BLOCK),)
    eps = attributes.get("eps", 0.0)
    match name:
        case "rms_norm":
            return lambda: _rms_norm[(rows,)](x, x, given["weight"], y, cols, eps, ADD=False, **row)
        case "rms_norm_add":
            return lambda: _rms_norm[(rows,)](x, given["residual"], given["weight"], y, cols, eps, ADD=True, **row)
        case "layer_norm":
            return lambda: _layer_norm[(rows,)](x, given["weight"], given["bias"], y, cols, eps, **row)
        case "group_norm_silu":
            groups = attributes["groups"]
            pixels, channels = prod(x.shape[2:]), x.shape[1] // groups
            sizes = channels * pixels, pixels, groups, channels
            return lambda: _group_norm_silu[(x.shape[0] * groups,)](
                x, given["weight"], given["bias"], y, *sizes, eps, BLOCK=1024
            )
        case "softmax":
            return lambda: _softmax[(rows,)](x, x, y, cols, rows, MASKED=False, **row)
        case "masked_softmax":
            mask = given["mask"]
            return lambda: _softmax[(rows,)](x, mask, y, cols, mask.numel() // cols, MASKED=True, **row)
        case "silu_and_mul":
            return lambda: _silu_and_mul[flat](x, y, y.numel(), cols // 2, **block)
        case "gelu_tanh_bias":
            return lambda: _gelu_tanh_bias[flat](x, given["bias"], y, y.numel(), cols, **block)
        case "rope":
            _, positions, heads, size = x.shape
            sizes = x.numel() // 2, size // 2, heads, positions
            return lambda: _rope[half](x, given["cos"], given["sin"], y, *sizes, **block)
        case "per_token_quant_int8" | "per_token_quant_fp8":
            most = 127 if name.endswith("int8") else 448
            return lambda: _per_token_quant[(rows,)](x, y, outputs[1], cols, MOST=most, **row)
        case "circ_pad":
            left, _, top, _ = (int(p) for p in attributes["pads"])
            sizes = y.numel(), *x.shape[1:], *y.shape[2:]
            return lambda: _circ_pad[flat](x, y, *sizes, LEFT=left, TOP=top, **block)
        case "grid_sample":
            sizes = y.numel(), *x.shape[1:], *y.shape[2:]
            return lambda: _grid_sample[flat](x, given["grid"], y, *sizes, **block)
        case "elementwise_add" | "inplace_add":
            return lambda: _add[flat](x, y, y.numel(), **block)
    return None
