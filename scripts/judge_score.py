# SPDX-License-Identifier: Apache-2.0
"""How many broken kernels does the interpreter check catch? Kernels are broken one edit at a time and judged.

    python scripts/judge_score.py --out docs/results/judge_score.json                     # the library
    python scripts/judge_score.py --plugins tests/corpus/liger_softmax.py --out ...       # others

An edit is made in the syntax tree of one Triton function, or in the launch. Each is judged at the recipe's own
static shape and at a dynamic one (dims from 1 up), by the interpreter alone, with its default time. Edits that Triton's
interpreter cannot run, and such as never change a value in any judged run, say nothing of the judge and are counted
apart.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import inspect
import json
import linecache
import os
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"  # before kernels are imported
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from triton.runtime import interpreter

from aotfactory.core import expressions, workers
from aotfactory.core.errors import AotError
from aotfactory.core.expressions import Op, operation
from aotfactory.core.network import Network
from aotfactory.core.recipe import Recipe
from aotfactory.executors.effort import CHECK_TIME
from aotfactory.executors.interpreter import kernel as interpreted
from aotfactory.executors.interpreter import libdevice
from aotfactory.executors.interpreter.trial import CannotRun, Judge
from aotfactory.executors.interpreter.worker import _alarm, situations
from aotfactory.plugins.catalog import Catalog, shipped
from aotfactory.targets.network_builder import plugin_call
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve

FAKE = [{"metadata": {"name": "entry", "num_warps": 4, "shared": 0}, "ptx": ""}]
"""What an `aot_impl` is told of its compilation; nothing is compiled here."""


# ------------------------------------------------------------------ edits


def edits(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What can be done to one node of a kernel: the kind of mistake, and the node in its place."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name, keywords = node.func.attr, {k.arg: k for k in node.keywords}
        if name in ("load", "store") and "mask" in keywords:
            yield "a mask dropped", _with(node, keywords=[k for k in node.keywords if k.arg not in ("mask", "other")])
        if name == "to" and len(node.args) == 1 and "float32" in ast.dump(node.args[0]):
            half = ast.parse("tl.float16", mode="eval").body
            yield "a cast to fp16", _with(node, args=[half])
        for one, other in (("sum", "max"), ("max", "sum"), ("maximum", "minimum"), ("minimum", "maximum")):
            if name == one and "tl" in ast.dump(node.func.value):
                yield f"{one} for {other}", _with(node, func=_with(node.func, attr=other))
        if name == "program_id" and node.args and isinstance(node.args[0], ast.Constant):
            yield "another axis", _with(node, args=[ast.Constant(value=(node.args[0].value + 1) % 3)])
    if isinstance(node, ast.BinOp):
        kinds: dict[type[ast.operator], str] = {
            ast.Mod: "a modulo lost",
            ast.FloorDiv: "a division lost",
            ast.Mult: "a factor lost",
            ast.BitAnd: "a guard lost",
        }
        if type(node.op) in kinds:
            yield kinds[type(node.op)], node.left
        if isinstance(node.op, ast.BitAnd):
            yield "the other guard lost", node.right
        if isinstance(node.op, ast.Add):
            yield "minus for plus", _with(node, op=ast.Sub())
        if isinstance(node.op, ast.Sub):
            yield "plus for minus", _with(node, op=ast.Add())
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Lt):
        yield "off by one: <= for <", _with(node, ops=[ast.LtE()])
        less = ast.BinOp(left=node.comparators[0], op=ast.Sub(), right=ast.Constant(value=1))
        yield "off by one: one too few", _with(node, comparators=[less])


def _with(node: Any, **changes: Any) -> Any:
    made = copy.copy(node)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@dataclass(frozen=True)
class Mutant:
    """One edit: of a function (by its index and that of the node), or of the launch (no function)."""

    recipe: str
    function: str
    kind: str
    line: int
    place: int = -1
    which: int = 0

    def __str__(self) -> str:
        return f"{self.recipe}: {self.function}:{self.line}: {self.kind}"


LAUNCH = ("a program too few", "one argument too small", "one argument too large")
UNUSED = "an argument that is not used"


def functions(modules: set[str]) -> list[Any]:
    """The interpreted functions of these modules that are reachable, by name."""
    found = {
        id(o): o
        for o in gc.get_objects()
        if isinstance(o, interpreter.InterpretedFunction) and o.fn.__module__ in modules
    }
    return sorted(found.values(), key=lambda f: (f.fn.__module__, f.fn.__name__))


def mutants(recipe: Recipe, fns: list[Any], arguments: bool) -> Iterator[Mutant]:
    """Every edit of every function, and of the launch, where there are extra arguments too."""
    for fn in fns:
        tree = _tree(fn)
        for place, node in enumerate(ast.walk(tree)):
            for which, (kind, _) in enumerate(edits(node)):
                line = getattr(node, "lineno", 0)
                yield Mutant(recipe.name, fn.fn.__name__, kind, line, place, which)
    for kind in LAUNCH[: 3 if arguments else 1]:
        yield Mutant(recipe.name, "launch", kind, 0)


def _tree(fn: Any) -> ast.Module:
    lines, _ = inspect.getsourcelines(fn.fn)
    start = next(i for i, line in enumerate(lines) if line.strip().startswith("def "))
    return ast.parse(textwrap.dedent("".join(lines[start:])))


def apply(mutant: Mutant, fns: list[Any], *, watch: bool = False) -> None:
    """Break a function in place; with `watch`, let it note whether the edit ever changes a value."""
    fn = next(f for f in fns if f.fn.__name__ == mutant.function)
    tree = _tree(fn)
    nodes = list(ast.walk(tree))
    target = nodes[mutant.place]
    replacement = list(edits(target))[mutant.which][1]
    if watch:
        before, after = _observable(target, replacement)
        replacement = ast.Call(
            func=ast.Name(id="_both", ctx=ast.Load()), args=[_lazy(before), _lazy(after)], keywords=[]
        )
        fn.fn.__globals__["_both"] = _both
    for parent in nodes:
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, replacement)
            elif isinstance(value, list) and any(item is target for item in value):
                value[next(i for i, item in enumerate(value) if item is target)] = replacement
    text = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
    filename = f"<mutant {mutant}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope: dict[str, Any] = {}
    exec(compile(text, filename, "exec"), fn.fn.__globals__, scope)
    made = scope[fn.fn.__name__]
    fn.fn = made
    fn.rewriter = interpreter.FunctionRewriter(made, **fn.kwargs)


def _observable(target: Any, replacement: Any) -> tuple[Any, Any]:
    """An edit as two expressions to compare: of a store, which has no value, the mask and its loss."""
    if isinstance(target, ast.Call) and isinstance(target.func, ast.Attribute) and target.func.attr == "store":
        mask = next(k.value for k in target.keywords if k.arg == "mask")
        return mask, ast.parse("(0 == 0)", mode="eval").body
    return target, replacement


def _lazy(expression: Any) -> ast.Lambda:
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.Lambda(args=nothing, body=expression)


CHANGED = [False]


def _both(before: Callable[[], Any], after: Callable[[], Any]) -> Any:
    """The value after an edit; whether it is another than before is kept in CHANGED."""
    made = after()
    one, two = (v.handle.data if hasattr(v, "handle") else v for v in (before(), made))
    one, two = np.broadcast_arrays(np.asarray(one), np.asarray(two))
    CHANGED[0] |= one.dtype != two.dtype or not np.array_equal(one, two, equal_nan=one.dtype.kind == "f")
    return made


# ------------------------------------------------------------------ judging


SECONDS = [2 * CHECK_TIME]
"""Of processor time for one mutant in one mode: as two processes have."""


def judged(network: Network, catalog: Catalog, mutant: Mutant | None) -> tuple[str, str]:
    """``caught``, ``survived`` or ``not run``, and what was said."""
    judge = Judge(network, catalog)
    call = network.calls[0]
    plugin = plugin_call(network, call)
    tactics = next((t for c, t in plugin.combinations() if c == plugin.combination), [])
    jobs = []
    for tactic in tactics:
        with interpreted.capturing(FAKE):
            kernel = plugin.kernel(plugin.combination, tactic)
        launch = {n: e.to_json() for n, e in kernel.launch.items()}
        extra = [e.to_json() for e in kernel.extra_args]
        if mutant is not None and mutant.function == "launch" and (extra or mutant.kind == LAUNCH[0]):
            _launch(mutant.kind, launch, extra)
        job = {
            "id": str(tactic),
            "call": call.name,
            "dtypes": plugin.combination.dtypes,
            "tactic": tactic,
            "config": None,
        }
        jobs.append({**job, "launch": launch, "extra_args": extra, "compilations": FAKE})
    end, ran = time.process_time() + SECONDS[0], 0
    reason = ""
    for situation in situations(network, catalog):
        for job in jobs:
            left = end - time.process_time()
            if left <= 0:
                break
            try:
                with _alarm(left + 5):
                    verdict = judge.judge(job, situation, left)
            except (CannotRun, interpreted.OutOfTime) as error:
                reason = str(error)
                continue
            except AotError as error:
                if situation.label in ("small", "inside", "odd", "shrunk"):
                    continue
                return "caught", error.message
            ran += 1
            if verdict.wrong:
                return "caught", f"{verdict.wrong}; at {situation}"
    return ("survived", "") if ran and not reason else ("not run", reason)


def _launch(kind: str, launch: dict[str, Any], extra: list[Any]) -> None:
    """Break the launch, in the form that the interpreter's process gets it."""
    if kind == "a program too few":
        fewer = operation(Op.SUB, expressions.from_json(launch["grid_x"]), 1)
        launch["grid_x"] = operation(Op.MAX, fewer, 0).to_json()
    elif kind == UNUSED:
        extra[0] = 0
    else:
        op = Op.SUB if kind.endswith("small") else Op.SUM
        extra[0] = operation(op, expressions.from_json(extra[0]), 1).to_json()


CUT = {1: 96, 2: 40, 3: 12, 4: 6}
"""Extent that dimensions are cut down to where they can be dynamic, by how many the largest input has: a mistake shows
at small ones, in less time."""


def requests(recipe: Recipe) -> Iterator[tuple[str, TargetOptions]]:
    """Static and dynamic shapes to build the recipe at; of the dynamic ones the first that it takes counts."""
    named = tuple(dict.fromkeys(d for i in recipe.inputs for d in i.dims))
    yield "static", TargetOptions(shape=_shapes(recipe, recipe.dynamic))
    for names in dict.fromkeys([recipe.dynamic or named, named[:1]]):
        cut = _shapes(recipe, recipe.dynamic or names)
        low = {i.name: tuple(1 if d in names else n for d, n in _dims(i, cut)) for i in recipe.inputs}
        high = {i.name: tuple(2 * n if d in names else n for d, n in _dims(i, cut)) for i in recipe.inputs}
        if names and low != high:
            yield "dynamic", TargetOptions(min_shape=low, opt_shape=cut, max_shape=high)  # type: ignore[arg-type]


def _shapes(recipe: Recipe, names: tuple[str, ...]) -> Any:
    """Each input's shape, with these dimensions cut: odd ones stay odd, even ones even."""
    shapes = {i.name: i.shape for i in recipe.inputs}
    cut = CUT[min(max(len(s) for s in shapes.values()), 4)]
    return {i.name: tuple(min(n, cut + n % 2) if d in names else n for d, n in _dims(i, shapes)) for i in recipe.inputs}


def _dims(item: Any, shapes: Any) -> list[tuple[str, int]]:
    shape = shapes[item.name]
    return list(zip(item.dims or ("",) * len(shape), shape, strict=True))


def trial(mutant: Mutant, networks: dict[str, Network], catalog: Catalog, fns: list[Any]) -> dict[str, Any]:
    """Judge one mutant in this process, which ends afterwards."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (kernels warn)
    outcome: dict[str, Any] = {"mutant": str(mutant), "recipe": mutant.recipe, "kind": mutant.kind}
    if mutant.function != "launch":
        apply(mutant, fns)
    for mode, network in networks.items():
        outcome[mode], outcome[f"{mode} said"] = judged(network, catalog, mutant)
    if mutant.function != "launch" and "caught" not in [outcome[mode] for mode in networks]:
        apply(mutant, _fresh(fns, mutant), watch=True)
        for network in networks.values():
            judged(network, catalog, mutant)
        outcome["changed"] = CHANGED[0]
    elif mutant.kind in LAUNCH[1:] and "caught" not in [outcome[mode] for mode in networks]:
        other = Mutant(mutant.recipe, "launch", UNUSED, 0)
        outcome["changed"] = "caught" in [judged(network, catalog, other)[0] for network in networks.values()]
    return outcome


def _fresh(fns: list[Any], mutant: Mutant) -> list[Any]:
    """The functions with the broken one as it was."""
    fn = next(f for f in fns if f.fn.__name__ == mutant.function)
    fn.fn = ORIGINALS[id(fn)]
    return fns


ORIGINALS: dict[int, Callable[..., Any]] = {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--plugins", nargs="*", default=[], metavar="FILE.py", help="other modules than the library")
    parser.add_argument("--every", type=int, default=1, help="judge every n-th mutant")
    parser.add_argument("--jobs", type=int, default=workers.available_cores())
    parser.add_argument("--seconds", type=float, default=SECONDS[0], help="processor time for one judgement")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    libdevice.install_everywhere()
    SECONDS[0] = arguments.seconds
    sources = arguments.plugins or [f"aotfactory.kernels.{name}" for name in shipped()]
    done: list[dict[str, Any]] = []
    for source in sources:
        try:
            catalog = Catalog([source])
        except (AotError, ImportError) as error:
            print(f"{source}: {error}", file=sys.stderr)
            continue
        for recipe in list(catalog.recipes.values()):
            done += of_recipe(recipe, catalog, arguments.every, arguments.jobs)
            arguments.out.write_text(json.dumps(done, indent=1) + "\n")
    print(table(done))


def of_recipe(recipe: Recipe, catalog: Catalog, every: int, jobs: int) -> list[dict[str, Any]]:
    """All outcomes of one recipe's mutants; none if the kernel as it is does not pass."""
    networks: dict[str, Network] = {}
    for mode, request in requests(recipe):
        try:
            network = resolve(recipe.name, catalog, request)
            state, said = judged(network, catalog, None)
        except AotError as error:
            state, said = "refused", error.message
        print(f"{recipe.name}, {mode}: as it is {'passes' if state == 'survived' else said}", file=sys.stderr)
        if state == "survived":
            networks.setdefault(mode, network)
    modules = {
        o.fn.__module__
        for o in gc.get_objects()
        if isinstance(o, interpreter.InterpretedFunction) and not o.fn.__module__.startswith("triton.")
    }
    used = {id(f): f for f in functions(modules) if f.fn in interpreter.InterpretedFunction.rewritten_fn}
    fns = [f for f in used.values() if not f.fn.__code__.co_filename.startswith("<")]
    ORIGINALS.update({id(f): f.fn for f in fns})
    interpreter.InterpretedFunction.rewritten_fn.clear()  # the next recipe's functions are those that it runs
    if not networks:
        return []
    chosen = list(mutants(recipe, fns, any(n.ranges for n in networks.values())))[::every]
    tasks = [partial(trial, mutant, networks, catalog, fns) for mutant in chosen]
    found = []
    for index, outcome in workers.completed(tasks, jobs, keep_going=True):
        if outcome.error is None:
            found.append(outcome.value)
        else:
            print(f"{chosen[index]}: {outcome.error}", file=sys.stderr)
    return found  # type: ignore[return-value]


def counted(outcome: dict[str, Any]) -> str:
    """``caught``, ``survived``, ``not run`` or ``no effect``, by either mode."""
    states = {outcome.get("static"), outcome.get("dynamic")}
    if "caught" in states:
        return "caught"
    if "survived" not in states:
        return "not run"
    return "survived" if outcome.get("changed", True) else "no effect"


def table(done: list[dict[str, Any]]) -> str:
    """Counts by kind of edit, the score, and the survivors."""
    kinds: dict[str, Counter[str]] = {}
    for outcome in done:
        kinds.setdefault(outcome["kind"], Counter())[counted(outcome)] += 1
    rows = ["| edit | caught | survived | no effect | not run |", "|---|---|---|---|---|"]
    columns = ("caught", "survived", "no effect", "not run")
    rows += [f"| {kind} | {' | '.join(str(c[k]) for k in columns)} |" for kind, c in sorted(kinds.items())]
    total = sum(kinds.values(), Counter())
    judged = total["caught"] + total["survived"]
    rows.append(f"| all | {' | '.join(str(total[k]) for k in columns)} |")
    rows.append(f"\n{total['caught']} of {judged} caught ({100 * total['caught'] / max(judged, 1):.1f} %)")
    for mode in ("static", "dynamic"):
        states = Counter(o[mode] for o in done if mode in o and counted(o) in ("caught", "survived"))
        rows.append(f"{mode}: {states['caught']} of {states['caught'] + states['survived']}")
    rows += [f"survived: {o['mutant']}" for o in done if counted(o) == "survived"]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
