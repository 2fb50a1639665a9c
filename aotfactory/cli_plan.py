# SPDX-License-Identifier: Apache-2.0
"""What `run`, `validate` and `bench` do with a plan; `cli_run` has the commands, and does it with a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aotfactory.errors import UsageError
from aotfactory.terminal import Format, print_json, say, show

if TYPE_CHECKING:
    from rich.console import Console

    from aotfactory.checks import Check
    from aotfactory.data import Array
    from aotfactory.network import Shape
    from aotfactory.run.runner import RunnerOptions
    from aotfactory.run.trtexec import TrtexecOptions

TrtexecOption = Annotated[
    Path | None, typer.Option("--trtexec", metavar="PATH", help="For plans: trtexec, if not in the usual places.")
]
RootOption = Annotated[
    Path | None,
    typer.Option("--tensorrt-root", metavar="DIR", help="For plans: TensorRT's directory, if not $TENSORRT_ROOT."),
]
LeanOption = Annotated[bool, typer.Option("--lean", help="For plans: let the runner take the lean runtime.")]


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What runs a plan, as the options say."""

    trtexec: Path | None = None
    root: Path | None = None
    lean: bool = False

    def for_trtexec(self) -> TrtexecOptions:
        from aotfactory.run.trtexec import TrtexecOptions

        return TrtexecOptions(program=self.trtexec, root=self.root)

    def for_runner(self, **options: Any) -> RunnerOptions:
        from aotfactory.run.runner import RunnerOptions

        return RunnerOptions(tensorrt_root=self.root, lean=self.lean, **options)

    def require_none(self) -> None:
        """Refuse these options with a bundle."""
        for option, value in (("--trtexec", self.trtexec), ("--tensorrt-root", self.root), ("--lean", self.lean)):
            if value:
                raise UsageError(f"{option} is for plans", hint="a bundle takes no TensorRT")


def is_plan(path: Path) -> bool:
    return path.suffix == ".plan"


def validate(path: Path, plugins: list[str], executors: Sequence[str], tools: Tools, progress: Any) -> list[Check]:
    from aotfactory.validate_plan import EXECUTORS, validate_plan

    return validate_plan(
        path,
        plugins=plugins,
        executors=executors or tuple(EXECUTORS),
        trtexec=tools.for_trtexec(),
        runner=tools.for_runner(),
        progress=progress,
    )


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
    from aotfactory.plan_file import PlanFile
    from aotfactory.run.trtexec import cut_outputs
    from aotfactory.run.trtexec_report import trtexec_report
    from aotfactory.trials import require_executors

    require_executors([executor], ("runner", "trtexec"), "plan")
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
        show(lambda console: print_tensors(console, outputs, failures))
    return not failures


def bench(path: Path, tools: Tools, *, shapes: list[str], iterations: int, format: Format) -> None:
    from aotfactory.plan_file import PlanFile
    from aotfactory.run.launcher import Timing

    plan = PlanFile.read(path)
    options = tools.for_runner(timing=Timing(iterations=iterations, graph=True))
    report = plan.in_runner(options, shapes=shapes_by_name(path, plan.inputs, shapes)).report
    if format is Format.json:
        print_json(report)
    else:
        show(lambda console: _print_timing(console, report["timing"]))


def shapes_by_name(path: Path, inputs: Iterable[str], texts: Sequence[str]) -> dict[str, Shape]:
    """``NAME=shape``, where an artifact with one input needs no name."""
    from aotfactory.cli_shapes import named
    from aotfactory.targets import Request, check_names, parse_shape

    names, given = list(inputs), named("--shape", texts, parse_shape)
    check_names(Request(shape=given), names, path.name)
    return {name or names[0]: shape for name, shape in given.items()}


def print_tensors(console: Console, outputs: Mapping[str, Array], failures: Sequence[str]) -> None:
    """The outputs of a run, and what its checks found."""
    from rich.markup import escape

    for name, array in outputs.items():
        shape = "x".join(map(str, array.shape)) or "scalar"
        console.print(f"  {escape(name)}: {array.dtype} {shape}", highlight=False)
    for failure in failures:
        console.print(f"  [bold red]failed[/] {escape(failure)}", highlight=False)


def _print_timing(console: Console, timing: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("", "microseconds", "p5", "p95", "GB/s"):
        table.add_column(column, justify="right")
    for label, key in (("stream", ""), ("CUDA graph", "graph_")):
        if (times := timing.get(f"{key}us")) is not None:
            numbers = [f"{times[point]:.2f}" for point in ("median", "p5", "p95")]
            table.add_row(label, *numbers, f"{timing[f'{key}gb_per_s']:.0f}")
    console.print(table)
