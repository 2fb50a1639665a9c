# SPDX-License-Identifier: Apache-2.0
"""TensorRT's dimension expressions: build, evaluate, print, and to JSON and back; `proofs` reasons about them.

The nine operations of `trt.DimensionOperation` as immutable, hashable values that compare by structure. An expression
is built by `operation`, `parse` or `from_json`, which simplify only where no integer assignment can tell. TensorRT
computes in int64; Python's integers do not wrap, so a value outside int64 shows as such instead of overflowing.
"""

from __future__ import annotations

import ast
import enum
import itertools
import keyword
import operator
import re
import reprlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aotfactory.core.errors import ExpressionError
from aotfactory.core.limits import LIMITS

# Of one expression: far above real ones, and safe from Python's recursion limit.
MAX_DEPTH, MAX_SIZE = LIMITS["expression_depth"], LIMITS["expression_size"]
INT64 = range(-(2**63), 2**63)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class Op(enum.Enum):
    """The operations by their JSON names. Divisions round down (floor) and up (ceil); equal and less give 0 or 1."""

    SUM = "sum"
    PROD = "prod"
    MAX = "max"
    MIN = "min"
    SUB = "sub"
    EQUAL = "equal"
    LESS = "less"
    FLOOR_DIV = "floor_div"
    CEIL_DIV = "ceil_div"


APPLY: dict[Op, Callable[[int, int], int]] = {
    Op.SUM: operator.add,
    Op.PROD: operator.mul,
    Op.MAX: max,
    Op.MIN: min,
    Op.SUB: operator.sub,
    Op.EQUAL: lambda a, b: int(a == b),
    Op.LESS: lambda a, b: int(a < b),
    Op.FLOOR_DIV: operator.floordiv,
    Op.CEIL_DIV: lambda a, b: -(-a // b),
}
DIVISIONS = (Op.FLOOR_DIV, Op.CEIL_DIV)
_OPS = {op.value: op for op in Op}
_CALLS = {"cdiv": Op.CEIL_DIV, "max": Op.MAX, "min": Op.MIN}
_INFIX: dict[Op, tuple[str, int, type[ast.AST]]] = {  # text, precedence and syntax node, all as in Python
    Op.EQUAL: (" == ", 0, ast.Eq),
    Op.LESS: (" < ", 0, ast.Lt),
    Op.SUM: ("+", 1, ast.Add),
    Op.SUB: ("-", 1, ast.Sub),
    Op.PROD: ("*", 2, ast.Mult),
    Op.FLOOR_DIV: ("//", 2, ast.FloorDiv),
}


class Expr:
    """A dimension expression: a `Constant`, `Symbol`, `Operation` or `SizeTensor`."""

    @property
    def operands(self) -> tuple[Expr, ...]:
        return ()

    @cached_property
    def symbols(self) -> frozenset[str]:
        """The names of the symbols in the expression."""
        own = frozenset({self.name} if isinstance(self, Symbol) else ())
        return own.union(*[operand.symbols for operand in self.operands])

    @cached_property
    def depth(self) -> int:
        return 1 + max([operand.depth for operand in self.operands], default=0)

    @cached_property
    def size(self) -> int:
        return 1 + sum([operand.size for operand in self.operands])

    @cached_property
    def total(self) -> bool:
        """Whether it has a value for every assignment: no division, other than by constants that are not 0."""
        if isinstance(self, Operation) and self.op in DIVISIONS:
            return self.left.total and isinstance(self.right, Constant) and self.right.value != 0
        return all(operand.total for operand in self.operands)

    def evaluate(self, values: Mapping[str, int]) -> int:
        """The value where each symbol has the given value; DefinitionError if one is missing or a divisor is 0."""
        match self:
            case Constant(value):
                return value
            case Symbol(name) if name in values:
                return values[name]
            case SizeTensor(_, _, upper):
                return upper.evaluate(values)
            case Operation(op, left, right):
                a, b = left.evaluate(values), right.evaluate(values)
                if op in DIVISIONS and b == 0:
                    where = ", ".join(f"{name}={values[name]}" for name in sorted(self.symbols)) or "always"
                    raise ExpressionError(f"division by zero in {self} ({where})")
                return APPLY[op](a, b)
        raise ExpressionError(f"dimension {self} has no value", hint=f"known: {', '.join(values) or 'none'}")

    def to_json(self) -> Any:
        """An int, a symbol's name, `[op, a, b]` or `["size_tensor", index, opt, upper]`."""
        match self:
            case Operation(op, left, right):
                return [op.value, left.to_json(), right.to_json()]
            case SizeTensor(index, opt, upper):
                return ["size_tensor", index, opt.to_json(), upper.to_json()]
            case Constant(leaf) | Symbol(leaf):
                return leaf

    def __str__(self) -> str:
        return self._text(0)

    def _text(self, within: int) -> str:
        """The text, in parentheses if it binds less tightly than the precedence `within`."""
        match self:
            case Operation(op, left, right) if op in _INFIX:
                sign, own, _ = _INFIX[op]
                tail = right._text(own + 1)
                if op is Op.SUM and isinstance(right, Constant) and INT64[0] < right.value < 0:
                    sign, tail = "-", str(-right.value)
                # Python chains comparisons, so one inside another needs parentheses on the left as well
                text = f"{left._text(max(own, 1))}{sign}{tail}"
                return f"({text})" if own < within else text
            case Operation(op, left, right):
                name = next(name for name, called in _CALLS.items() if called is op)
                return f"{name}({left._text(0)}, {right._text(0)})"
            case SizeTensor(index, opt, upper):
                return f"size_tensor({index}, {opt._text(0)}, {upper._text(0)})"
        return str(self.to_json())


@dataclass(frozen=True)
class Constant(Expr):
    """An int64 constant."""

    value: int

    def __post_init__(self) -> None:
        if type(self.value) is not int or self.value not in INT64:
            raise ExpressionError(f"{reprlib.repr(self.value)} is not a 64-bit integer", hint="TensorRT uses int64")


@dataclass(frozen=True)
class Symbol(Expr):
    """A dynamic dimension by its name, an ASCII identifier."""

    name: str

    def __post_init__(self) -> None:
        if type(self.name) is not str or not _NAME.fullmatch(self.name) or keyword.iskeyword(self.name):
            hint = "use an ASCII identifier of at most 64 characters, such as N or height"
            raise ExpressionError(f"{reprlib.repr(self.name)} is not a name for a dimension", hint=hint)


@dataclass(frozen=True)
class Operation(Expr):
    """`left op right`; made by `operation`, never directly, so that it is simplified and limited in size."""

    op: Op
    left: Expr
    right: Expr

    @property
    def operands(self) -> tuple[Expr, ...]:
        return (self.left, self.right)


@dataclass(frozen=True)
class SizeTensor(Expr):
    """An extent that the kernel finds out at run time and writes to the call's output number `index`.

    It lies between 0 and `upper`, and TensorRT tunes for `opt`. `evaluate` gives `upper`, for which buffers are
    allocated; `bounds`, `divisor` and `prove_within` speak of every extent that is possible.
    """

    index: int
    opt: Expr
    upper: Expr

    def __post_init__(self) -> None:
        if type(self.index) is not int or not 0 <= self.index < 2**31:
            raise ExpressionError(f"{reprlib.repr(self.index)} is not an output's index", hint="count from 0")
        if any(isinstance(operand, SizeTensor) for operand in self.operands):
            raise ExpressionError("a size tensor's opt and upper can't be size tensors themselves")

    @property
    def operands(self) -> tuple[Expr, ...]:
        return (self.opt, self.upper)


def operation(op: Op, left: Expr | int, right: Expr | int) -> Expr:
    """`left op right`, simplified; operands stay in the order given.

    Raises:
        DefinitionError: An operand is a size tensor (TensorRT forbids it) or no 64-bit integer, two constants give a
            result outside int64, or the expression is deeper than MAX_DEPTH or larger than MAX_SIZE.
    """
    a = left if isinstance(left, Expr) else Constant(left)
    b = right if isinstance(right, Expr) else Constant(right)
    for operand in (a, b):
        if isinstance(operand, SizeTensor):
            hint = "use it as an output's dimension only, and compute with its upper bound instead"
            raise ExpressionError(f"TensorRT allows no arithmetic on {operand}", hint=hint)
    result = _simplify(op, a, b) or Operation(op, a, b)
    if result.depth > MAX_DEPTH or result.size > MAX_SIZE:
        raise ExpressionError(f"expression deeper than {MAX_DEPTH} or larger than {MAX_SIZE} operations and operands")
    return result


def _simplify(op: Op, a: Expr, b: Expr) -> Expr | None:
    """A simpler expression with the same value, or the same division by zero, for every assignment; or None."""
    match op, a, b:
        case _, Constant(x), Constant(y) if op not in DIVISIONS or y != 0:
            return Constant(APPLY[op](x, y))
        case Op.SUB, _, Constant(value) if -value in INT64:
            return operation(Op.SUM, a, -value)
        case (Op.SUM, x, Constant(0)) | (Op.SUM, Constant(0), x):
            return x
        case (Op.PROD, x, Constant(1)) | (Op.PROD, Constant(1), x) | ((Op.FLOOR_DIV | Op.CEIL_DIV), x, Constant(1)):
            return x
        case (Op.PROD, x, Constant(0)) | (Op.PROD, Constant(0), x) if x.total:
            return Constant(0)
        case ((Op.MAX | Op.MIN), _, _) if a == b:
            return a
        case ((Op.SUB | Op.LESS | Op.EQUAL), _, _) if a.total and a == b:
            return Constant(int(op is Op.EQUAL))
        case ((Op.SUM | Op.PROD | Op.MAX | Op.MIN), x, Constant(value)):
            return _merge(op, x, value)
        case ((Op.SUM | Op.PROD | Op.MAX | Op.MIN), Constant(value), x):
            return _merge(op, x, value)
    return None


def _merge(op: Op, expr: Expr, value: int) -> Expr | None:
    """`expr op value` with the value merged into a constant among expr's operands, in its place; None if it has none.

    Sums, products, max and min commute and associate; a sum's constant may also sit left of a minus.
    """
    if isinstance(expr, Constant):
        result = APPLY[op](expr.value, value)
        return Constant(result) if result in INT64 else None
    if isinstance(expr, Operation) and (expr.op is op or (expr.op is Op.SUB and op is Op.SUM)):
        if (left := _merge(op, expr.left, value)) is not None:
            return operation(expr.op, left, expr.right)
        if expr.op is op and (right := _merge(op, expr.right, value)) is not None:
            return operation(op, expr.left, right)
    return None


def from_json(obj: object) -> Expr:
    """The expression that `to_json` wrote; DefinitionError for anything else, however large or deep."""
    nodes = itertools.count(1)

    def read(item: object, depth: int) -> Expr:
        if depth > MAX_DEPTH + 1 or next(nodes) > 2 * MAX_SIZE + 2:  # a size tensor holds two expressions
            raise ExpressionError(f"expression deeper than {MAX_DEPTH} or larger than {MAX_SIZE}")
        match item:
            case str():
                return Symbol(item)
            case int():
                return Constant(item)
            case ["size_tensor", int(index), opt, upper]:
                return SizeTensor(index, read(opt, depth + 1), read(upper, depth + 1))
            case [str(name), left, right] if name in _OPS:
                return operation(_OPS[name], read(left, depth + 1), read(right, depth + 1))
        hint = f"write an integer, a symbol, [op, a, b] (op: {' '.join(_OPS)}) or [size_tensor, index, opt, upper]"
        raise ExpressionError(f"{reprlib.repr(item)} is not an expression", hint=hint)

    return read(obj, 1)


def parse(text: str) -> Expr:
    """The expression with this text, as `str` gives it; DefinitionError if it is not one.

    Python's own parser reads it, which takes about 90 parentheses inside each other; JSON has no such limit.
    """
    infix = {node: op for op, (_, _, node) in _INFIX.items()}

    def read(node: ast.AST) -> Expr:
        match node:
            case ast.Constant(int(value)):
                return Constant(value)
            case ast.UnaryOp(ast.USub(), ast.Constant(int(value))):
                return Constant(-value)
            case ast.Name(name):
                return Symbol(name)
            case ast.BinOp(left, sign, right) | ast.Compare(left, [sign], [right]) if type(sign) in infix:
                return operation(infix[type(sign)], read(left), read(right))
            case ast.Call(ast.Name(name), [left, right], []) if name in _CALLS:
                return operation(_CALLS[name], read(left), read(right))
            case ast.Call(ast.Name("size_tensor"), [ast.Constant(int(index)), opt, upper], []):
                return SizeTensor(index, read(opt), read(upper))
        raise ValueError(f"column {getattr(node, 'col_offset', 0)}")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what looks odd in Python: it is data here
            return read(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        hint = "write integers, symbols, + - * // == <, cdiv(a, b), max(a, b), min(a, b)"
        raise ExpressionError(
            f"{reprlib.repr(text)} is not an expression: {error or 'nested too deep'}", hint=hint
        ) from error
