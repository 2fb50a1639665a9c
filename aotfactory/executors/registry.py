# SPDX-License-Identifier: Apache-2.0
"""The executors there are: which artifact each runs, and what it still checks where there is no reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aotfactory.core.errors import ExecutorError

Artifact = Literal["bundle", "plan"]


@dataclass(frozen=True, kw_only=True)
class Executor:
    """One way to run an artifact.

    Attributes:
        artifact: What it runs.
        alone: What it shows of a kernel that has no reference.
    """

    name: str
    artifact: Artifact
    alone: str


EXECUTORS = (
    Executor(name="interpreter", artifact="bundle", alone="memory accesses"),
    Executor(name="launcher", artifact="bundle", alone="memory accesses"),
    Executor(name="trtexec", artifact="plan", alone="execution"),
    Executor(name="runner", artifact="plan", alone="memory accesses"),
)
"""In the order in which `validate` takes them."""

BY_NAME = {executor.name: executor for executor in EXECUTORS}


def names_for(artifact: Artifact) -> tuple[str, ...]:
    """The executors of bundles, or of plans."""
    return tuple(executor.name for executor in EXECUTORS if executor.artifact == artifact)


def choose(wanted: Sequence[str], artifact: Artifact) -> tuple[str, ...]:
    """The executors asked for, or all of the artifact's where none is.

    Raises:
        UsageError: One of them does not run such an artifact; the hint says which do.
    """
    offered = names_for(artifact)
    for name in wanted:
        if name not in offered:
            raise ExecutorError(f"executor {name} does not run a {artifact}", hint=f"use {' or '.join(offered)}")
    return tuple(wanted) or offered
