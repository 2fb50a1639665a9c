# SPDX-License-Identifier: Apache-2.0
"""trtexec as an executor of plans."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from aotfactory.core.network import Network, Point
from aotfactory.core.recipe import Tolerance
from aotfactory.executors import reference
from aotfactory.executors.cases import Trial
from aotfactory.executors.inputs import Array
from aotfactory.executors.trtexec.command import TrtexecOptions, cut_outputs, find_trtexec
from aotfactory.plan.executor import PlanExecutor
from aotfactory.plan.plan_file import PlanFile


@dataclass(frozen=True)
class Trtexec:
    """Runs a plan with NVIDIA's own program; it shows nothing of memory, so its outputs need a reference."""

    options: TrtexecOptions
    needs_reference: bool = True

    def require(self) -> None:
        find_trtexec(self.options.program, self.options.root)

    def run(self, plan: PlanFile, trial: Trial, tolerances: Collection[Tolerance]) -> Mapping[str, Array]:
        # Its own comparison has one tolerance for all outputs, and nobody says what it makes of NaN.
        own = trial.kind == "random" and len(tolerances) == 1
        outputs = [t for t in plan.network.outputs if t.name in trial.expected] if own else []
        references = {t.name: reference.rounded(trial.expected[t.name], t) for t in outputs}
        tolerance = next(iter(tolerances)) if own else None
        return plan.in_trtexec(self.options, inputs=trial.inputs, references=references, tolerance=tolerance).outputs

    def run_at_random(self, plan: PlanFile, point: Point) -> None:
        raise NotImplementedError

    def remark(self, network: Network) -> str:
        cut = cut_outputs(network)
        why = "trtexec writes no output whole whose shape depends on data"
        return f"without {', '.join(cut)}: {why}" if cut else ""


def make(options: TrtexecOptions | None) -> PlanExecutor:
    """With one inference a run, which is enough to see what comes out."""
    return Trtexec(replace(options or TrtexecOptions(), iterations=1, duration=0, warmup=0))
