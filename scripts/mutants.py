# SPDX-License-Identifier: Apache-2.0
"""Small mistakes in a module, one at a time: what `mutation_score.py` puts before the tests."""

from __future__ import annotations

import ast
import copy
import gc
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Mutant:
    """A module with one mistake.

    Attributes:
        lines: Of the statement that has it, or of the head of a compound one; empty outside functions.
    """

    line: int
    change: str
    lines: range
    original: ast.Module
    place: ast.AST
    edit: Callable[[Any], object]

    @property
    def tree(self) -> ast.Module:
        """The whole module; made anew each time, as that of every mutant takes long."""
        memo: dict[int, Any] = {}
        mutant = copy.deepcopy(self.original, memo)
        self.edit(memo[id(self.place)])
        return ast.fix_missing_locations(mutant)


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module."""
    tree = ast.parse(source)
    left_alone, lines = _left_alone(tree), dict(_statement_lines(tree))
    found = []
    for place in ast.walk(tree):
        if id(place) in left_alone:
            continue
        for change, edit in _edits(place):
            where = {"line": getattr(place, "lineno", 0), "lines": lines.get(id(place), range(0))}
            found.append(Mutant(**where, change=change, original=tree, place=place, edit=edit))
    return found


def put_in_place(mutant: Mutant, path: str) -> bool:
    """Give the functions of the loaded module the mutant's code; False where it does not differ in functions alone."""
    before, after = (_functions(compile(tree, path, "exec")) for tree in (mutant.original, mutant.tree))
    changed = {_place(old): new for old, new in zip(before, after, strict=True) if old != new}
    loaded = [found for found in gc.get_objects() if type(found) is FunctionType and found.__code__.co_filename == path]
    loaded = [function for function in loaded if _place(function.__code__) in changed]
    try:
        for function in loaded:
            function.__code__ = changed[_place(function.__code__)]
    except ValueError:  # another number of variables from outside
        return False
    return bool(loaded)


def _place(code: CodeType) -> object:
    """The code of a function that has run is not equal to what it was: the interpreter has changed it."""
    return code.co_name, code.co_firstlineno, code.co_linetable


def _functions(code: CodeType) -> list[CodeType]:
    """The outermost functions, those of classes included."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    if code.co_flags & inspect.CO_OPTIMIZED:
        return [code]
    return [function for each in inner for function in _functions(each)]


def _statement_lines(tree: ast.Module) -> Iterator[tuple[int, range]]:
    """(id of a node in a function's body, lines of its statement); inner statements come later."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for statement in (inner for body in function.body for inner in ast.walk(body)):
            if isinstance(statement, (ast.stmt, ast.match_case)):
                first = statement.lineno if isinstance(statement, ast.stmt) else statement.pattern.lineno
                body = getattr(statement, "body", None) or getattr(statement, "cases", None)
                last = getattr(statement, "end_lineno", first)
                if body:
                    inside = body[0]
                    begins = inside.pattern.lineno if isinstance(inside, ast.match_case) else inside.lineno
                    last = max(first, begins - 1)
                for node in ast.walk(statement):
                    yield id(node), range(first, last + 1)


def _left_alone(tree: ast.Module) -> set[int]:
    """Nodes whose change no test should see: annotations, docstrings, decorators, texts of messages."""
    left: set[int] = set()
    for node in ast.walk(tree):
        apart: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            apart += [node.returns, *node.decorator_list]
            apart += [argument.annotation for argument in node.args.args + node.args.kwonlyargs]
        elif isinstance(node, ast.ClassDef):
            apart += node.decorator_list
        elif isinstance(node, ast.AnnAssign):
            apart += [node.annotation]
        elif isinstance(node, ast.Raise):
            apart += [inner for inner in ast.walk(node) if isinstance(inner, ast.Constant)]
        elif isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            apart += [node]
        for part in filter(None, apart):
            left |= {id(inner) for inner in ast.walk(part)}
    return left


def _edits(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], object]]]:
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                if other := COMPARISONS.get(type(op)):
                    yield f"{type(op).__name__} -> {other.__name__}", _setter("ops", other(), index)
        case ast.BinOp(op=op, left=left) | ast.AugAssign(op=op, target=left) if type(op) in OPERATORS:
            if not isinstance(left, ast.JoinedStr):
                other = OPERATORS[type(op)]
                yield f"{type(op).__name__} -> {other.__name__}", _setter("op", other())
        case ast.BoolOp(op=op):
            swapped = ast.Or if isinstance(op, ast.And) else ast.And
            yield f"{type(op).__name__} -> {swapped.__name__}", _setter("op", swapped())
        case ast.UnaryOp(op=ast.Not()):
            yield "not left out", lambda n: setattr(n, "op", ast.UAdd()) or setattr(n, "operand", _truth(n.operand))
        case ast.Constant(value=bool(value)):
            yield f"{value} -> {not value}", _setter("value", not value)
        case ast.Constant(value=int(value)):
            yield f"{value} -> {value + 1}", _setter("value", value + 1)
            yield f"{value} -> {value - 1}", _setter("value", value - 1)
        case ast.Constant(value=str(value)) if value.isidentifier():
            yield f"{value} -> {value}_", _setter("value", f"{value}_")
        case ast.If() | ast.While() | ast.IfExp():
            yield "condition turned around", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
        case ast.For():
            yield "no turn of the loop", _setter("iter", ast.Tuple([], ast.Load()))
        case ast.ExceptHandler(type=kind) if kind is not None:
            yield "exception not caught", _setter("type", ast.Tuple([], ast.Load()))
        case ast.Raise():
            yield "raise left out", lambda n: _replace(n)
        case ast.Expr(value=ast.Call()):
            yield "call left out", _setter("value", ast.Constant(None))
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield "return None", _setter("value", ast.Constant(None))
        case ast.Continue():
            yield "continue -> break", _setter("__class__", ast.Break)
        case ast.Break():
            yield "break -> continue", _setter("__class__", ast.Continue)


def _setter(name: str, value: object, index: int | None = None) -> Callable[[Any], object]:
    if index is None:
        return lambda node: setattr(node, name, value)
    return lambda node: getattr(node, name).__setitem__(index, value)


def _truth(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("bool", ast.Load()), [node], [])


def _replace(node: ast.Raise) -> None:
    node.__class__ = ast.Expr  # type: ignore[assignment]
    node.value = ast.Constant(None)  # type: ignore[attr-defined]
    node._fields = ("value",)
