# SPDX-License-Identifier: Apache-2.0
"""Is an artifact right? Every executor that this machine has runs it, against the recipes' references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from aotfactory.api import reinterpreted
from aotfactory.api.outcome import NO_GPU, TOO_LARGE, catalog_for, passed
from aotfactory.compiler import bundle
from aotfactory.compiler.manifest import Bundle
from aotfactory.core import check as checks
from aotfactory.core import cuda
from aotfactory.core.check import Check
from aotfactory.core.errors import CheckError, EmptyBundleError
from aotfactory.executors import reference
from aotfactory.executors.cases import trials
from aotfactory.executors.effort import DEFAULT_EFFORT, Effort
from aotfactory.executors.inputs import Array
from aotfactory.executors.native.launcher import build_launcher, run_launcher
from aotfactory.executors.registry import choose, names_for
from aotfactory.plugins.catalog import Catalog

EXECUTORS = names_for("bundle")


def validate(
    path: Path,
    *,
    plugins: Iterable[str] = (),
    executors: Sequence[str] = EXECUTORS,
    progress: Callable[[str], None] = lambda text: None,
    effort: Effort = DEFAULT_EFFORT,
) -> list[Check]:
    """Validate a bundle.

    Args:
        path: The bundle's directory.
        effort: What the interpreter may take.
        executors: Which of `EXECUTORS` to use; one that this machine lacks gives a skipped check with the reason.

    Raises:
        UsageError: There is no bundle, or an executor is not for bundles.
        DefinitionError: The bundle is damaged.
    """
    executors = choose(executors, "bundle")
    made = bundle.read(path)
    if not made.network.calls or not made.variants:
        raise EmptyBundleError("the bundle has no kernels", where=str(path), hint="compile it again")
    catalog = catalog_for(made.network, plugins)
    found: list[Check] = []
    if "interpreter" in executors:
        progress("interpreter")
        found += reinterpreted.check(made, catalog, effort, progress)
    if "launcher" in executors:
        found += _launcher(path, made, catalog, progress)
    return found


def _launcher(path: Path, made: Bundle, catalog: Catalog, progress: Callable[[str], None]) -> list[Check]:
    """Run every tactic on the GPU at the profile's shapes, and the Python-free check."""
    if cuda.cuda_device_count() == 0:
        return [
            Check(name="launcher", subject=path.name, status="skipped", detail=NO_GPU, compared="nothing"),
            Check(name="python-free", subject=path.name, status="skipped", detail=NO_GPU),
        ]
    network = made.network
    labels: list[str] = []
    tactics: set[int] = set()
    wrong: dict[int, str] = {}
    compared = True
    for trial in trials(network, catalog):
        progress(f"launcher at {trial.label}, {trial.kind} data")
        try:
            result = run_launcher(path, inputs=trial.inputs, tactic="all", check=False)
        except CheckError as error:
            return [
                Check(
                    name="launcher",
                    subject=path.name,
                    status="failed",
                    detail=f"{error.message}; at {trial}",
                    compared="memory",
                )
            ]
        for run in result.runs:
            tactics.add(run.tactic)
            found = "; ".join(run.failures)
            found = found or reference.compare(network, catalog.for_plugin, run.outputs, trial.expected) or ""
            if found:
                wrong[run.tactic] = f"{found}; at {trial}"
        labels.append(trial.label)
        compared = compared and bool(trial.expected)
    if not labels:
        return [
            Check(name="launcher", subject=path.name, status="skipped", detail=TOO_LARGE, compared="nothing"),
            python_free(path),
        ]
    launched = [
        Check(
            name="launcher",
            subject=f"{network.name} tactic {tactic}",
            status="failed" if tactic in wrong else "passed",
            detail=wrong.get(tactic) or passed(labels, "" if compared else "memory accesses"),
            compared="reference" if compared else "memory",
        )
        for tactic in sorted(tactics)
    ]
    return [*launched, python_free(path, trial.inputs)]


def python_free(path: Path, inputs: Mapping[str, Array] | None = None) -> Check:
    """Run the launcher with an empty environment; its memory map must show no Python, Triton or TensorRT library.

    Args:
        inputs: By default the launcher's own, which a kernel that reads indices of some other kind may not take.
    """
    result = run_launcher(path, inputs=inputs or {}, env={}, launcher=build_launcher(), check=False)
    return checks.python_free(path.name, result.report["libraries"], tensorrt=False)
