# SPDX-License-Identifier: Apache-2.0
"""The `launcher` check of a bundle: every tactic on the GPU, against the references; and `python-free`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aotfactory.core import check as checks
from aotfactory.core import cuda
from aotfactory.core.check import Check, passed_at
from aotfactory.core.errors import CheckError
from aotfactory.executors import reference
from aotfactory.executors.cases import TOO_LARGE, trials
from aotfactory.executors.executor import NO_GPU, BundleJob
from aotfactory.executors.inputs import Array
from aotfactory.executors.native.launcher import build_launcher, run_launcher


def check(job: BundleJob) -> list[Check]:
    """One check for each tactic, and the Python-free check; on given data, one for all of them."""
    if cuda.cuda_device_count() == 0:
        without = [_of(job, "skipped", NO_GPU, "nothing")]
        free = Check(name="python-free", subject=job.path.name, status="skipped", detail=NO_GPU)
        return without if job.given is not None else [*without, free]
    if job.given is not None:
        return [_on_given(job, job.given)]
    labels: list[str] = []
    tactics: set[int] = set()
    wrong: dict[int, str] = {}
    compared = True
    last: Mapping[str, Array] | None = None
    for trial in trials(job.bundle.network, job.catalog):
        job.progress(f"launcher at {trial.label}, {trial.kind} data")
        try:
            for tactic, problem in _run(job, trial.inputs, trial.expected):
                tactics.add(tactic)
                if problem:
                    wrong[tactic] = f"{problem}; at {trial}"
        except CheckError as error:
            return [_of(job, "failed", f"{error.message}; at {trial}", "memory")]
        labels.append(trial.label)
        compared = compared and bool(trial.expected)
        last = trial.inputs
    if last is None:
        return [_of(job, "skipped", TOO_LARGE, "nothing"), python_free(job.path)]
    launched = [
        Check(
            name="launcher",
            subject=f"{job.bundle.network.name} tactic {tactic}",
            status="failed" if tactic in wrong else "passed",
            detail=wrong.get(tactic) or passed_at(labels, "" if compared else "memory accesses"),
            compared="reference" if compared else "memory",
        )
        for tactic in sorted(tactics)
    ]
    return [*launched, python_free(job.path, last)]


def _on_given(job: BundleJob, given: Mapping[str, Array]) -> Check:
    job.progress("launcher")
    expected = reference.outputs(job.bundle.network, job.catalog.for_plugin, given)
    try:
        for tactic, problem in _run(job, given, expected):
            if problem:
                return _of(job, "failed", f"tactic {tactic}: {problem}", "reference")
    except CheckError as error:
        return _of(job, "failed", error.message, "memory")
    return _of(job, "passed", "on the tensors of the model", "reference")


def _run(job: BundleJob, inputs: Mapping[str, Array], expected: Mapping[str, Array]) -> Iterator[tuple[int, str]]:
    """Each tactic, and what is wrong with it."""
    for run in run_launcher(job.path, inputs=inputs, tactic="all", check=False).runs:
        found = reference.compare(job.bundle.network, job.catalog.for_plugin, run.outputs, expected)
        yield run.tactic, "; ".join(run.failures) or found or ""


def _of(job: BundleJob, status: Any, detail: str, compared: Any) -> Check:
    return Check(name="launcher", subject=job.path.name, status=status, detail=detail, compared=compared)


def python_free(path: Path, inputs: Mapping[str, Array] | None = None) -> Check:
    """Run the launcher with an empty environment; its memory map must show no Python, Triton or TensorRT library.

    Args:
        inputs: By default the launcher's own, which a kernel that reads indices of some other kind may not take.
    """
    result = run_launcher(path, inputs=inputs or {}, env={}, launcher=build_launcher(), check=False)
    return checks.python_free(path.name, result.report["libraries"], tensorrt=False)
