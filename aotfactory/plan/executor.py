# SPDX-License-Identifier: Apache-2.0
"""The protocol of executors of plans."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from aotfactory.core.network import Network, Point
from aotfactory.core.recipe import Tolerance
from aotfactory.executors.cases import Trial
from aotfactory.executors.inputs import Array
from aotfactory.plan.plan_file import PlanFile


class PlanExecutor(Protocol):
    """Runs plans in its own way; `api/validate_plan.py` judges their outputs."""

    @property
    def needs_reference(self) -> bool:
        """Whether a run shows nothing by itself."""
        ...

    def require(self) -> None:
        """Raises MissingError where this machine lacks the program."""
        ...

    def run(self, plan: PlanFile, trial: Trial, tolerances: Collection[Tolerance]) -> Mapping[str, Array]:
        """The outputs of one run.

        Args:
            tolerances: All of the outputs'.

        Raises:
            CheckError: The run itself failed.
        """
        ...

    def run_at_random(self, plan: PlanFile, point: Point) -> None:
        """Run it on random data of its own; raises as `run` does. Only where no reference is needed."""
        ...

    def remark(self, network: Network) -> str:
        """Outputs that it does not give, and why; empty where it gives all."""
        ...
