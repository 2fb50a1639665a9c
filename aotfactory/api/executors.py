# SPDX-License-Identifier: Apache-2.0
"""The executors there are: which artifact each runs, where it is, and what it checks where there is no reference."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aotfactory.core.errors import ExecutorError

Artifact = Literal["bundle", "plan"]


@dataclass(frozen=True, kw_only=True)
class Executor:
    """One way to run an artifact.

    Attributes:
        artifact: What it runs.
        home: Its module: a `BundleExecutor`, or one that makes a `PlanExecutor` by `make(options)`.
        alone: What it shows of a kernel that has no reference.
    """

    name: str
    artifact: Artifact
    home: str
    alone: str

    def load(self) -> Any:
        """The module; they take longer to load than a command line to read."""
        return importlib.import_module(f"aotfactory.{self.home}")


EXECUTORS = (
    Executor(
        name="interpreter",
        artifact="bundle",
        home="executors.interpreter.bundle_check",
        alone="memory accesses",
    ),
    Executor(name="launcher", artifact="bundle", home="executors.native.launcher_check", alone="memory accesses"),
    Executor(name="trtexec", artifact="plan", home="plan.in_trtexec", alone="execution"),
    Executor(name="runner", artifact="plan", home="plan.in_runner", alone="memory accesses"),
)
"""In the order in which `validate` takes them."""

BY_NAME = {executor.name: executor for executor in EXECUTORS}


def names_for(artifact: Artifact) -> tuple[str, ...]:
    """The executors of bundles, or of plans."""
    return tuple(executor.name for executor in EXECUTORS if executor.artifact == artifact)


def choose(wanted: Sequence[str], artifact: Artifact) -> tuple[str, ...]:
    """Names of the executors asked for, or of all of the artifact's where none is.

    Raises:
        UsageError: One of them does not run such an artifact; the hint says which do.
    """
    offered = names_for(artifact)
    for name in wanted:
        if name not in offered:
            raise ExecutorError(f"executor {name} does not run a {artifact}", hint=f"use {' or '.join(offered)}")
    return tuple(wanted) or offered
