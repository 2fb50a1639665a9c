# SPDX-License-Identifier: Apache-2.0
"""The commands that run an artifact: `run`, `validate`, `bench`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aotfactory.errors import UsageError
from aotfactory.terminal import Format, print_json, show, working

if TYPE_CHECKING:
    from rich.console import Console

    from aotfactory.checks import Check
    from aotfactory.run.launcher import LaunchResult


class Executor(str, enum.Enum):
    """What can run a bundle."""

    interpreter = "interpreter"
    launcher = "launcher"


Bundle = Annotated[Path, typer.Argument(help="A bundle: engines/NAME.aot.")]
Plugins = Annotated[list[str], typer.Option("--plugins", metavar="PATH[:FUNC]", help="A module with recipes.")]
Shapes = Annotated[
    list[str], typer.Option("--shape", metavar="[NAME=]1x3x32x32", help="Shape of an input that gets random data.")
]
Tactic = Annotated[int | None, typer.Option("--tactic", help="Only this tactic.")]
FormatOption = Annotated[Format, typer.Option("--format", help="JSON goes to stdout, everything else to stderr.")]


def run(
    path: Bundle,
    input: Annotated[list[str], typer.Option("--input", metavar="NAME=FILE.npy", help="Data of an input.")] = [],  # noqa: B006
    shape: Shapes = [],  # noqa: B006
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", metavar="DIR", help="Where the outputs go, as NAME.npy.")
    ] = None,
    tactic: Tactic = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random data.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Evaluate shapes and launches; needs no GPU.")] = False,
    format: FormatOption = Format.text,
) -> None:
    """Run a bundle on the GPU by the launcher, a C++ program that needs the CUDA driver alone."""
    from aotfactory.run.launcher import run_launcher

    _require_bundle(path)
    result = run_launcher(
        path,
        inputs={name: Path(file) for name, file in _pairs(input, "--input").items()},
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
    path: Bundle,
    plugins: Plugins = [],  # noqa: B006
    executor: Annotated[list[Executor], typer.Option("--executor", help="Only this executor; repeatable.")] = [],  # noqa: B006
    format: FormatOption = Format.text,
) -> None:
    """Compare an artifact with its reference, by every executor that this machine has."""
    with working() as progress:
        from aotfactory import validate as validating
        from aotfactory.checks import failed

        wanted = [e.value for e in executor] or validating.EXECUTORS
        checks = validating.validate(path, plugins=plugins, executors=wanted, progress=progress)
    if format is Format.json:
        found = [{"name": c.name, "subject": c.subject, "status": c.status, "detail": c.detail} for c in checks]
        print_json({"schema": "aotfactory.validate/1", "path": str(path), "checks": found})
    else:
        show(lambda console: _print_checks(console, checks))
    raise typer.Exit(1 if failed(checks) else 0)


def bench(
    path: Bundle,
    shape: Shapes = [],  # noqa: B006
    tactic: Tactic = None,
    iterations: Annotated[int, typer.Option("--iterations", min=1, help="Samples; the median counts.")] = 50,
    format: FormatOption = Format.text,
) -> None:
    """Time every tactic of a bundle on the GPU, against a device copy of as many bytes in the same run."""
    from aotfactory.run.launcher import Timing, run_launcher

    _require_bundle(path)
    timing = Timing(iterations=iterations, input_sets=0, graph=True, copy_baseline=True)
    wanted: Any = "all" if tactic is None else tactic
    result = run_launcher(path, shapes=_shapes(path, shape), tactic=wanted, timing=timing, save_outputs=False)
    if format is Format.json:
        print_json(result.report)
    else:
        show(lambda console: _print_bench(console, result))


def _require_bundle(path: Path) -> None:
    """Tell a mistyped path before the launcher is built for it."""
    if not (path / "manifest.json").is_file():
        raise UsageError(f"{path} is not a bundle: it has no manifest.json", hint="aotfactory compile makes one")


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise UsageError(f"{option} {text!r} does not say which input", hint=f"write {option} NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)


def _shapes(path: Path, texts: list[str]) -> dict[str, tuple[int, ...]]:
    """``NAME=shape``, where a bundle with one input needs no name."""
    from aotfactory import bundle
    from aotfactory.targets import parse_shape

    if not texts:
        return {}
    names = [t.name for t in bundle.read(path).network.tensors if t.role == "input"]
    bare = [text for text in texts if "=" not in text]
    if bare and len(names) != 1:
        raise UsageError(f"--shape {bare[0]} must say which input", hint=f"the inputs: {', '.join(names)}")
    named = [text if "=" in text else f"{names[0]}={text}" for text in texts]
    return {name: parse_shape(shape) for name, shape in _pairs(named, "--shape").items()}


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
        for name, array in run.outputs.items():
            console.print(f"  {name}: {array.dtype} {'x'.join(map(str, array.shape)) or 'scalar'}", highlight=False)
        for failure in run.failures:
            console.print(f"  [bold red]failed[/] {failure}", highlight=False)


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
