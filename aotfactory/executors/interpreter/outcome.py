# SPDX-License-Identifier: Apache-2.0
"""The `interpreter` check of one variant, from the answers of all its runs: the outcome, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aotfactory.core.check import Case
from aotfactory.core.network import Network, shape_text
from aotfactory.executors.effort import SPENT
from aotfactory.executors.interpreter.situation import ROW_IN_PART, Situation
from aotfactory.plugins.catalog import Catalog


@dataclass(frozen=True)
class Task:
    """One variant in one situation; the index tells when it is to be done."""

    index: int
    job: int
    situation: Situation


@dataclass
class Answer:
    """The answer to a task; `status` is that of a check, or ``late``.

    Attributes:
        doubtful: The interpreter failed on it, at shapes that the kernel has not been compiled for.
        idle: Outputs of which the whole grid wrote no element.
    """

    task: Task
    status: str
    detail: str = ""
    compared: bool = False
    run: int = 0
    of: int = 0
    notes: list[str] = field(default_factory=list)
    doubtful: bool = False
    idle: list[str] = field(default_factory=list)


def outcome(
    answers: list[Answer], catalog: Catalog, network: Network, job: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """A variant's check, as JSON; `doubts` has shapes at which it remains to be seen whether the kernel compiles."""
    done = [a for a in answers if a.status == "passed"]
    late = [a for a in answers if a.status == "late" and not a.task.situation.draw]  # nobody is promised those
    failed = next((a for a in answers if a.status == "failed"), None)
    counted = done + ([failed] if failed is not None else [])
    found: dict[str, Any] = {
        "compared": "reference" if any(a.compared for a in counted) else "memory" if counted else "nothing",
        "cases": [_case(a).to_json() for a in counted],
    }
    if failed is not None:
        return {**found, "status": "failed", "detail": failed.detail}
    if idle := _idle(done):
        return {**found, "status": "failed", "detail": idle}
    found["not_run"] = [{k: v for k, v in _case(a).to_json().items() if k != "programs"} for a in late]
    found["doubts"] = [dict(a.task.situation.shapes) for a in answers if a.doubtful]
    if not done:
        reason = next((a.detail for a in answers if a.status == "skipped"), "")
        spent = f"not run: the {seconds:g} s {SPENT}"
        return {**found, "status": "skipped", "detail": reason or spent}
    plugin = next(c.plugin for c in network.calls if c.name == job["call"])
    why = "its tensors are too large" if catalog.for_plugin(plugin) else "the plugin has no recipe"
    if any(ROW_IN_PART in a.notes for a in done):
        why = ROW_IN_PART
    against = "against the reference" if found["compared"] == "reference" else f"memory accesses only: {why}"
    parts = [f"{against}, at {', '.join(_places(done))}", _programs(done)]
    parts += dict.fromkeys(note for a in done for note in a.notes if note != ROW_IN_PART)
    if late:
        parts.append(f"not run, for the {seconds:g} s {SPENT}: {', '.join(_late(late, done))}")
    reasons = dict.fromkeys(
        a.detail for a in answers if a.status == "skipped" and (a.task.situation.profile or a.doubtful)
    )
    parts += [f"not run: {reason}" for reason in reasons]
    return {**found, "status": "passed", "detail": "; ".join(parts)}


def _idle(done: Sequence[Answer]) -> str:
    """That an output was written nowhere: made-up indices explain that of some elements, but hardly of all, always."""
    whole = [a for a in done if a.run == a.of]
    always = [name for name in (whole[0].idle if whole else []) if all(name in a.idle for a in whole)]
    if not always:
        return ""
    return (
        f"no element of {' and '.join(always)} was written, at {', '.join(_places(whole))}; a recipe tells what "
        f"integers hold, if that is why; and x.shape has -1 for a dimension that is dynamic, x.shape_expr has the "
        f"dimension; {'; '.join(dict.fromkeys(n for a in whole for n in a.notes if 'made up' in n))}"
    )


def _case(answer: Answer) -> Case:
    at = answer.task.situation
    return Case(label=at.label, shapes=at.shapes, data=at.kind, run=answer.run, of=answer.of)


def _places(answers: Sequence[Answer], *, counts: bool = True) -> Iterator[str]:
    """``min x 1x48``, ``max x 8x4096 (64 of 512 programs)``, ``5 odd shapes``: each place once, the recipe's last."""
    odd: set[str] = set()
    places: dict[str, Answer] = {}
    for a in answers:
        shapes = " ".join(f"{n} {shape_text(s)}" for n, s in a.task.situation.shapes.items())
        if a.task.situation.label == "odd" and (not counts or a.run == a.of):
            odd.add(shapes)
            continue
        place = f"{a.task.situation.label} {shapes}"
        places[place] = max(places.get(place, a), a, key=lambda answer: answer.run)
    for place, a in places.items():
        yield f"{place} ({a.run:,} of {a.of:,} programs)" if counts and a.run < a.of else place
    if odd:
        yield f"{len(odd)} odd shape{'s' * (len(odd) > 1)}"


def _late(late: Sequence[Answer], done: Sequence[Answer]) -> Iterator[str]:
    """Places, and with which data, where they were run with other data."""
    ran = {(a.task.situation.label, str(a.task.situation.shapes)) for a in done}
    partly = [a for a in late if (a.task.situation.label, str(a.task.situation.shapes)) in ran]
    yield from _places([a for a in late if a not in partly], counts=False)
    for place in _places(partly, counts=False):
        yield f"{place} with special data"


def _programs(done: Sequence[Answer]) -> str:
    whole = {(a.task.situation.label, str(a.task.situation.shapes)) for a in done if a.run == a.of}
    partly = [a for a in done if a.run < a.of]
    if not partly:
        return "all programs"
    if not whole:
        return "elements that no program writes were not looked for, for no grid was run as a whole"
    if all((a.task.situation.label, str(a.task.situation.shapes)) in whole for a in partly):
        return "all programs, with some of the data a part of them"
    return "all programs at places without a number"
