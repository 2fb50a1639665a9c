# SPDX-License-Identifier: Apache-2.0
"""How many small mistakes in a module its own tests find: the mutation score.

    python scripts/mutation_score.py expressions ptx --sample 50

Each mutant differs from the module in one place: another comparison or operator, a number one higher, a condition
turned around, a statement left out. The tests run on it in a forked process, to the first failure. A mutant that they
pass has survived, and is printed with its line; one that never ends is found. Nothing is written: the mutant is put in
the module's place while it is imported.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import io
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = {
    "expressions": ("aotfactory.core.expressions", ["tests/core/test_expressions.py"]),
    "ptx": ("aotfactory.compiler.ptx", ["tests/compiler/test_ptx.py"]),
    "bundle": (
        "aotfactory.compiler.bundle",
        ["tests/compiler/test_bundle.py", "tests/compiler/test_bundle_hostile.py"],
    ),
    "calling_convention": (
        "aotfactory.compiler.calling_convention",
        ["tests/compiler/test_ptx.py", "tests/compiler/test_mutations.py", "tests/compiler/test_launch_bounds.py"],
    ),
}
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


def mutants(source: str) -> Iterator[tuple[int, str, ast.Module]]:
    """(line, change, module) of every mutant."""
    tree = ast.parse(source)
    left_alone = _left_alone(tree)
    places = [node for node in ast.walk(tree) if id(node) not in left_alone]
    for place in places:
        for change, edit in _edits(place):
            memo: dict[int, object] = {}
            mutant = copy.deepcopy(tree, memo)
            edit(memo[id(place)])
            yield getattr(place, "lineno", 0), change, ast.fix_missing_locations(mutant)


def _left_alone(tree: ast.Module) -> set[int]:
    """Nodes whose change no test should see: annotations, docstrings, decorators, texts of messages."""
    left: set[int] = set()
    for node in ast.walk(tree):
        apart: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            apart += [
                node.returns,
                *node.decorator_list,
                *(a.annotation for a in node.args.args + node.args.kwonlyargs),
            ]
        elif isinstance(node, ast.ClassDef):
            apart += node.decorator_list
        elif isinstance(node, ast.AnnAssign):
            apart += [node.annotation]
        elif isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            apart += [node]
        for part in filter(None, apart):
            left |= {id(inner) for inner in ast.walk(part)}
    return left


def _edits(node: ast.AST) -> Iterator[tuple[str, object]]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            other = COMPARISONS[type(op)]
            yield f"{type(op).__name__} -> {other.__name__}", lambda n: n.ops.__setitem__(0, other())
        case ast.BinOp(op=op, left=left) if type(op) in OPERATORS and not isinstance(left, ast.JoinedStr):
            other = OPERATORS[type(op)]
            yield f"{type(op).__name__} -> {other.__name__}", lambda n: setattr(n, "op", other())
        case ast.BoolOp(op=op):
            swapped = ast.Or if isinstance(op, ast.And) else ast.And
            yield f"{type(op).__name__} -> {swapped.__name__}", lambda n: setattr(n, "op", swapped())
        case ast.UnaryOp(op=ast.Not()):
            yield "not left out", lambda n: setattr(n, "op", ast.UAdd()) or setattr(n, "operand", _truth(n.operand))
        case ast.Constant(value=bool(value)):
            yield f"{value} -> {not value}", lambda n: setattr(n, "value", not value)
        case ast.Constant(value=int(value)):
            yield f"{value} -> {value + 1}", lambda n: setattr(n, "value", value + 1)
        case ast.If() | ast.While() | ast.IfExp():
            yield "condition turned around", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
        case ast.Raise():
            yield "raise left out", lambda n: _replace(n)
        case ast.Expr(value=ast.Call()):
            yield "call left out", lambda n: setattr(n, "value", ast.Constant(None))
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield "return None", lambda n: setattr(n, "value", ast.Constant(None))
        case ast.Continue():
            yield "continue -> break", lambda n: setattr(n, "__class__", ast.Break)


def _truth(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("bool", ast.Load()), [node], [])


def _replace(node: ast.Raise) -> None:
    node.__class__ = ast.Expr  # type: ignore[assignment]
    node.value = ast.Constant(None)  # type: ignore[attr-defined]
    node._fields = ("value",)


class _InPlace(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a module's name to other code."""

    def __init__(self, name: str, code: object, path: str) -> None:
        self.name, self.code, self.path = name, code, path

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return importlib.util.spec_from_loader(name, self, origin=self.path) if name == self.name else None

    def exec_module(self, module: object) -> None:
        module.__file__ = self.path  # type: ignore[attr-defined]
        exec(self.code, module.__dict__)  # type: ignore[call-overload]


def survives(name: str, tree: ast.Module, path: Path, tests: list[str], limit: float) -> bool:
    """Whether the tests pass with this module in place of the real one, in a process of its own."""
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 1
        with contextlib.suppress(BaseException), open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
            import pytest

            sys.meta_path.insert(0, _InPlace(name, compile(tree, str(path), "exec"), str(path)))
            options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
            with contextlib.redirect_stdout(io.StringIO()):
                code = int(pytest.main([*options, *tests]))
        os._exit(code)
    ends = time.monotonic() + limit
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        if time.monotonic() > ends:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.02)


def score(short: str, sample: int, seed: int) -> dict[str, object]:
    """Kill the mutants of one module.

    Raises:
        SystemExit: Its tests fail without any mutant.
    """
    name, tests = MODULES[short]
    path = ROOT / Path(*name.split(".")).with_suffix(".py")
    source = path.read_text("utf-8")
    started = time.monotonic()
    if not survives(name, ast.parse(source), path, tests, limit=1200):
        raise SystemExit(f"{short}: its tests fail as it is")
    limit = max(60.0, 5 * (time.monotonic() - started))
    every = list(mutants(source))
    chosen = random.Random(seed).sample(every, min(sample, len(every))) if sample else every
    left = []
    for number, (line, change, tree) in enumerate(chosen, 1):
        if survives(name, tree, path, tests, limit):
            left.append({"line": line, "change": change, "text": source.splitlines()[line - 1].strip()})
            print(f"{short}:{line}: survived: {change}: {left[-1]['text']}", file=sys.stderr, flush=True)
        if number % 10 == 0:
            print(f"{short}: {number} of {len(chosen)}, {len(left)} survived", file=sys.stderr, flush=True)
    found = len(chosen) - len(left)
    return {"mutants": len(every), "tried": len(chosen), "found": found, "score": found / len(chosen), "survived": left}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=list(MODULES), help=", ".join(MODULES))
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only N mutants of each; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
    os.environ["AOTFACTORY_NO_CACHE"] = "1"
    # What the tests need and no mutant changes: loaded once, before the processes are forked.
    for package in ("numpy", "triton", "hypothesis", "pytest", "ml_dtypes", "fastjsonschema"):
        importlib.import_module(package)
    result = {module: score(module, options.sample, options.seed) for module in options.modules}
    print(json.dumps(result, indent=1))
    for module, found in result.items():
        print(f"{module}: {found['found']} of {found['tried']} found, {found['score']:.1%}", file=sys.stderr)


if __name__ == "__main__":
    main()
