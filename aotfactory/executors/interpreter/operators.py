# SPDX-License-Identifier: Apache-2.0
"""Python that Triton's compiler reads in a way of its own, and its interpreter as Python does.

`and`, `or` and `not` of tensors go element by element, and all operands are evaluated: Python would ask the first one
for its truth and return one of the two, a mask that lets too much through. A type that a helper is given has a `value`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

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


NAMES = {f"_aotfactory_{f.__name__}": f for f in (all_of, any_of, negated)}
"""What the rewritten functions call them; the interpreter gives their globals all that its own module has."""


class _Transformer(interpreter.ASTTransformer):  # type: ignore[misc]
    def visit_Assign(self, node: ast.Assign) -> Any:
        node.value = self.visit(node.value)  # Triton 3.5 looks at the targets alone
        return super().visit_Assign(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        function = all_of if isinstance(node.op, ast.And) else any_of
        return _call(function, [ast.Lambda(args=nothing, body=value) for value in node.values], node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        return _call(negated, [node.operand], node) if isinstance(node.op, ast.Not) else node


def _call(function: Callable[..., Any], arguments: list[ast.expr], node: ast.expr) -> ast.expr:
    name = ast.Name(id=f"_aotfactory_{function.__name__}", ctx=ast.Load())
    return ast.copy_location(ast.Call(func=name, args=arguments, keywords=[]), node)


def install() -> None:
    """Rewrite the kernels of this process so."""
    vars(interpreter).update(NAMES)
    interpreter.FunctionRewriter.ast_transformer = _Transformer()
    if not hasattr(tl.dtype, "value"):
        tl.dtype.value = property(lambda self: self)
