# SPDX-License-Identifier: Apache-2.0
"""The command `graft`: plugins in place of what a stock ONNX model computes with its own operators."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from aotfactory.cli.options import FormatOption, Plugins
from aotfactory.cli.terminal import Format, print_json, show, working
from aotfactory.core.errors import OptionsError


def graft(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model.", show_default=False)],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="OUT.onnx", help="Where to write.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing: list what would be replaced.")] = False,
    rules: Annotated[list[str], typer.Option("--rules", metavar="FILE.py", help="Rules of your own.")] = [],  # noqa: B006
    plugins: Plugins = [],  # noqa: B006
    format: FormatOption = Format.text,
) -> None:
    """Replace what plugins do better in a model; each replacement is computed both ways before it is kept.

    Example: aotfactory graft model.onnx -o grafted.onnx
    """
    if (out is None) != dry_run:
        raise OptionsError("give either -o OUT.onnx or --dry-run", hint="aotfactory graft model.onnx -o grafted.onnx")
    with working() as progress:
        from aotfactory.api import graft as grafting

        found = grafting.graft(model, out, rules=rules, plugins=plugins, progress=progress)
    if format is Format.json:
        written = None if out is None else str(out)
        print_json(
            {"schema": grafting.SCHEMA, "model": str(model), "written": written, "matches": list(map(asdict, found))}
        )
    else:
        from aotfactory.cli.tables.builds import print_grafts

        show(lambda console: print_grafts(console, found, out))
