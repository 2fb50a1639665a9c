# SPDX-License-Identifier: Apache-2.0
"""How many broken kernels does the interpreter check catch? Kernels are broken one mistake at a time and judged.

    python scripts/judge_score.py --out docs/results/judge.jsonl      # the library and ten public kernels
    python scripts/judge_score.py --out docs/results/judge.jsonl --table

Each mutant is judged at dynamic shapes and, unless it is caught there, at the recipe's own static ones, by the code of
the check itself, with the processor time that it has by default on two cores. Results are added to the file as they
come; what is in it is not judged again. A mutant that no run reached, or whose edit never made another value, is
counted apart: either it is equivalent, or the judge does not go where it matters.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"  # before kernels are imported
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from judge_mutants import SEEN, UNUSED, Mutant, apply, break_launch, chosen, name_of, of_function, of_launch
from triton.runtime import interpreter

from aotfactory.core import workers
from aotfactory.core.errors import AotError
from aotfactory.core.network import Network
from aotfactory.core.recipe import Input, Recipe
from aotfactory.executors.effort import CHECK_TIME
from aotfactory.executors.interpreter import kernel as interpreted
from aotfactory.executors.interpreter import worker
from aotfactory.plugins import device
from aotfactory.plugins.catalog import Catalog, shipped
from aotfactory.targets.network_builder import plugin_call
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve

CORPUS = Path(__file__).parent.parent / "tests" / "corpus"
PUBLIC = (
    "liger_softmax", "liger_layer_norm", "liger_geglu", "unsloth_rms_norm", "unsloth_rope", "xformers_rms_norm",
    "conch_gelu_tanh_and_mul", "awq_dequantize", "fla_chunk_cumsum", "trinix_alibi", "liger_cross_entropy",
    "flashinfer_merge_state",
)  # fmt: skip
FAKE = [{"metadata": {"name": "entry", "num_warps": 4, "shared": 0}, "ptx": ""}]
"""What an `aot_impl` is told of its compilation; nothing is compiled here."""

SECONDS = 2 * CHECK_TIME
"""Of processor time for one mutant in one mode: as two processes have."""

INTERPRETER = "Triton's interpreter"
"""Begins what is said of a kernel that the interpreter cannot run."""

LOOK = 1.5
"""The same, to find the lines that run."""


def requests(recipe: Recipe, beyond: int = 0) -> Iterator[tuple[str, TargetOptions]]:
    """The recipe's own shapes; and those with what may be dynamic from 1 to somewhat more; the first that builds.

    Args:
        beyond: Elements that the largest input has at max, if there are to be so many.
    """
    named = tuple(dict.fromkeys(d for i in recipe.inputs for d in i.dims))
    own = {i.name: i.shape for i in recipe.inputs}
    for names in dict.fromkeys([recipe.dynamic or named, named[:1]]):
        low = {i.name: tuple(1 if d in names else n for d, n in _dims(i)) for i in recipe.inputs}
        high = {i.name: tuple(n + 3 if d in names else n for d, n in _dims(i)) for i in recipe.inputs}
        if beyond:
            most, extents = max(((math.prod(i.shape), dict(_dims(i))) for i in recipe.inputs), key=lambda pair: pair[0])
            first = next((d for d in names if d in extents), None)
            more = {first: beyond * extents.get(first, 1) // most + 1}
            high = {i.name: tuple(more.get(d, n) for d, n in _dims(i)) for i in recipe.inputs}
        if names and low != high:
            yield "dynamic", TargetOptions(min_shape=low, opt_shape=own, max_shape=high)
    yield "static", TargetOptions(shape=own)


def _dims(item: Input) -> list[tuple[str, int]]:
    return list(zip(item.dims or ("",) * len(item.shape), item.shape, strict=True))


def jobs_of(network: Network) -> list[dict[str, Any]]:
    """The network's variants as the check describes them to its process: those of one combination of types."""
    call = network.calls[0]
    plugin = plugin_call(network, call)
    jobs = []
    for tactic in next((t for c, t in plugin.combinations() if c == plugin.combination), []):
        with interpreted.capturing(FAKE):
            kernel = plugin.kernel(plugin.combination, tactic)
        job = {"id": str(tactic), "call": call.name, "dtypes": plugin.combination.dtypes, "tactic": tactic}
        launch = {n: e.to_json() for n, e in kernel.launch.items()}
        extra = [e.to_json() for e in kernel.extra_args]
        jobs.append({**job, "config": None, "launch": launch, "extra_args": extra, "compilations": FAKE})
    return jobs


def judged(network: Network, catalog: Catalog, mutant: Mutant | None, seconds: float) -> tuple[str, str]:
    """``caught``, ``survived`` or ``not run``, and what was said; the first failure ends it."""
    jobs = jobs_of(network)
    if mutant is not None and not mutant.function:
        for job in jobs:
            break_launch(mutant, job["launch"], job["extra_args"])
    worker.share(network, catalog, jobs, time.process_time() + seconds)
    states: Counter[str] = Counter()
    said = ""
    for task in worker.plan(network, catalog, len(jobs)):
        answer = worker.run(task)
        states[answer.status] += 1
        if answer.status == "failed":
            return "caught", answer.detail
        said = answer.detail or said
    cannot = not states["passed"] or INTERPRETER in said  # such a mutant does not compile, as a rule
    return ("not run", said) if cannot else ("survived", "")


def trial(mutant: Mutant, networks: dict[str, Network], catalog: Catalog, fns: list[Any]) -> dict[str, Any]:
    """Judge one mutant in this process, which ends afterwards."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (kernels warn)
    began = time.process_time()
    if mutant.kind == "a cast to int64 lost":
        networks = _vast(catalog.recipes[mutant.recipe], catalog) or networks
    if mutant.function:
        apply(mutant, next(f for f in fns if name_of(f) == mutant.function))
    outcome: dict[str, Any] = {**asdict(mutant), "says": {}, "edited": str(mutant)}
    for mode, network in networks.items():
        if "caught" not in outcome.values():
            outcome[mode], outcome["says"][mode] = judged(network, catalog, mutant, SECONDS)
    states = list(outcome.values())
    if mutant.function:
        outcome |= SEEN
    elif "argument" in mutant.kind and "caught" not in states:
        other = Mutant(mutant.recipe, UNUSED, line=mutant.line)
        outcome["changed"] = any(judged(n, catalog, other, SECONDS)[0] == "caught" for n in networks.values())
    return {**outcome, "seconds": round(time.process_time() - began, 1)}


def _vast(recipe: Recipe, catalog: Catalog) -> dict[str, Network]:
    """Shapes of more elements than int32 counts; none where the kernel as it is does not take such."""
    for mode, request in requests(recipe, beyond=2**31 + 2**28):
        with contextlib.suppress(AotError):
            network = resolve(recipe.name, catalog, request)
            if mode == "dynamic" and judged(network, catalog, None, SECONDS)[0] == "survived":
                return {mode: network}
    return {}


def look(networks: dict[str, Network], catalog: Catalog) -> dict[str, Any]:
    """Which lines of which interpreted functions run, and the launch; in a process that ends afterwards."""
    lines: dict[str, set[int]] = {}

    def trace(frame: Any, event: str, _: Any) -> Any:
        code: CodeType = frame.f_code
        if code.co_filename not in lines:
            return None
        lines[code.co_filename].add(frame.f_lineno)
        return trace

    lines |= {f.fn.__code__.co_filename: set() for f in functions()}
    sys.settrace(trace)
    found = {mode: judged(network, catalog, None, LOOK) for mode, network in networks.items()}
    sys.settrace(None)
    job = jobs_of(list(networks.values())[-1])[0]
    used = [name_of(f) for f in functions() if f.fn in interpreter.InterpretedFunction.rewritten_fn]
    refused = {mode: said for mode, (state, said) in found.items() if state != "survived"}
    return {"refused": refused, "lines": lines, "used": used, "launch": job["launch"], "extra": job["extra_args"]}


def functions() -> list[Any]:
    """All interpreted functions that are not Triton's own."""
    found = [o for o in gc.get_objects() if type(o).__name__ in ("InterpretedFunction", "_Interpreted")]
    return [f for f in found if not f.fn.__module__.startswith("triton.")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--plugins", nargs="*", metavar="FILE.py", help="modules in place of library and corpus")
    parser.add_argument("--each", type=int, default=16, help="mutants of each recipe")
    parser.add_argument("--jobs", type=int, default=workers.available_cores())
    parser.add_argument("--table", action="store_true", help="only show what is in the file")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if not arguments.table:
        library = [f"aotfactory.kernels.{name}" for name in shipped()]
        score(arguments.plugins or [*library, *(str(CORPUS / f"{n}.py") for n in PUBLIC)], arguments)
    print(table([json.loads(line) for line in arguments.out.read_text().splitlines()]))


def score(sources: list[str], arguments: argparse.Namespace) -> None:
    """Judge what is not yet in the file, and add it."""
    worker.prepare("sm_90")
    known = {json.loads(line)["edited"] for line in _lines(arguments.out)}
    subjects: list[tuple[Recipe, Catalog, dict[str, Network]]] = []
    for source in sources:
        try:
            catalog = Catalog([source])
        except (AotError, ImportError) as error:
            print(f"{source}: {error}", file=sys.stderr)
            continue
        for recipe in catalog.recipes.values():
            networks: dict[str, Network] = {}
            for mode, request in requests(recipe):
                try:
                    if mode not in networks:
                        networks[mode] = resolve(recipe.name, catalog, request)
                        jobs_of(networks[mode])
                except AotError as error:
                    networks.pop(mode, None)
                    print(f"{recipe.name}, {mode}: {error.message}", file=sys.stderr)
            subjects.append((recipe, catalog, networks))
    fns = functions()
    ranked: list[tuple[int, Any]] = []
    looks = [partial(look, networks, catalog) for _, catalog, networks in subjects]
    for index, outcome in workers.completed(looks, arguments.jobs, keep_going=True, isolated=True):
        recipe, catalog, networks = subjects[index]
        if outcome.error is not None or outcome.value is None:
            print(f"{recipe.name}: {outcome.error}", file=sys.stderr)
            continue
        seen: Any = outcome.value
        for mode, said in seen["refused"].items():
            print(f"{recipe.name}, {mode}, is refused as it is: {said}", file=sys.stderr)
            networks.pop(mode)
        used = [f for f in fns if name_of(f) in seen["used"]]
        found = [*of_launch(recipe.name, seen["launch"], seen["extra"])]
        for fn in used:
            found += of_function(recipe.name, fn, seen["lines"].get(fn.fn.__code__.co_filename, set()))
        print(f"{recipe.name}, {', '.join(networks)}: {len(found)} mutants", file=sys.stderr, flush=True)
        for rank, mutant in enumerate(chosen(found, arguments.each)):
            if str(mutant) not in known:
                ranked.append((rank, partial(trial, mutant, networks, catalog, used)))
    tasks = [task for _, task in sorted(ranked, key=lambda pair: pair[0])]  # a cut leaves some of every recipe
    with arguments.out.open("a", encoding="utf-8") as file:
        for done, (_, outcome) in enumerate(
            workers.completed(tasks, arguments.jobs, keep_going=True, isolated=True), start=1
        ):
            if outcome.error is not None:
                print(f"an error: {outcome.error}", file=sys.stderr)
                continue
            file.write(json.dumps(outcome.value) + "\n")
            file.flush()
            print(f"{done} of {len(tasks)}", file=sys.stderr, flush=True)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def counted(outcome: dict[str, Any]) -> str:
    """``caught``, ``survived``, ``not run`` or ``no effect``, by either mode."""
    states = {outcome.get("static"), outcome.get("dynamic")}
    if "caught" in states:
        return "caught"
    if "survived" not in states:
        return "not run"
    return "survived" if outcome.get("changed", True) else "no effect"


def table(done: list[dict[str, Any]]) -> str:
    """Counts by kind of mistake, the score, and all that was not caught."""
    kinds: dict[str, Counter[str]] = {}
    for outcome in done:
        kinds.setdefault(outcome["kind"], Counter())[counted(outcome)] += 1
    columns = ("caught", "survived", "no effect", "not run")
    rows = [f"| mistake | {' | '.join(columns)} |", "|---|---|---|---|---|"]
    rows += [f"| {kind} | {' | '.join(str(c[k]) for k in columns)} |" for kind, c in sorted(kinds.items())]
    total = sum(kinds.values(), Counter())
    rows.append(f"| all {len(done)} | {' | '.join(str(total[k]) for k in columns)} |\n")
    against = total["caught"] + total["survived"]
    rows.append(f"{total['caught']} of {against} caught ({100 * total['caught'] / max(against, 1):.1f} %)")
    states = Counter(o["dynamic"] for o in done if "dynamic" in o and counted(o) in ("caught", "survived"))
    rows.append(f"at dynamic shapes alone: {states['caught']} of {states.total()}")
    for state in columns[1:]:
        rows += [f"{state}: {o['edited']} {o.get('says', '')}" for o in done if counted(o) == state]
    return "\n".join(rows)


if __name__ == "__main__":
    with device.answering():
        main()
