# SPDX-License-Identifier: Apache-2.0
"""A hook of mkdocs: writes the reference of commands and errors from the commands and errors themselves."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.structure.files import File, Files

INTRODUCTION = """\
Each error shows a code that stays the same from version to version; `aotfactory explain CODE` prints what is said here,
and `--format json` has it as `error.code`. The first digit is the [exit code](environment.md). `--debug` shows the
traceback. A command line that cannot be read at all has the code AOT200 in JSON."""


def on_files(files: Files, config: Any) -> Files:
    """Add reference/cli.md and reference/errors.md."""
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    files.append(File.generated(config, "reference/errors.md", content=errors()))
    return files


def command_line() -> str:
    """Markdown: every command with its own words, arguments and options."""
    import typer

    from aotfactory.cli.main import app

    group: Any = typer.main.get_command(app)
    context = group.context_class(group, info_name="aotfactory")
    parts = ["# Command line", "Made from the commands' own help; `aotfactory COMMAND --help` prints the same."]
    for name in group.list_commands(context):
        parts += _command(group.get_command(context, name), f"aotfactory {name}", context)
    return "\n\n".join(parts) + "\n"


def errors() -> str:
    """Markdown: every kind of error with its code, cause, example and remedy."""
    from aotfactory.cli.explain import described
    from aotfactory.core.errors import catalogue

    parts = [
        "# Errors",
        INTRODUCTION,
    ]
    for code, kind in catalogue().items():
        entry = described(kind)
        parts += [
            f"## {code}",
            f"`{entry['exception']}`: {entry['cause']}",
            f"    {entry['example']}",
            "**Remedy:** " + re.sub(r"\bdocs/(\S+\.md)", r"[\g<0>](../\1)", str(entry["remedy"])),
        ]
    return "\n\n".join(parts) + "\n"


def _command(command: Any, title: str, parent: Any) -> list[str]:
    context = command.context_class(command, info_name=title.split()[-1], parent=parent)
    parts = [f"## {title}", _plain(command.help or "")]
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            parts += _command(command.get_command(context, name), f"{title} {name}", context)
        return parts
    rows = []
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record:
            rows.append(f"| `{record[0].replace('|', '&#124;')}` | {_plain(record[1])} |")
    return [*parts, "\n".join(["| option | meaning |", "|---|---|", *rows])] if rows else parts


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "&#124;").replace("<", "&lt;")
