# SPDX-License-Identifier: Apache-2.0
"""`run` and `bench` for a plan; the commands themselves are in `cli/run.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from aotfactory.cli.options import Tools, shapes_by_name
from aotfactory.cli.terminal import Format, print_json, say, show

if TYPE_CHECKING:
    pass


def run(
    path: Path,
    executor: str,
    tools: Tools,
    *,
    inputs: Mapping[str, Path],
    shapes: list[str],
    output_dir: Path | None,
    seed: int,
    format: Format,
) -> bool:
    """Run and print; whether every check passed."""
    from aotfactory.api.executors import choose
    from aotfactory.executors.trtexec.command import cut_outputs
    from aotfactory.executors.trtexec.report import trtexec_report
    from aotfactory.plan.plan_file import PlanFile

    choose([executor], "plan")
    plan = PlanFile.read(path)
    given = shapes_by_name(path, plan.inputs, shapes)
    if executor == "runner":
        options = tools.for_runner(seed=seed)
        result = plan.in_runner(options, inputs=inputs, shapes=given, output_dir=output_dir, check=False)
        report, outputs, failures = result.report, result.outputs, result.failures
    else:
        done = plan.in_trtexec(tools.for_trtexec(), inputs=plan.make_inputs(inputs, given, seed=seed))
        report, outputs, failures = trtexec_report(done, output_dir), done.outputs, []
        for name in cut_outputs(plan.network):
            say(f"{name} is left out: trtexec writes no output whole whose shape depends on data; the runner does")
    if format is Format.json:
        print_json(report)
    else:
        from aotfactory.cli.tables.runs import print_tensors

        show(lambda console: print_tensors(console, outputs, failures))
    return not failures


def bench(path: Path, tools: Tools, *, shapes: list[str], iterations: int, format: Format) -> None:
    from aotfactory.executors.native.program import Timing
    from aotfactory.plan.plan_file import PlanFile

    plan = PlanFile.read(path)
    options = tools.for_runner(timing=Timing(iterations=iterations, graph=True))
    report = plan.in_runner(options, shapes=shapes_by_name(path, plan.inputs, shapes)).report
    if format is Format.json:
        print_json(report)
    else:
        from aotfactory.cli.tables.runs import print_timing

        show(lambda console: print_timing(console, report["timing"]))
