# SPDX-License-Identifier: Apache-2.0
"""A bundle's expressions over the dimensions of a call's own inputs.

A bundle speaks of the network's symbols (``N``, ``H``); a plugin inside TensorRT is only shown the dimensions of its
inputs. Where an input has the extent ``H+2``, ``H`` is that dimension minus 2. Exact: every value stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aotfactory.core.errors import DefinitionError
from aotfactory.core.expressions import Constant, Expr, Op, Operation, Symbol, operation
from aotfactory.core.network import Network, Shape

Shapes = Sequence[tuple[Expr, ...]]


def dimension(index: int, axis: int) -> str:
    """Name of the symbol that stands for a dimension of an input."""
    return f"input{index}_{axis}"


def over_inputs(expr: Expr, inputs: Shapes) -> Expr:
    """The expression with every symbol of the network replaced by dimensions of the inputs (`dimension`).

    Raises:
        DefinitionError: A symbol cannot be found out from the inputs' shapes.
    """
    whole: dict[Expr, Expr] = {}
    symbols: dict[str, Expr] = {}
    for index, shape in enumerate(inputs):
        for axis, extent in enumerate(shape):
            if not isinstance(extent, Constant):
                place = Symbol(dimension(index, axis))
                whole.setdefault(extent, place)
                solved = _solve(extent, place)
                if solved is not None:
                    symbols.setdefault(*solved)
    return _rebuild(expr, whole, symbols)


def _rebuild(expr: Expr, whole: dict[Expr, Expr], symbols: dict[str, Expr]) -> Expr:
    if expr in whole:
        return whole[expr]
    match expr:
        case Operation(op, left, right):
            return operation(op, _rebuild(left, whole, symbols), _rebuild(right, whole, symbols))
        case Symbol(name):
            if name not in symbols:
                raise DefinitionError(
                    f"dimension {name} cannot be found out from the shapes of the call's inputs",
                    hint="give the plugin an input that has this dimension by itself",
                )
            return symbols[name]
    return expr


def _solve(extent: Expr, value: Expr) -> tuple[str, Expr] | None:
    """The symbol, and what it is when `extent` equals `value`; None where it takes more than sums and multiples."""
    match extent:
        case Symbol(name):
            return name, value
        case Operation(Op.SUM, inner, Constant() as known) | Operation(Op.SUM, Constant() as known, inner):
            return _solve(inner, operation(Op.SUB, value, known))
        case Operation(Op.SUB, Constant() as known, inner):
            return _solve(inner, operation(Op.SUB, known, value))
        case Operation(Op.PROD, inner, Constant(factor)) | Operation(Op.PROD, Constant(factor), inner) if factor:
            return _solve(inner, operation(Op.FLOOR_DIV, value, factor))
    return None


def bind(network: Network, shapes: Mapping[str, Shape]) -> dict[str, int]:
    """The value of every symbol at these input shapes."""
    values: dict[str, int] = {}
    for tensor in network.tensors:
        if tensor.role == "input":
            for dimension, extent in zip(tensor.shape, shapes[tensor.name], strict=True):
                if isinstance(dimension, Symbol):
                    values[dimension.name] = extent
    return values
