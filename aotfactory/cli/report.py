# SPDX-License-Identifier: Apache-2.0
"""``aotfactory report DIR``: the engines of a directory as an HTML page, Markdown, JUnit XML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aotfactory.cli.options import FormatOption
from aotfactory.cli.terminal import Format, print_json, say, show
from aotfactory.core.errors import UnwritableError
from aotfactory.core.files import replace_file


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the engines are.", show_default=False)],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="The page; default: DIR/report.html.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="A summary for a CI job.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="The checks as JUnit's XML.")] = None,
    format: FormatOption = Format.text,
) -> None:
    """Show what was built, checked and timed in a directory: one page that needs nothing beside it.

    Example: aotfactory report engines --markdown summary.md
    """
    from aotfactory.api import report_formats
    from aotfactory.api.report import gather

    gathered = gather(directory)
    for line in gathered["unreadable"]:
        say(f"warning: left out: {line}")
    files = {html or directory / "report.html": report_formats.html(gathered)}
    files |= {markdown: report_formats.markdown(gathered)} if markdown else {}
    files |= {junit: report_formats.junit(gathered)} if junit else {}
    for path, text in files.items():
        try:
            replace_file(path, text.encode())
        except OSError as error:
            raise UnwritableError(f"cannot write {path}: {error.strerror}", hint="choose another file") from error
    if format is Format.json:
        print_json(gathered)
        return
    counts = ", ".join(f"{count} {status}" for status, count in sorted(gathered["counts"].items()))
    lines = [f"{len(gathered['engines'])} engines: {counts}", *(f"wrote {path}" for path in files)]
    show(lambda console: console.print(*lines, sep="\n", soft_wrap=True))
