# SPDX-License-Identifier: Apache-2.0
"""Is an artifact right? Every executor that this machine has runs it, against the recipes' references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from aotfactory.api.executors import EXECUTORS, choose
from aotfactory.api.outcome import catalog_for
from aotfactory.compiler import bundle
from aotfactory.core.check import Check
from aotfactory.core.errors import EmptyBundleError
from aotfactory.executors.effort import DEFAULT_EFFORT, Effort
from aotfactory.executors.executor import BundleExecutor, BundleJob


def validate(
    path: Path,
    *,
    plugins: Iterable[str] = (),
    executors: Sequence[str] = (),
    progress: Callable[[str], None] = lambda text: None,
    effort: Effort = DEFAULT_EFFORT,
) -> list[Check]:
    """Validate a bundle.

    Args:
        path: The bundle's directory.
        effort: What the interpreter may take.
        executors: Which to use, by default all that run bundles; one that this machine lacks gives a skipped check with
            the reason.

    Raises:
        UsageError: There is no bundle, or an executor is not for bundles.
        DefinitionError: The bundle is damaged.
    """
    executors = choose(executors, "bundle")
    made = bundle.read(path)
    if not made.network.calls or not made.variants:
        raise EmptyBundleError("the bundle has no kernels", where=str(path), hint="compile it again")
    catalog = catalog_for(made.network, plugins)
    job = BundleJob(path=path, bundle=made, catalog=catalog, effort=effort, progress=progress)
    return run_executors(executors, job)


def run_executors(names: Iterable[str], job: BundleJob) -> list[Check]:
    """The checks of these executors of bundles, in the order of the registry."""
    found: list[Check] = []
    for executor in EXECUTORS:
        if executor.name in names:
            module: BundleExecutor = executor.load()
            found += module.check(job)
    return found
