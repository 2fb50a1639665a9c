# SPDX-License-Identifier: Apache-2.0
"""Is a plan right? trtexec and the runner run it against the recipes' references; its record keeps what they found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aotfactory.api.executors import BY_NAME, choose
from aotfactory.api.outcome import Outcome, catalog_for
from aotfactory.core import check as checks
from aotfactory.core import cuda
from aotfactory.core.check import Check, passed_at
from aotfactory.core.errors import NoGpuError, ProgramError
from aotfactory.core.network import POINTS
from aotfactory.executors import reference
from aotfactory.executors.cases import TOO_LARGE, trials
from aotfactory.executors.executor import NO_GPU
from aotfactory.executors.native.runner import RunnerOptions
from aotfactory.executors.trtexec.command import TrtexecOptions
from aotfactory.plan import record as provenance
from aotfactory.plan.executor import PlanExecutor
from aotfactory.plan.plan_file import PlanFile
from aotfactory.plugins.catalog import Catalog

KEPT = ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
"""Where TensorRT's library is, and which GPU the plan is for: all of the environment that `python-free` leaves."""


Progress = Callable[[str], None]
Programs = Mapping[str, PlanExecutor]
"""Executors by name."""


def validate_plan(
    path: Path,
    *,
    plugins: Iterable[str] = (),
    executors: Sequence[str] = (),
    trtexec: TrtexecOptions | None = None,
    runner: RunnerOptions | None = None,
    progress: Progress = lambda text: None,
) -> list[Check]:
    """Validate a plan, and add the checks to its record.

    Args:
        plugins: Modules with recipes, as for ``--plugins``.
        executors: Which to use, by default all; one that this machine lacks gives a skipped check with the reason.

    Raises:
        CheckError: Plan, record and bundle disagree.
        UsageError: There is no plan or record, or it cannot be written, or an executor is not for plans.
        DefinitionError: The record is damaged.
    """
    names = choose(executors, "plan")
    plan = PlanFile.read(path)
    options: dict[str, Any] = {"trtexec": trtexec, "runner": runner}
    programs: Programs = {name: BY_NAME[name].load().make(options.get(name)) for name in names}
    outcome = Outcome(path.name, [*names, *(["python-free"] if "runner" in names else [])])
    why = plan.needs_python or ("" if cuda.cuda_device_count() else NO_GPU)
    for name in outcome.open:
        with outcome.of(name):
            if why:
                raise NoGpuError(why)
            if name in programs:
                programs[name].require()
    if plan.whole:
        _against_references(plan, outcome, programs, catalog_for(plan.network, plugins), progress)
    else:
        _at_random(plan, outcome, programs, progress)
    if "python-free" in outcome.open:
        with outcome.of("python-free"):
            outcome.found["python-free"] = _python_free(plan, runner or RunnerOptions())
    provenance.add_checks(path, outcome.checks)
    return outcome.checks


def _against_references(
    plan: PlanFile, outcome: Outcome, programs: Programs, catalog: Catalog, progress: Progress
) -> None:
    network = plan.network
    tolerances = set(reference.tolerances(network, catalog.for_plugin).values())
    labels: list[str] = []
    compared = True
    for trial in trials(network, catalog) if outcome.running else ():
        for name in outcome.running:
            progress(f"{name} at {trial.label}, {trial.kind} data")
            with outcome.of(name, at=trial):
                got = programs[name].run(plan, trial, tolerances)
                if wrong := reference.compare(network, catalog.for_plugin, got, trial.expected):
                    raise ProgramError(wrong)
        labels.append(trial.label)
        compared = compared and bool(trial.expected)
    for name in outcome.running:
        if labels:
            parts = (passed_at(labels, "" if compared else BY_NAME[name].alone), programs[name].remark(network))
            outcome.settle(name, "passed", "; ".join(filter(None, parts)))
        else:
            outcome.settle(name, "skipped", TOO_LARGE)


def _at_random(plan: PlanFile, outcome: Outcome, programs: Programs, progress: Progress) -> None:
    """A model with other nodes than the plugins', so that its outputs have no reference."""
    why = "the model has nodes besides the plugins', for which there is no reference"
    for name in outcome.running:
        if programs[name].needs_reference:
            outcome.settle(name, "skipped", why)
    points = [p for i, p in enumerate(POINTS) if all(plan.shapes(p) != plan.shapes(q) for q in POINTS[:i])]
    for point in points:
        for name in outcome.running:
            progress(f"{name} at {point}")
            with outcome.of(name, at=point):
                programs[name].run_at_random(plan, point)
    for name in outcome.running:
        outcome.settle(name, "passed", f"{BY_NAME[name].alone} only: {why}; at {', '.join(points)}")


def _python_free(plan: PlanFile, options: RunnerOptions) -> Check:
    """Run it with next to no environment, and look at what the process has loaded."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    result = plan.in_runner(replace(options, env=kept), check=False)
    return checks.python_free(plan.path.name, result.report["libraries"], tensorrt=True, environment=kept)
