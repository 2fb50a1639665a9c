# SPDX-License-Identifier: Apache-2.0
"""The reference pages, written from what they are about.

As a hook of mkdocs it adds the pages of commands, errors and JSON to the site. Run as a program it writes
environment.md, which is kept in docs/; a test compares it with what this writes.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

INTRODUCTION = """\
Each error shows a code that stays the same from version to version; `aotfactory explain CODE` prints what is said here,
and `--format json` has it as `error.code`. The first digit is the [exit code](environment.md). `--debug` shows the
traceback. A command line that cannot be read at all has the code AOT200 in JSON."""


def on_files(files: Any, config: Any) -> Any:
    """Add reference/cli.md, reference/errors.md and reference/json.md."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    files.append(File.generated(config, "reference/errors.md", content=errors()))
    files.append(File.generated(config, "reference/json.md", content=json_page()))
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


def environment() -> str:
    """Markdown: exit codes with their exceptions, and environment variables."""
    from aotfactory.core import errors as kinds
    from aotfactory.core.settings import SETTINGS

    groups = (kinds.CheckError, kinds.UsageError, kinds.MissingError, kinds.DefinitionError, kinds.DamagedError)
    codes = [(0, "Done.", ""), *((g.exit_code, _summary(g), f"`{g.__name__}`") for g in groups)]
    codes += [(70, "A mistake in aotfactory itself; please report it.", ""), (130, "Interrupted.", "")]
    codes += [("128 + n", "Ended by signal n.", "")]
    return "\n".join(
        [
            "# Exit codes and environment",
            "",
            "Written by `python scripts/docs_reference.py`. [Errors](errors.md) lists the kinds of error.",
            "",
            "| exit code | means | exception |",
            "|---|---|---|",
            *(f"| {code} | {means} | {exception} |" for code, means, exception in codes),
            "",
            "| variable | meaning |",
            "|---|---|",
            *(f"| `{name}` | {meaning} |" for name, meaning in SETTINGS.items()),
            "",
            "`aotfactory doctor` shows which of them are set.",
            "",
        ]
    )


def _summary(kind: type) -> str:
    return (kind.__doc__ or "").split("\n")[0].partition(". ")[0].rstrip(".") + "."


JSON = {
    "build": "`build`, `compile`: `target`, `engine {kind, path, sha256}`, `bundle {path, sha256}`, variants, checks.",
    "bundle": "A bundle's manifest, and `inspect` of a bundle.",
    "cache": "`cache info`: `path`, `bytes`, `limit`, `shared`, `kinds`.",
    "doctor": "`doctor`: `findings [{name, status, detail, remedy}]`; status is ok, warning or failure.",
    "error": "Any command that came to no result: `exit_code`, `error {code, message, where, hint}`.",
    "explain": "`explain`: `code`, `exception`, `exit_code`, `cause`, `example`, `remedy`.",
    "farm": "`farm`: what became of each engine.",
    "graft": "`graft`: `model`, `written`, `matches`.",
    "index": "`engines.json` of a farm: what is in its directory.",
    "launch": "`run` and `bench` of a bundle, and the launcher itself: `device`, `runs` with `launches` and `checks`.",
    "list": "`list`: `recipes`; with NAME one, in full.",
    "new": "`new`: `files`.",
    "plan": "A plan's record, NAME.plan.json, and `inspect` of a plan.",
    "plugin_library": "`library`: the C++ plugin library that was written.",
    "plugin_parts": "What a plugin library of `library` holds.",
    "report": "`report`: `engines`, `counts`, `unreadable`.",
    "run": "`run` and `bench` of a plan by the runner, and the runner itself.",
    "trtexec": "`run --executor trtexec`.",
    "tuning": "`tune`, and the rankings that it keeps in NAME.tuning.json.",
    "validate": "`validate`: `path`, `checks`.",
}
"""What each kind of JSON is, by its name in ``aotfactory.NAME/1``."""

ABOUT_JSON = """\
Every document has a `schema`, `aotfactory.NAME/VERSION`. Keys are added
within a version, never renamed or removed ([Stability](../stability.md)): readers should pass over those that they do
not know. A check is `{name, subject, status, detail}`; status is passed, failed or skipped."""


def json_page() -> str:
    """Markdown: every kind of JSON that aotfactory writes, and the files that have a schema, key by key."""
    lines = [
        "# JSON",
        "",
        ABOUT_JSON,
        "",
        "| schema | written by |",
        "|---|---|",
        *(f"| `aotfactory.{name}/1` | {meaning} |" for name, meaning in JSON.items()),
    ]
    for path in sorted((ROOT / "aotfactory" / "core" / "schemas").glob("*.json")):
        schema = json.loads(path.read_text("utf-8"))
        lines += ["", f"## {path.name}", "", f"{schema.get('title', '')}.", "", "| key | type | |", "|---|---|---|"]
        needed = schema.get("required", [])
        for key, value in schema.get("properties", {}).items():
            kind = value.get("type") or ", ".join(map(str, value.get("enum", []))) or value.get("$ref", "")
            required = "" if key in needed else "may be missing; "
            text = required + _plain(value.get("description", ""))
            lines.append(f"| `{key}` | {_plain(str(kind))} | {text.rstrip('; ')} |")
    return "\n".join(lines) + "\n"


WRITTEN = {"environment.md": environment}
"""The page in docs/reference that this program writes."""


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


if __name__ == "__main__":
    for name, page in WRITTEN.items():
        (ROOT / "docs" / "reference" / name).write_text(page(), "utf-8")
