# SPDX-License-Identifier: Apache-2.0
"""The commands that run an artifact: `run`, `validate`, `bench`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aotfactory import cli_plan
from aotfactory.cli_plan import LeanOption, RootOption, Tools, TrtexecOption, is_plan, print_tensors, shapes_by_name
from aotfactory.errors import UsageError
from aotfactory.terminal import Format, print_json, show, working

if TYPE_CHECKING:
    from rich.console import Console

    from aotfactory.checks import Check
    from aotfactory.network import Shape
    from aotfactory.run.launcher import LaunchResult


class Executor(str, enum.Enum):
    """What can run an artifact: the first two a bundle, the others a plan."""

    interpreter = "interpreter"
    launcher = "launcher"
    runner = "runner"
    trtexec = "trtexec"


Artifact = Annotated[
    Path,
    typer.Argument(metavar="PATH", help="A bundle, engines/NAME.aot, or a plan, NAME.plan.", show_default=False),
]
Plugins = Annotated[list[str], typer.Option("--plugins", metavar="PATH[:FUNC]", help="A module with recipes.")]
Shapes = Annotated[
    list[str], typer.Option("--shape", metavar="[NAME=]1x3x32x32", help="Shape of an input that gets random data.")
]
Tactic = Annotated[int | None, typer.Option("--tactic", help="Only this tactic.")]
FormatOption = Annotated[Format, typer.Option("--format", help="JSON goes to stdout, everything else to stderr.")]


def run(
    path: Artifact,
    input: Annotated[list[str], typer.Option("--input", metavar="NAME=FILE.npy", help="Data of an input.")] = [],  # noqa: B006
    shape: Shapes = [],  # noqa: B006
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", metavar="DIR", help="Where the outputs go, as NAME.npy.")
    ] = None,
    tactic: Tactic = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random data.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Evaluate shapes and launches; needs no GPU.")] = False,
    executor: Annotated[
        Executor | None, typer.Option("--executor", help="A bundle's is launcher; a plan's runner or trtexec.")
    ] = None,
    trtexec: TrtexecOption = None,
    tensorrt_root: RootOption = None,
    lean: LeanOption = False,
    format: FormatOption = Format.text,
) -> None:
    """Run a bundle or plan on the GPU by a C++ program: a bundle takes the CUDA driver alone, a plan TensorRT."""
    tools = Tools(trtexec=trtexec, root=tensorrt_root, lean=lean)
    inputs = {name: Path(file) for name, file in _pairs(input, "--input").items()}
    if is_plan(path):
        _refuse_launches(tactic, dry_run)
        by = executor.value if executor else "runner"
        right = cli_plan.run(
            path, by, tools, inputs=inputs, shapes=shape, output_dir=output_dir, seed=seed, format=format
        )
        raise typer.Exit(0 if right else 1)
    from aotfactory.run.launcher import run_launcher
    from aotfactory.trials import require_executors

    tools.require_none()
    require_executors([executor.value] if executor else [], ("launcher",), "bundle")
    _require_bundle(path)
    result = run_launcher(
        path,
        inputs=inputs,
        shapes=_shapes(path, shape),
        output_dir=output_dir,
        tactic=tactic,
        seed=seed,
        dry_run=dry_run,
        check=False,
    )
    if format is Format.json:
        print_json(result.report)
    else:
        show(lambda console: _print_run(console, result))
    raise typer.Exit(0 if result.passed else 1)


def validate(
    path: Artifact,
    plugins: Plugins = [],  # noqa: B006
    executor: Annotated[list[Executor], typer.Option("--executor", help="Only this executor; repeatable.")] = [],  # noqa: B006
    trtexec: TrtexecOption = None,
    tensorrt_root: RootOption = None,
    lean: LeanOption = False,
    format: FormatOption = Format.text,
) -> None:
    """Compare a bundle or plan with its reference, by every executor that this machine has."""
    tools = Tools(trtexec=trtexec, root=tensorrt_root, lean=lean)
    wanted = [e.value for e in executor]
    with working() as progress:
        from aotfactory.checks import failed

        if is_plan(path):
            checks = cli_plan.validate(path, plugins, wanted, tools, progress)
        else:
            from aotfactory import validate as validating

            tools.require_none()
            executors = wanted or validating.EXECUTORS
            checks = validating.validate(path, plugins=plugins, executors=executors, progress=progress)
    if format is Format.json:
        found = [{"name": c.name, "subject": c.subject, "status": c.status, "detail": c.detail} for c in checks]
        print_json({"schema": "aotfactory.validate/1", "path": str(path), "checks": found})
    else:
        show(lambda console: _print_checks(console, checks))
    raise typer.Exit(1 if failed(checks) else 0)


def bench(
    path: Artifact,
    shape: Shapes = [],  # noqa: B006
    tactic: Tactic = None,
    iterations: Annotated[int, typer.Option("--iterations", min=1, help="Samples; the median counts.")] = 50,
    tensorrt_root: RootOption = None,
    lean: LeanOption = False,
    format: FormatOption = Format.text,
) -> None:
    """Time every tactic of a bundle on the GPU, against a device copy of as many bytes in the same run; or a plan."""
    tools = Tools(root=tensorrt_root, lean=lean)
    if is_plan(path):
        _refuse_launches(tactic)
        cli_plan.bench(path, tools, shapes=shape, iterations=iterations, format=format)
        return
    from aotfactory.run.launcher import Timing, run_launcher

    tools.require_none()
    _require_bundle(path)
    timing = Timing(iterations=iterations, input_sets=0, graph=True, copy_baseline=True)
    wanted: Any = "all" if tactic is None else tactic
    result = run_launcher(path, shapes=_shapes(path, shape), tactic=wanted, timing=timing, save_outputs=False)
    if format is Format.json:
        print_json(result.report)
    else:
        show(lambda console: _print_bench(console, result))


def _refuse_launches(tactic: int | None, dry_run: bool = False) -> None:
    """A plan's launches are TensorRT's own affair."""
    if tactic is not None:
        raise UsageError(
            "--tactic is for bundles: a plan has the tactics that TensorRT chose", hint="aotfactory bake --tactic"
        )
    if dry_run:
        raise UsageError("--dry-run is for bundles: TensorRT launches a plan's kernels", hint="run its bundle")


def _require_bundle(path: Path) -> None:
    """Tell a mistyped path before the launcher is built for it."""
    if not (path / "manifest.json").is_file():
        raise UsageError(f"{path} is not a bundle: it has no manifest.json", hint="aotfactory compile makes one")


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise UsageError(f"{option} {text!r} does not say which input", hint=f"write {option} NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)


def _shapes(path: Path, texts: list[str]) -> dict[str, Shape]:
    from aotfactory import bundle

    return shapes_by_name(path, (t.name for t in bundle.read(path).network.tensors if t.role == "input"), texts)


def _print_checks(console: Console, checks: list[Check]) -> None:
    from rich.markup import escape

    from aotfactory.report import MARKS

    for check in checks:
        console.print(f"{check.name} {check.subject}: {MARKS[check.status]}", highlight=False)
        console.print(f"  [dim]{escape(check.detail)}[/]", highlight=False)


def _print_run(console: Console, result: LaunchResult) -> None:
    for run in result.runs:
        for launch in run.launches:
            extra = ", ".join(map(str, launch["extra_args"])) or "-"
            grid = " x ".join(map(str, launch["grid"]))
            console.print(f"{launch['variant']}: grid {grid}, extra arguments {extra}", highlight=False)
        print_tensors(console, run.outputs, run.failures)


def _print_bench(console: Console, result: LaunchResult) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("tactic", "microseconds", "p5", "p95", "GB/s", "of a copy"):
        table.add_column(column, justify="right")
    for run in result.runs:
        if run.timing is None or "pass" not in run.timing:
            table.add_row(str(run.tactic), "nothing to run at this shape")
            continue
        time = run.timing["pass"]
        numbers = [f"{time['graph_us'][key]:.2f}" for key in ("median", "p5", "p95")]
        table.add_row(str(run.tactic), *numbers, f"{time['graph_gb_per_s']:.0f}", f"{run.timing['ratio_to_copy']:.2f}")
    console.print(table)
