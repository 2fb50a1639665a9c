# SPDX-License-Identifier: Apache-2.0
"""Which symbols the shapes of inputs fix.

A bundle speaks of the network's symbols (``N``, ``H``); who runs it knows the shapes of the inputs, and a plugin inside
TensorRT is only shown the dimensions of its own. A dimension that is a sum of symbols' multiples and a constant is an
equation: ``H`` follows from ``2*H + 2``, and with ``N`` from ``N + H``. Equations are taken in the order of the tensors
and dimensions, again and again: one with a single unknown symbol gives it its value. The launcher solves the same
(``runtime/bundle/dimensions.cpp``), and the tests compare both.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aotfactory.core.errors import ExpressionError, ShapeError
from aotfactory.core.expressions import APPLY, DIVISIONS, INT64, Constant, Expr, Op, Operation, Symbol, operation
from aotfactory.core.network import Network, Shape

Shapes = Sequence[tuple[Expr, ...]]


@dataclass(frozen=True)
class LinearForm:
    """The sum of the symbols' multiples and a constant. No multiple is 0."""

    multiples: Mapping[str, int]
    constant: int

    def only_unknown(self, known: Container[str]) -> str | None:
        """The symbol that is not known, if it is the only one."""
        unknown = [name for name in self.multiples if name not in known]
        return unknown[0] if len(unknown) == 1 else None


def linear(expr: Expr) -> LinearForm | None:
    """The expression as a linear form; None for what is more than that, or has a number outside int64 in it."""
    match expr:
        case Constant(value):
            return LinearForm({}, value)
        case Symbol(name):
            return LinearForm({name: 1}, 0)
        case Operation(op, left, right):
            a, b = linear(left), linear(right)
            return None if a is None or b is None else _combine(op, a, b)
    return None


def _combine(op: Op, a: LinearForm, b: LinearForm) -> LinearForm | None:
    if op in DIVISIONS and not b.multiples and b.constant == 0:
        return None
    multiples = {}
    if op is Op.PROD and not (a.multiples and b.multiples):
        factor, form = (a, b) if not a.multiples else (b, a)
        multiples = {name: multiple * factor.constant for name, multiple in form.multiples.items()}
    elif op in (Op.SUM, Op.SUB):
        for name in (*a.multiples, *b.multiples):
            multiples[name] = APPLY[op](a.multiples.get(name, 0), b.multiples.get(name, 0))
    elif a.multiples or b.multiples:
        return None
    form = LinearForm({n: m for n, m in multiples.items() if m}, APPLY[op](a.constant, b.constant))
    return form if all(number in INT64 for number in (form.constant, *form.multiples.values())) else None


def unsolved(symbols: Iterable[str], inputs: Shapes) -> list[str]:
    """The symbols that no shapes of the inputs could fix."""
    known: set[str] = set()
    forms = [form for shape in inputs for extent in shape if (form := linear(extent))]
    while found := {name for form in forms if (name := form.only_unknown(known))}:
        known |= found
    return [name for name in symbols if name not in known]


def bind(network: Network, shapes: Mapping[str, Shape]) -> dict[str, int]:
    """The value of every symbol at these shapes of all inputs.

    Raises:
        UsageError: The shapes contradict each other or the network.
    """
    inputs = network.inputs
    values: dict[str, int] = {}
    progress = True
    while progress:
        progress = False
        for tensor in inputs:
            for axis, (dimension, extent) in enumerate(zip(tensor.shape, shapes[tensor.name], strict=True)):
                form = linear(dimension)
                if form and (name := form.only_unknown(values)):
                    values[name] = _solve(form, name, values, extent, f"dimension {axis} of input {tensor.name!r}")
                    progress = True
    for tensor in inputs:
        expected = tuple(dimension.evaluate(values) for dimension in tensor.shape)
        if expected != tuple(shapes[tensor.name]):
            raise ShapeError(f"input {tensor.name!r} must have shape {expected}, not {tuple(shapes[tensor.name])}")
    return values


def _solve(form: LinearForm, name: str, values: Mapping[str, int], extent: int, where: str) -> int:
    rest = extent - form.constant - sum(m * values[n] for n, m in form.multiples.items() if n != name)
    value, fraction = divmod(rest, form.multiples[name])
    if fraction:
        raise ShapeError(f"{where} can't be {extent}: that leaves a fraction of {name}")
    if value < 0:
        raise ShapeError(f"{where} can't be {extent}: {name} would be {value}")
    return value


def dimension(index: int, axis: int) -> str:
    """Name of the symbol that stands for a dimension of an input."""
    return f"input{index}_{axis}"


def over_inputs(expr: Expr, inputs: Shapes) -> Expr:
    """The expression with every symbol of the network replaced by dimensions of the inputs (`dimension`).

    Exact: every value stays the same.

    Raises:
        DefinitionError: A symbol cannot be found out from the inputs' shapes.
    """
    whole: dict[Expr, Expr] = {}
    forms: list[tuple[LinearForm, Expr]] = []
    for index, shape in enumerate(inputs):
        for axis, extent in enumerate(shape):
            if not isinstance(extent, Constant):
                place: Expr = Symbol(dimension(index, axis))
                whole.setdefault(extent, place)
                if form := linear(extent):
                    forms.append((form, place))
    symbols: dict[str, Expr] = {}
    progress = True
    while progress:
        progress = False
        for form, place in forms:
            if name := form.only_unknown(symbols):
                symbols[name] = _solution(form, name, symbols, place)
                progress = True
    return _rebuild(expr, whole, symbols)


def _solution(form: LinearForm, name: str, symbols: Mapping[str, Expr], place: Expr) -> Expr:
    """The symbol's value where `form` equals `place`."""
    rest: Expr = Constant(form.constant)
    for other, multiple in form.multiples.items():
        if other != name:
            rest = operation(Op.SUM, operation(Op.PROD, symbols[other], multiple), rest)
    divisor = form.multiples[name]
    difference = operation(Op.SUB, place, rest) if divisor > 0 else operation(Op.SUB, rest, place)
    return operation(Op.FLOOR_DIV, difference, abs(divisor))


def _rebuild(expr: Expr, whole: dict[Expr, Expr], symbols: dict[str, Expr]) -> Expr:
    if expr in whole:
        return whole[expr]
    match expr:
        case Operation(op, left, right):
            return operation(op, _rebuild(left, whole, symbols), _rebuild(right, whole, symbols))
        case Symbol(name):
            if name not in symbols:
                raise ExpressionError(
                    f"dimension {name} cannot be found out from the shapes of the call's inputs",
                    hint="give the plugin an input that has this dimension by itself",
                )
            return symbols[name]
    return expr
