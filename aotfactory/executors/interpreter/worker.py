# SPDX-License-Identifier: Apache-2.0
"""The process behind the `interpreter` check: reads a request from stdin, writes progress and outcomes to stdout,
a JSON object in each line.

Definitions are loaded once; then processes forked from this one share the runs, each with the processor time that
``--check-time`` gives. What teaches most comes first for every variant: a small shape that is covered whole, then the
shapes of the profile, then what else the recipe names.
"""

from __future__ import annotations

import ctypes
import json
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aotfactory.core import dtypes
from aotfactory.core.arch import parse_archs
from aotfactory.core.errors import AotError, CheckError
from aotfactory.core.network import Network, Shape
from aotfactory.core.network_json import network_from_json
from aotfactory.core.processor_time import limited_time
from aotfactory.executors import cases
from aotfactory.executors.data import decisive
from aotfactory.executors.interpreter import libdevice, operators
from aotfactory.executors.interpreter.disguise import hide_mode, pass_for_compiled
from aotfactory.executors.interpreter.kernel import OutOfTime, Unsupported, make_compile_capturable
from aotfactory.executors.interpreter.outcome import Answer, Task, outcome
from aotfactory.executors.interpreter.prepared import LARGEST, LARGEST_BYTES
from aotfactory.executors.interpreter.situation import CannotRun, Situation
from aotfactory.executors.interpreter.trial import Judge
from aotfactory.plugins import device
from aotfactory.plugins.catalog import Catalog

GRACE = 5.0
"""Seconds of processor time that one run may take beyond the time for all, before it is given up."""

VAST_COST = 2**16
"""Where tensors without data stand among those with data, by elements."""

VAST_SHARE = 0.1
"""Share of all the time that a run without data may take: its programs may loop over very much."""


AGAIN, AGAIN_COST = 4, 2**16
"""How often integers are drawn again where there is time left, and elements of the inputs with which they are."""


@dataclass
class _Shared:
    """The parts that forked processes find in their copy of this one."""

    judge: Judge
    jobs: list[dict[str, Any]]
    seconds: float


_shared: _Shared | None = None


def main() -> None:
    request = json.load(sys.stdin)
    # The prints of definitions, and of programs that they start, must not get between.
    stream, sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8"), sys.stderr
    os.dup2(2, 1)
    sys.path += [path for path in request["path"] if path not in sys.path]  # what a program that calls us added
    prepare(request["arch"])
    network = network_from_json(request["network"])
    catalog = Catalog(request["sources"])
    jobs = request["variants"]
    road = device.taking(request["road"])
    share(network, catalog, jobs, request["seconds"])
    given = given_situation(network, request["given"]) if request.get("given") else None
    tasks = list(plan(network, catalog, len(jobs), given))
    answers: list[list[Answer]] = [[] for _ in jobs]
    with road, device.answering():
        for done, answer in enumerate(_answers(tasks, min(request["processes"], len(tasks))), start=1):
            answers[answer.task.job].append(answer)
            print(json.dumps({"done": done, "of": len(tasks)}), file=stream, flush=True)
    outcomes = [
        outcome(sorted(found, key=lambda a: a.task.index), catalog, network, job, request["seconds"])
        for found, job in zip(answers, jobs, strict=True)
    ]
    print(json.dumps({"outcomes": outcomes}), file=stream, flush=True)


def prepare(arch: str) -> None:
    """Make this process, which was started with ``TRITON_INTERPRET=1``, one that interprets; before kernels are loaded.

    Args:
        arch: What definitions are told that they are compiled for.
    """
    libdevice.install_everywhere()
    operators.install()
    pass_for_compiled()
    make_compile_capturable()
    hide_mode()
    device.assume(parse_archs(arch)[0].capability)


def share(network: Network, catalog: Catalog, jobs: list[dict[str, Any]], seconds: float) -> None:
    """Keep what `run` needs, for this process and those forked from it.

    Args:
        jobs: The variants, as `check` describes them.
        seconds: Processor time of a process after which nothing more is begun.
    """
    global _shared
    _shared = _Shared(Judge(network, catalog), jobs, seconds)


def given_situation(network: Network, files: Mapping[str, str]) -> Situation:
    """The inputs that are in files, each as raw bytes of the tensor's type beside its shape."""
    arrays = {}
    for name, path in files.items():
        element = dtypes.find(network.tensor(name).dtype).array
        with np.load(path) as stored:
            arrays[name] = np.frombuffer(stored["bytes"].tobytes(), element).reshape(stored["shape"])
    return Situation(label="given", shapes={n: a.shape for n, a in arrays.items()}, kind="random", arrays=arrays)


def plan(network: Network, catalog: Catalog, jobs: int, given: Situation | None = None) -> Iterator[Task]:
    """All tasks, those that teach most first; one situation after the other, for variants share what it takes.

    Args:
        given: The only situation, if there is one.
    """
    for place, situation in enumerate([given] if given else situations(network, catalog)):
        for job in range(jobs):
            yield Task(place * jobs + job, job, situation)


def _vast(network: Network, shapes: Mapping[str, Shape]) -> bool:
    """Whether an input is too large to be filled with data."""
    sizes = {t.name: dtypes.find(t.dtype).itemsize for t in network.inputs}
    return any(not cases.fits(shape, LARGEST_BYTES // sizes[name]) for name, shape in shapes.items())


def _cost(situation: Situation) -> int:
    """Cheap are small tensors, and such large ones that they get no data; those come first."""
    return VAST_COST if situation.vast else sum(math.prod(shape) for shape in situation.shapes.values())


def situations(network: Network, catalog: Catalog) -> list[Situation]:
    """Shapes and data to judge every variant with: after the first ones small shapes come before large ones."""
    names = [t.name for t in network.inputs]
    profile = cases.profile_cases(network, catalog.for_plugin)
    first: list[Situation] = []
    later: list[Situation] = []
    for label, shapes in profile:
        random, special = (Situation(label=label, shapes=shapes, kind=kind) for kind in cases.KINDS)
        fit = all(cases.fits(s, LARGEST) for s in shapes.values())
        if not fit and label in cases.MADE_UP and len(profile) > 1:
            continue
        if _vast(network, shapes):
            later.append(replace(random, vast=True))
            continue
        (first if label in ("small", "static", "opt", "max") else later).append(random)
        (first if label in ("small", "static") else later).append(special)
    if (shapes_of := cases.shrunk(network, catalog.for_plugin, LARGEST)) is not None:
        later += [Situation(label="shrunk", shapes=shapes_of, kind=kind, profile=False) for kind in cases.KINDS]
    recipes = {id(r): r for c in network.calls if (r := catalog.for_plugin(c.plugin)) is not None}
    for recipe in recipes.values():
        for odd in recipe.odd_shapes:
            if len(odd) == len(names):
                shapes = {n: tuple(s) for n, s in zip(names, odd, strict=True)}
                later += [Situation(label="odd", shapes=shapes, kind=kind, profile=False) for kind in cases.KINDS]
    return first + sorted(later, key=_cost) + _again(network, catalog, first)


def _again(network: Network, catalog: Catalog, first: list[Situation]) -> list[Situation]:
    """The first situation with other integers, for what a kernel does with one that is rarely drawn."""
    types = {t.name: t.dtype for t in network.inputs}
    if not first or first[0].kind != "random" or _cost(first[0]) > AGAIN_COST:
        return []
    if not decisive(network, catalog.for_plugin, types):
        return []
    return [replace(first[0], draw=draw) for draw in range(1, AGAIN + 1)]


def _answers(tasks: list[Task], processes: int) -> Iterator[Answer]:
    """Answers as they come; what remains of a variant that is wrong is not run."""
    wrong: set[int] = set()
    if processes <= 1:
        for task in tasks:
            answer = Answer(task, "late") if task.job in wrong else run(task)
            if answer.status == "failed":
                wrong.add(task.job)
            yield answer
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        waiting: dict[Future[Answer], Task] = {pool.submit(run, task): task for task in tasks}
        for future in as_completed(waiting):
            task = waiting[future]
            try:
                answer = Answer(task, "late") if future.cancelled() else future.result()
            except BrokenProcessPool:
                answer = Answer(task, "skipped", "the interpreter's process ended, as when memory runs out")
            if answer.status == "failed":
                for other, its in waiting.items():
                    if its.job == task.job:
                        other.cancel()
            yield answer


def _end_with(parent: int) -> None:
    """Let the system end this process when its parent ends, whatever ends that."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def run(task: Task) -> Answer:
    """Run a task in this process, within what is left of its time."""
    assert _shared is not None
    left = _shared.seconds - time.process_time()
    if left <= 0:
        return Answer(task, "late")
    grace = GRACE
    if task.situation.vast:
        left, grace = min(left, VAST_SHARE * _shared.seconds), 1.0
    try:
        most = left + grace
        with limited_time(most, lambda: OutOfTime(f"a run did not end within {most:.0f} s of processor time")):
            verdict = _shared.judge.judge(_shared.jobs[task.job], task.situation, left)
    except (CannotRun, OutOfTime) as reason:
        doubtful = isinstance(reason.__cause__, Unsupported) and not task.situation.profile
        return Answer(task, "skipped", str(reason), doubtful=doubtful)
    except CheckError as error:
        return Answer(task, "failed", f"{error.message}; at {task.situation}")
    except AotError as error:
        if isinstance(error.__cause__, Unsupported):
            return Answer(task, "skipped", str(error.__cause__))
        # A shape that the plugin itself refuses is not a case of it; the profile's own shapes are.
        asked = task.situation.profile and task.situation.label not in cases.MADE_UP
        status = "failed" if asked else "skipped"
        return Answer(task, status, f"{error.message}; at {task.situation}")
    status = "failed" if verdict.wrong else "passed"
    detail = "; ".join([f"{verdict.wrong}; at {task.situation}", *verdict.notes]) if verdict.wrong else ""
    return Answer(task, status, detail, verdict.compared, verdict.run, verdict.of, verdict.notes, idle=verdict.idle)


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # taking everything down takes as long as a small check
