# SPDX-License-Identifier: Apache-2.0
"""The steps after an engine's bundle: its plan, and its run on a GPU. Here one at a time; a cluster has many GPUs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from aotfactory.api.farm_file import Engine
from aotfactory.api.farm_ledger import Made
from aotfactory.core import check as checks
from aotfactory.core.check import Check
from aotfactory.core.errors import AotError, EngineError


class Later(Protocol):
    """A step that is under way elsewhere."""

    def ready(self) -> bool:
        """Whether `result` need not wait."""
        ...

    def result(self) -> Sequence[Check]:
        """The step's checks, once it is done. Raises AotError if it went wrong."""
        ...

    def cancel(self) -> None:
        """Give it up."""
        ...


Bake = Callable[[Path, Engine], Later | None]
"""Makes the plan of a bundle."""

Validate = Callable[[Path, Engine], Sequence[Check] | Later]
"""Runs a bundle on a GPU; a check that is skipped says why it was not."""


class Steps:
    """The steps of a farm's engines, under way and to come.

    Args:
        out: The farm's directory.
        steps: In their order; a later one is not begun where one before it went wrong at once.
        settled: Told of each engine when all its steps are done, in the order in which they were begun.
        stop: Asked before each engine; true: tell of no more.
    """

    def __init__(
        self,
        out: Path,
        steps: Sequence[Bake | Validate | None],
        settled: Callable[[Made], None],
        stop: Callable[[], bool],
    ) -> None:
        self._out, self._steps, self._settled, self._stop = out, [s for s in steps if s], settled, stop
        self._under_way: deque[tuple[Made, list[Sequence[Check] | Later]]] = deque()

    def begin(self, made: Made) -> None:
        """Begin all that follows an engine; where it went wrong already, nothing does."""
        begun: list[Sequence[Check] | Later] = []
        for step in self._steps if made.status in ("built", "cached") else ():
            try:
                begun.append(step(self._out / f"{made.engine.name}.aot", made.engine) or ())
            except AotError as error:
                made = replace(made, status="error", error=error)
                break
        self._under_way.append((made, begun))
        self.settle()

    def settle(self, *, wait: bool = False) -> None:
        """Tell of the engines that are done; with `wait`, of all."""
        while self._under_way and not self._stop():
            made, begun = self._under_way[0]
            if not (wait or all(isinstance(step, Sequence) or step.ready() for step in begun)):
                return
            for step in begun:
                if made.error is None:
                    made = _after(made, step)
            self._under_way.popleft()
            self._settled(made)

    def cancel(self) -> None:
        """Give up what is under way."""
        for _, begun in self._under_way:
            for step in begun:
                if not isinstance(step, Sequence):
                    step.cancel()


def _after(made: Made, step: Sequence[Check] | Later) -> Made:
    """The same engine, with what a step found among its checks."""
    try:
        found = step if isinstance(step, Sequence) else step.result()
    except AotError as error:
        return replace(made, status="error", error=error)
    if not found:
        return made
    report = dict(made.report or {})
    report["checks"] = [*report.get("checks", ()), *(check.to_json() for check in found)]
    made = replace(made, report=report)
    wrong = checks.failed(found)
    return replace(made, status="failed", error=first_failure(wrong)) if wrong else made


def first_failure(wrong: Sequence[Check]) -> AotError:
    """The first of failed checks as an error."""
    return EngineError(f"{wrong[0].name} of {wrong[0].subject}: {wrong[0].detail}")
