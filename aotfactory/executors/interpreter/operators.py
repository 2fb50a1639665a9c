# SPDX-License-Identifier: Apache-2.0
"""Python that Triton's compiler reads in a way of its own, and its interpreter as Python does.

`and`, `or` and `not` of tensors go element by element, and all operands are evaluated: Python would ask the first one
for its truth and return one of the two, a mask that lets too much through. `min` and `max` likewise. What a loop counts
with is a tensor, and overflows as one. An `assert` is for all elements. A type that a helper is given has a `value`.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

Operand = Callable[[], Any]


def all_of(*operands: Operand) -> Any:
    """``a and b``: a constant that is false decides at once, one that is true has no part in it."""
    return _joined(operands, lambda a, b: a.logical_and(b), decides=False)


def any_of(*operands: Operand) -> Any:
    """``a or b``, likewise."""
    return _joined(operands, lambda a, b: a.logical_or(b), decides=True)


def negated(operand: Any) -> Any:
    return operand.__not__() if isinstance(operand, tl.tensor) else not operand


def _joined(operands: tuple[Operand, ...], join: Callable[[Any, Any], Any], decides: bool) -> Any:
    joined = value = None
    for operand in operands:
        value = operand()
        if isinstance(value, tl.tensor):
            joined = value if joined is None else join(joined, value)
        elif bool(value) is decides:
            return value
    return value if joined is None else joined


def extreme_of(function: Callable[..., Any], *operands: Any) -> Any:
    """``min(a, b)`` or ``max(a, b)``, unless the kernel's module calls something else so."""
    ours = {builtins.min: tl.minimum, builtins.max: tl.maximum}.get(function)
    if ours is None or not any(isinstance(operand, tl.tensor) for operand in operands):
        return function(*operands)
    return reduce(ours, operands)


def counted(function: Callable[..., Any], *bounds: Any, **options: Any) -> Iterator[Any]:
    """``range(...)``, as scalars of int32, or int64 where a bound is."""
    numbers = function(*bounds, **options)
    if not isinstance(numbers, range):
        return iter(numbers)
    wide = any(isinstance(b, tl.tensor) and b.dtype.primitive_bitwidth == 64 for b in bounds)
    kind, element = (tl.int64, np.int64) if wide or _wide(numbers) else (tl.int32, np.int32)
    return (tl.tensor(interpreter.TensorHandle(np.array([n], element), kind), kind) for n in numbers)


def _wide(numbers: range) -> bool:
    return any(not -(2**31) <= n < 2**31 for n in (numbers.start, numbers.stop))


def asserted(condition: Any, message: Operand) -> None:
    """``assert condition, message``."""
    holds = condition.handle.data.all() if isinstance(condition, tl.tensor) else condition
    if not holds:
        raise AssertionError(message())


NAMES = {f"_aotfactory_{f.__name__}": f for f in (all_of, any_of, negated, extreme_of, counted, asserted)}
"""Their names in the rewritten functions; the interpreter gives their globals all that its own module has."""


class _Transformer(interpreter.ASTTransformer):  # type: ignore[misc]
    def visit_Assign(self, node: ast.Assign) -> Any:
        node.value = self.visit(node.value)  # Triton 3.5 looks at the targets alone
        return super().visit_Assign(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        function = all_of if isinstance(node.op, ast.And) else any_of
        return _call(function, [_later(value) for value in node.values], node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        return _call(negated, [node.operand], node) if isinstance(node.op, ast.Not) else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in ("min", "max") and not node.keywords:
            return _call(extreme_of, [node.func, *node.args], node)
        return node

    def visit_For(self, node: ast.For) -> ast.For:
        self.generic_visit(node)
        made = node.iter
        if isinstance(made, ast.Call) and getattr(made.func, "id", getattr(made.func, "attr", "")) == "range":
            node.iter = _call(counted, [made.func, *made.args], made, made.keywords)
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.Expr:
        self.generic_visit(node)
        message = _later(node.msg or ast.Constant(value="no reason given"))
        return ast.copy_location(ast.Expr(value=_call(asserted, [node.test, message], node)), node)


def _later(value: ast.expr) -> ast.expr:
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.Lambda(args=nothing, body=value)


def _call(
    function: Callable[..., Any], arguments: list[ast.expr], node: ast.AST, keywords: list[ast.keyword] | None = None
) -> ast.expr:
    name = ast.Name(id=f"_aotfactory_{function.__name__}", ctx=ast.Load())
    made = ast.Call(func=name, args=arguments, keywords=keywords or [])
    return ast.fix_missing_locations(ast.copy_location(made, node))


def install() -> None:
    """Rewrite the kernels of this process so."""
    vars(interpreter).update(NAMES)
    interpreter.FunctionRewriter.ast_transformer = _Transformer()
    if not hasattr(tl.dtype, "value"):
        tl.dtype.value = property(lambda self: self)
