# SPDX-License-Identifier: Apache-2.0
"""The command `tune`: which tactic of a target is fastest on the GPU here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aotfactory.cli.options import (
    Attr,
    DType,
    FormatOption,
    MaxShape,
    MinShape,
    OptShape,
    Out,
    Plugins,
    ShapeOption,
    Target,
    request_of,
)
from aotfactory.cli.terminal import Format, print_json, show, working

if TYPE_CHECKING:
    pass


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
        from aotfactory.api import tune as tuning

        ranking, path = tuning.tune(
            target, request=request, out=out, plugins=plugins, iterations=iterations, progress=progress
        )
        losers = tuning.never_fastest(tuning.read(path))
    if format is Format.json:
        from dataclasses import asdict

        print_json({"schema": tuning.SCHEMA, "path": str(path), "ranking": asdict(ranking), "never_fastest": losers})
    else:
        from aotfactory.cli import tables

        show(lambda console: tables.print_ranking(console, ranking, path, losers))
