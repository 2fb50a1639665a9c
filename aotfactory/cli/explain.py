# SPDX-License-Identifier: Apache-2.0
"""The command `explain`: what the code of an error means, and what to do about it."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from aotfactory.cli.options import FormatOption
from aotfactory.cli.terminal import Format, print_json, show
from aotfactory.core import errors
from aotfactory.core.errors import AotError, OptionValueError


def _codes(incomplete: str) -> list[str]:
    return [code for code in errors.catalogue() if code.startswith(incomplete)]


def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="As the error shows it: AOT205.", autocompletion=_codes)],
    format: FormatOption = Format.text,
) -> None:
    """Say what the code of an error means, with an example and what to do about it.

    Example: aotfactory explain AOT205
    """
    catalogue = errors.catalogue()
    kind = catalogue.get(code.upper())
    if kind is None:
        raise OptionValueError(f"there is no error {code!r}", hint=f"codes are {', '.join(catalogue)}")
    found = described(kind)
    if format is Format.json:
        print_json({"schema": "aotfactory.explain/1", **found})
        return
    lines = [f"{found['code']}, exit code {found['exit_code']}: {found['cause']}"]
    lines += [f"example: {found['example']}"] if found["example"] else []
    lines += [f"remedy: {found['remedy']}"]
    show(lambda console: console.print("\n".join(lines)))


def described(kind: type[AotError]) -> dict[str, str | int]:
    """An entry of the catalogue as values."""
    return {
        "code": str(kind.code),
        "exception": kind.__name__,
        "exit_code": kind.exit_code,
        "cause": " ".join((inspect.getdoc(kind) or "").split()),
        "example": kind.example,
        "remedy": kind.remedy,
    }
