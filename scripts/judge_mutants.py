# SPDX-License-Identifier: Apache-2.0
"""Mistakes that kernels are broken with, one at a time: in the syntax tree of a Triton function, or in the launch."""

from __future__ import annotations

import ast
import copy
import inspect
import linecache
import random
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from triton.runtime import interpreter

from aotfactory.core import expressions
from aotfactory.core.expressions import Op, operation

Edit = tuple[str, Any, Any, Any]
"""The kind of mistake, the node in place of the one edited, and two expressions whose values tell if it matters."""

TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
LOST: dict[type[ast.operator], str] = {
    ast.Mod: "a modulo lost",
    ast.FloorDiv: "a division lost",
    ast.Mult: "a factor lost",
    ast.Add: "a term lost",
    ast.BitAnd: "a guard lost",
}
NOTHING = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])


def edits(node: ast.AST, names: Iterable[str] = ()) -> Iterator[Edit]:
    """Every mistake that can be made at one node.

    Args:
        names: What the function calls its variables, for one to be mistaken for another.
    """
    for kind, made in _simple(node, tuple(names)):
        yield kind, made, node, made
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "store":
        for keyword in node.keywords:
            if keyword.arg == "mask":  # a store has no value to compare: its mask does
                made = _with(node, keywords=[k for k in node.keywords if k is not keyword])
                yield "a mask dropped", made, keyword.value, _expression("0 == 0")
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and isinstance(node.target, ast.Name):
        name = ast.Name(id=node.target.id, ctx=ast.Load())
        total = ast.BinOp(left=name, op=node.op, right=node.value)
        yield "what was summed lost", ast.Assign(targets=[node.target], value=node.value), total, node.value


def _simple(node: ast.AST, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield from _of_call(node, node.func)
    if isinstance(node, ast.BinOp):
        if type(node.op) in LOST:
            yield LOST[type(node.op)], node.left
        if isinstance(node.op, ast.BitAnd):
            yield "the other guard lost", node.right
        if isinstance(node.op, ast.Add):
            yield "minus for plus", _with(node, op=ast.Sub())
        if isinstance(node.op, ast.Sub):
            yield "plus for minus", _with(node, op=ast.Add())
        if isinstance(node.right, ast.Constant) and type(node.right.value) in (int, float):
            yield "a constant off by one", _with(node, right=ast.Constant(value=node.right.value + 1))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in TURNED:
        yield "off by one: a bound's own value", _with(node, ops=[TURNED[type(node.ops[0])]()])
        less = ast.BinOp(left=node.comparators[0], op=ast.Sub(), right=ast.Constant(value=1))
        yield "off by one: one too few", _with(node, comparators=[less])
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and "stride" in node.id:
        alike = [n for n in names if "stride" in n and n != node.id]
        if alike:
            yield "another stride", ast.Name(id=alike[len(node.id) % len(alike)], ctx=ast.Load())


def _of_call(node: ast.Call, func: ast.Attribute) -> Iterator[tuple[str, Any]]:
    name, keywords = func.attr, {k.arg: k.value for k in node.keywords}
    language = isinstance(func.value, ast.Name) and func.value.id == "tl"
    if name == "load" and "mask" in keywords:
        yield "a mask dropped", _with(node, keywords=[k for k in node.keywords if k.arg not in ("mask", "other")])
        if "other" in keywords and ast.unparse(keywords["other"]) not in ("0", "0.0"):
            zero = [k if k.arg != "other" else ast.keyword("other", ast.Constant(value=0)) for k in node.keywords]
            yield "zero beyond a mask", _with(node, keywords=zero)
    if name == "to" and len(node.args) == 1:
        if "float32" in ast.unparse(node.args[0]):
            yield "a cast to fp16", _with(node, args=[_expression("tl.float16")])
        if "int64" in ast.unparse(node.args[0]):
            yield "a cast to int64 lost", func.value
    for one, other in (("sum", "max"), ("max", "sum"), ("maximum", "minimum"), ("minimum", "maximum")):
        if language and name == one:
            yield "max, min and sum confused", _with(node, func=_with(func, attr=other))
    if language and name == "where" and len(node.args) == 3:
        yield "branches swapped", _with(node, args=[node.args[0], node.args[2], node.args[1]])
    if name == "program_id" and node.args and isinstance(node.args[0], ast.Constant):
        axis = ast.Constant(value=(node.args[0].value + 1) % 3)  # type: ignore[operator]
        yield "another axis of the grid", _with(node, args=[axis])


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _with(node: Any, **changes: Any) -> Any:
    made = copy.copy(node)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


# ------------------------------------------------------------------ which


@dataclass(frozen=True)
class Mutant:
    """One mistake: in a function (by its module and name; the indices of the node and of the edit), or in the launch.

    Attributes:
        line: In the file; of the launch, the number of the argument.
        text: What is edited.
    """

    recipe: str
    kind: str
    function: str = ""
    line: int = 0
    place: int = -1
    which: int = 0
    text: str = ""

    def __str__(self) -> str:
        where = f"{self.function.rpartition('.')[2]}:{self.line}" if self.function else "launch"
        return f"{self.recipe}: {where}: {self.kind}{f': {self.text}' if self.text else ''}"


UNUSED = "an argument that is not used"


def name_of(fn: Any) -> str:
    return f"{fn.fn.__module__}.{fn.fn.__name__}"


def of_function(recipe: str, fn: Any, lines: set[int]) -> Iterator[Mutant]:
    """Every edit of a function in lines that run."""
    tree, start = _tree(fn)
    names = _names(tree)
    for place, node in enumerate(ast.walk(tree)):
        line = start + getattr(node, "lineno", 0) - 1
        if line in lines:
            for which, (kind, *_) in enumerate(edits(node, names)):
                yield Mutant(recipe, kind, name_of(fn), line, place, which, " ".join(ast.unparse(node).split())[:70])


def of_launch(recipe: str, launch: dict[str, Any], extra: list[Any]) -> Iterator[Mutant]:
    for place, axis in enumerate("xyz"):
        if launch[f"grid_{axis}"] != 1:
            yield Mutant(recipe, f"a program too few in {axis}", place=place)
    for place in range(len(extra)):
        for kind in ("an argument one too small", "an argument one too large"):
            yield Mutant(recipe, kind, line=place, text=f"argument {place}")
        if place:
            yield Mutant(recipe, "two arguments swapped", line=place, text=f"arguments {place - 1} and {place}")


def chosen(found: Iterable[Mutant], count: int) -> list[Mutant]:
    """So many of them, of every kind alike, the same each time."""
    by_kind: dict[str, list[Mutant]] = {}
    for mutant in sorted(found, key=str):
        by_kind.setdefault(mutant.kind, []).append(mutant)
    for mutants in by_kind.values():
        random.Random(str(mutants[0])).shuffle(mutants)
    picked: list[Mutant] = []
    while len(picked) < count and any(by_kind.values()):
        picked += [mutants.pop() for mutants in by_kind.values() if mutants]
    return picked[:count]


def _tree(fn: Any) -> tuple[ast.Module, int]:
    """A function's syntax tree, without decorators, and the line in its file that it begins at."""
    lines, first = inspect.getsourcelines(fn.fn)
    start = next(i for i, line in enumerate(lines) if line.strip().startswith("def "))
    return ast.parse(textwrap.dedent("".join(lines[start:]))), first + start


def _names(tree: ast.Module) -> list[str]:
    return sorted({n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)})


# ------------------------------------------------------------------ making them

SEEN = {"reached": False, "changed": False}
"""Whether the place of the edit was reached, and whether the edit ever made another value."""


def apply(mutant: Mutant, fn: Any) -> None:
    """Break a function in this process, so that it notes what the edit does."""
    tree, _ = _tree(fn)
    nodes = list(ast.walk(tree))
    target: Any = nodes[mutant.place]
    _, made, before, after = list(edits(target, _names(tree)))[mutant.which]
    if made is after:
        made = _call("_both", before, after)
    elif isinstance(made, ast.Assign):
        made.value = _call("_both", before, after)
    else:  # a store: its value is none
        made = ast.Tuple(elts=[_call("_both", before, after), made], ctx=ast.Load())
    for parent in nodes:
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, made)
            elif isinstance(value, list) and any(item is target for item in value):
                value[next(i for i, item in enumerate(value) if item is target)] = made
    text = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
    filename = f"<mutant {mutant}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    fn.fn.__globals__["_both"] = _both
    scope: dict[str, Any] = {}
    exec(compile(text, filename, "exec"), fn.fn.__globals__, scope)
    fn.fn = scope[fn.fn.__name__]
    fn.rewriter = interpreter.FunctionRewriter(fn.fn, **fn.kwargs)
    interpreter.InterpretedFunction.rewritten_fn.clear()


def break_launch(mutant: Mutant, launch: dict[str, Any], extra: list[Any]) -> None:
    """Break a launch, in the form that the interpreter's process gets it."""
    if mutant.kind.startswith("a program too few"):
        axis = f"grid_{'xyz'[mutant.place]}"
        fewer = operation(Op.SUB, expressions.from_json(launch[axis]), 1)
        launch[axis] = operation(Op.MAX, fewer, 0).to_json()
    elif mutant.line >= len(extra):
        return
    elif mutant.kind == "two arguments swapped":
        extra[mutant.line - 1], extra[mutant.line] = extra[mutant.line], extra[mutant.line - 1]
    elif mutant.kind == UNUSED:
        extra[mutant.line] = 0
    else:
        op = Op.SUB if mutant.kind.endswith("small") else Op.SUM
        extra[mutant.line] = operation(op, expressions.from_json(extra[mutant.line]), 1).to_json()


def _call(name: str, *expressions_: Any) -> ast.Call:
    lazy: list[ast.expr] = [ast.Lambda(args=NOTHING, body=e) for e in expressions_]
    return ast.Call(func=ast.Name(id=name, ctx=ast.Load()), args=lazy, keywords=[])


def _both(before: Callable[[], Any], after: Callable[[], Any]) -> Any:
    """The value after an edit; whether it is another than before is noted."""
    SEEN["reached"] = True
    if not SEEN["changed"]:
        SEEN["changed"] = not _same(before(), after())
    return after()


def _same(one: Any, other: Any) -> bool:
    one, other = (v.handle.data if hasattr(v, "handle") else v for v in (one, other))
    if isinstance(one, tuple) or isinstance(other, tuple):
        return bool(one == other)
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype != other.dtype and not (one.dtype.kind == other.dtype.kind == "b"):
        return False
    one, other = np.broadcast_arrays(one, other)
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
