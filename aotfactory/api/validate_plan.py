# SPDX-License-Identifier: Apache-2.0
"""Is a plan right? trtexec and the runner run it against the recipes' references; its record keeps what they found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aotfactory.api.outcome import NO_GPU, TOO_LARGE, Outcome, catalog_for, passed
from aotfactory.core import check as checks
from aotfactory.core import cuda
from aotfactory.core.check import Check
from aotfactory.core.errors import NoGpuError, ProgramError
from aotfactory.core.network import POINTS
from aotfactory.executors import reference
from aotfactory.executors.cases import Trial, trials
from aotfactory.executors.inputs import Array
from aotfactory.executors.native.runner import RunnerOptions, build_runner
from aotfactory.executors.registry import BY_NAME, choose, names_for
from aotfactory.executors.trtexec.command import TrtexecOptions, cut_outputs, find_trtexec
from aotfactory.plan import record as provenance
from aotfactory.plan.plan_file import PlanFile

KEPT = ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
"""Where TensorRT's library is, and which GPU the plan is for: all of the environment that `python-free` leaves."""


Progress = Callable[[str], None]


def validate_plan(
    path: Path,
    *,
    plugins: Iterable[str] = (),
    executors: Sequence[str] = names_for("plan"),
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
    executors = choose(executors, "plan")
    plan = PlanFile.read(path)
    # One inference is enough to see what comes out.
    trtexec = replace(trtexec or TrtexecOptions(), iterations=1, duration=0, warmup=0)
    runner = runner or RunnerOptions()
    outcome = Outcome(path.name, [*executors, *(["python-free"] if "runner" in executors else [])])
    why = plan.needs_python or ("" if cuda.cuda_device_count() else NO_GPU)
    for name in outcome.open:
        with outcome.of(name):
            if why:
                raise NoGpuError(why)
            if name == "trtexec":
                find_trtexec(trtexec.program, trtexec.root)
            elif runner.program is None:
                build_runner(tensorrt_root=runner.tensorrt_root)
    if plan.whole:
        _against_references(plan, outcome, plugins, trtexec, runner, progress)
    else:
        _at_random(plan, outcome, runner, progress)
    if "python-free" in outcome.open:
        with outcome.of("python-free"):
            outcome.found["python-free"] = _python_free(plan, runner)
    provenance.add_checks(path, outcome.checks)
    return outcome.checks


def _against_references(
    plan: PlanFile,
    outcome: Outcome,
    plugins: Iterable[str],
    trtexec: TrtexecOptions,
    runner: RunnerOptions,
    progress: Progress,
) -> None:
    network, catalog = plan.network, catalog_for(plan.network, plugins)
    tolerances = set(reference.tolerances(network, catalog.for_plugin).values())

    def execute(name: str, trial: Trial) -> Mapping[str, Array]:
        if name == "runner":
            return plan.in_runner(runner, inputs=trial.inputs).outputs
        # Its own comparison has one tolerance for all outputs, and nobody says what it makes of NaN.
        own = trial.kind == "random" and len(tolerances) == 1
        outputs = [t for t in network.outputs if t.name in trial.expected] if own else []
        references = {t.name: reference.rounded(trial.expected[t.name], t) for t in outputs}
        tolerance = next(iter(tolerances)) if own else None
        return plan.in_trtexec(trtexec, inputs=trial.inputs, references=references, tolerance=tolerance).outputs

    labels: list[str] = []
    compared = True
    for trial in trials(network, catalog) if outcome.running else ():
        for name in outcome.running:
            progress(f"{name} at {trial.label}, {trial.kind} data")
            with outcome.of(name, at=trial):
                got = execute(name, trial)
                if wrong := reference.compare(network, catalog.for_plugin, got, trial.expected):
                    raise ProgramError(wrong)
        labels.append(trial.label)
        compared = compared and bool(trial.expected)
    for name in outcome.running:
        if labels:
            detail = passed(labels, "" if compared else BY_NAME[name].alone)
            if name == "trtexec" and (cut := cut_outputs(network)):
                detail += f"; without {', '.join(cut)}: trtexec writes no output whole whose shape depends on data"
            outcome.settle(name, "passed", detail)
        else:
            outcome.settle(name, "skipped", TOO_LARGE)


def _at_random(plan: PlanFile, outcome: Outcome, runner: RunnerOptions, progress: Progress) -> None:
    """A model with other nodes than the plugins', of whose outputs there is no reference."""
    why = "the model has nodes besides the plugins', for which there is no reference"
    if "trtexec" in outcome.open:
        outcome.settle("trtexec", "skipped", why)
    points = [p for i, p in enumerate(POINTS) if all(plan.shapes(p) != plan.shapes(q) for q in POINTS[:i])]
    for point in points:
        if "runner" in outcome.open:
            progress(f"runner at {point}")
            with outcome.of("runner", at=point):
                plan.in_runner(replace(runner, at=point))
    if "runner" in outcome.open:
        outcome.settle("runner", "passed", f"memory accesses only: {why}; at {', '.join(points)}")


def _python_free(plan: PlanFile, options: RunnerOptions) -> Check:
    """Run it with next to no environment, and look at what the process has loaded."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    result = plan.in_runner(replace(options, env=kept), check=False)
    return checks.python_free(plan.path.name, result.report["libraries"], tensorrt=True, environment=kept)
