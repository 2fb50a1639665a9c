# SPDX-License-Identifier: Apache-2.0
"""The protocol of executors of bundles: each runs a bundle's kernels in its own way, and judges what they did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aotfactory.compiler.manifest import Bundle
from aotfactory.core.check import Check
from aotfactory.executors.effort import Effort
from aotfactory.executors.inputs import Array
from aotfactory.plugins.catalog import Catalog

NO_GPU = "no GPU or NVIDIA driver on this machine"


@dataclass(frozen=True, kw_only=True)
class BundleJob:
    """A bundle to judge.

    Attributes:
        path: Its directory.
        catalog: The recipes of its plugins, which have the references.
        effort: What an executor without a GPU may take.
        progress: Told what is being done.
        given: Data of all inputs, to run the bundle on once, in place of the recipes' cases.
    """

    path: Path
    bundle: Bundle
    catalog: Catalog
    effort: Effort
    progress: Callable[[str], None]
    given: Mapping[str, Array] | None = None


class BundleExecutor(Protocol):
    """A module of this room that runs bundles."""

    def check(self, job: BundleJob) -> list[Check]:
        """Run a bundle, and compare its outputs with the references there are.

        Returns:
            Checks under the executor's name; skipped ones, with the reason, where this machine lacks something.

        Raises:
            AotError: It cannot be told.
        """
        ...
