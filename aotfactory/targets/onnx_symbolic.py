# SPDX-License-Identifier: Apache-2.0
"""Dimensions that ONNX's inference leaves open where they are dynamic, from the operators' definitions.

ONNX computes with numbers only; these are the operators between plugins whose outputs follow from their inputs by sums
and products (ONNX operator specification: Reshape, Flatten, Concat, Conv, the pools).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx

from aotfactory.core.expressions import Constant, Expr, Op, operation
from aotfactory.core.network import Range

Shape = list[Expr | None]
Find = Callable[[str], tuple[int, Shape | None]]


def complete(
    node: onnx.NodeProto, known: Shape | None, find: Find, ranges: Mapping[str, Range], opset: int
) -> Shape | None:
    """The shape of a node's first output with what is known of it filled up; as it was where nothing follows."""
    if node.domain not in ("", "ai.onnx") or not node.input:
        return known
    source = find(node.input[0])[1]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Reshape" and source is not None and known is not None and known.count(None) == 1:
        rest = _quotient(source, [d for d in known if d is not None], ranges)
        return known if rest is None else [rest if d is None else d for d in known]
    if node.op_type == "Flatten" and source is not None and None not in source:
        axis = attributes.get("axis", 1) % (len(source) + 1) if source else 0
        return [_product(source[:axis]), _product(source[axis:])]
    if node.op_type == "Concat":
        return _concat([find(name)[1] for name in node.input], attributes.get("axis", 0), known)
    if node.op_type in ("Conv", "MaxPool", "AveragePool") and source is not None and known is not None:
        weight = find(node.input[1])[1] if node.op_type == "Conv" else None
        return _window(source, known, weight, attributes)
    return known


def _quotient(whole: Shape, parts: list[Expr], ranges: Mapping[str, Range]) -> Expr | None:
    """The elements divided by those of the parts; a Reshape keeps their number, so the division is exact."""
    if any(d is None for d in whole):
        return None
    above = [d for d in whole if d is not None]
    below = list(parts)
    for part in parts:
        never_zero = all(ranges[name].min > 0 for name in part.symbols)
        if not isinstance(part, Constant) and part in above and never_zero:
            above.remove(part)
            below.remove(part)
    numbers = 1
    for d in above:
        numbers *= d.value if isinstance(d, Constant) else 1
    divisor = 1
    for d in below:
        divisor *= d.value if isinstance(d, Constant) else 1
    symbols_above = [d for d in above if not isinstance(d, Constant)]
    symbols_below = [d for d in below if not isinstance(d, Constant)]
    if divisor == 0 or numbers == 0:
        return None
    if not symbols_below and numbers % divisor == 0:
        return _product([*symbols_above, Constant(numbers // divisor)])
    return operation(Op.FLOOR_DIV, _product([*symbols_above, Constant(numbers)]), _product(below))


def _product(factors: Sequence[Expr | None]) -> Expr:
    result: Expr = Constant(1)
    for factor in factors:
        assert factor is not None
        result = operation(Op.PROD, result, factor)
    return result


def _concat(inputs: list[Shape | None], axis: int, known: Shape | None) -> Shape | None:
    if known is None or any(s is None or len(s) != len(known) for s in inputs):
        return known
    extents = [s[axis] for s in inputs if s is not None]
    total: Expr = Constant(0)
    for extent in extents:
        if extent is None:
            return known
        total = operation(Op.SUM, total, extent)
    filled = list(known)
    filled[axis] = total
    return filled


def _window(source: Shape, known: Shape, weight: Shape | None, attributes: Mapping[str, Any]) -> Shape:
    """The extents behind a sliding window, where its padding is stated by numbers."""
    axes = len(source) - 2
    kernel = attributes.get("kernel_shape") or [d.value for d in (weight or [])[2:] if isinstance(d, Constant)]
    if (
        attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"")
        or len(kernel) != axes
        or len(known) != len(source)
    ):
        return known
    strides, dilations = attributes.get("strides") or [1] * axes, attributes.get("dilations") or [1] * axes
    pads = attributes.get("pads") or [0] * (2 * axes)
    filled = list(known)
    for i in range(axes):
        extent = source[i + 2]
        if filled[i + 2] is None and extent is not None:
            room = pads[i] + pads[i + axes] - (kernel[i] - 1) * dilations[i] - 1
            if strides[i] == 1:
                filled[i + 2] = operation(Op.SUM, extent, room + 1)
            elif not attributes.get("ceil_mode"):  # with it, whether the last window counts depends on its beginning
                steps = operation(Op.FLOOR_DIV, operation(Op.SUM, extent, room), strides[i])
                filled[i + 2] = operation(Op.SUM, steps, 1)
    return filled
