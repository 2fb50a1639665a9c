# SPDX-License-Identifier: Apache-2.0
"""The command `tune`: which tactic of a target is fastest on the GPU here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aotfactory.cli_build import Attr, DType, FormatOption, Out, Plugins, Target, request_of
from aotfactory.cli_shapes import MaxShape, MinShape, OptShape, ShapeOption
from aotfactory.terminal import Format, print_json, show, working

if TYPE_CHECKING:
    from rich.console import Console

    from aotfactory.tune import Ranking


def tune(
    target: Target,
    plugins: Plugins = [],  # noqa: B006  (typer copies it)
    shape: ShapeOption = [],  # noqa: B006
    min_shape: MinShape = [],  # noqa: B006
    opt_shape: OptShape = [],  # noqa: B006
    max_shape: MaxShape = [],  # noqa: B006
    dtype: DType = [],  # noqa: B006
    attr: Attr = [],  # noqa: B006
    iterations: Annotated[int, typer.Option("--iterations", min=1, help="Samples; the median counts.")] = 50,
    out: Out = Path("engines"),
    format: FormatOption = Format.text,
) -> None:
    """Time every tactic of a target on the GPU here, and keep the ranking in NAME.tuning.json."""
    request = request_of(locals())
    with working() as progress:
        from aotfactory import tune as tuning

        ranking, path = tuning.tune(
            target, request=request, out=out, plugins=plugins, iterations=iterations, progress=progress
        )
        losers = tuning.never_fastest(tuning.read(path))
    if format is Format.json:
        from dataclasses import asdict

        print_json({"schema": tuning.SCHEMA, "path": str(path), "ranking": asdict(ranking), "never_fastest": losers})
    else:
        show(lambda console: _print(console, ranking, path, losers))


def _print(console: Console, ranking: Ranking, path: Path, losers: list[int]) -> None:
    from rich.markup import escape
    from rich.table import Table

    shapes = ", ".join(f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in ranking.shapes.items())
    console.print(f"[bold]{escape(ranking.name)}[/] on {escape(ranking.gpu)}: {escape(shapes)}", highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in ("tactic", "microseconds", "p5", "p95", "GB/s", "of a copy", "regs", "spills", "threads", "shared"):
        table.add_column(column, justify="right")
    for t in ranking.tactics:
        times = [f"{value:.2f}" for value in (t.us, t.p5, t.p95)]
        resources = [str(n) for n in (t.registers, t.spills, t.threads, t.shared_mem)]
        table.add_row(str(t.tactic), *times, f"{t.gb_per_s:.0f}", f"{t.of_copy:.2f}", *resources)
    console.print(table)
    if losers:
        console.print(
            f"never among the fastest in {path.name}: {', '.join(map(str, losers))}", highlight=False, soft_wrap=True
        )
    console.print(f"wrote [bold]{escape(str(path))}[/]", highlight=False, soft_wrap=True)
