# SPDX-License-Identifier: Apache-2.0
"""The runner as an executor of plans."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from aotfactory.core.network import Network, Point
from aotfactory.core.recipe import Tolerance
from aotfactory.executors.cases import Trial
from aotfactory.executors.inputs import Array
from aotfactory.executors.native.runner import RunnerOptions, build_runner
from aotfactory.plan.executor import PlanExecutor
from aotfactory.plan.plan_file import PlanFile


@dataclass(frozen=True)
class Runner:
    """Runs a plan in a process without Python, over guarded memory: that shows something without a reference too."""

    options: RunnerOptions
    needs_reference: bool = False

    def require(self) -> None:
        if self.options.program is None:
            build_runner(tensorrt_root=self.options.tensorrt_root)

    def run(self, plan: PlanFile, trial: Trial, tolerances: Collection[Tolerance]) -> Mapping[str, Array]:
        return plan.in_runner(self.options, inputs=trial.inputs).outputs

    def run_at_random(self, plan: PlanFile, point: Point) -> None:
        plan.in_runner(replace(self.options, at=point))

    def remark(self, network: Network) -> str:
        return ""


def make(options: RunnerOptions | None) -> PlanExecutor:
    return Runner(options or RunnerOptions())
