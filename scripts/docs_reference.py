# SPDX-License-Identifier: Apache-2.0
"""A hook of mkdocs: writes the reference of the command line from the commands themselves."""

from __future__ import annotations

from typing import Any

from mkdocs.structure.files import File, Files


def on_files(files: Files, config: Any) -> Files:
    """Add reference/cli.md."""
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
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
