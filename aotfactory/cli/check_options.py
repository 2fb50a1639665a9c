# SPDX-License-Identifier: Apache-2.0
"""Options of how a build is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from aotfactory.core.errors import SkippedCheckError

CheckTime = Annotated[
    float,
    typer.Option(
        "--check-time", min=0.1, metavar="SECONDS", help="Time for the interpreter check, of each process (--jobs)."
    ),
]


SkipCheck = Annotated[
    list[str],
    typer.Option("--skip-check", metavar="NAME", help="Build although this check fails; the manifest keeps --because."),
]


Because = Annotated[list[str], typer.Option("--because", metavar="TEXT", help="Why --skip-check is right here.")]


SKIPPABLE = ("ptxas", "bounds", "interpreter")
"""Checks that a bundle can be built without; a kernel that fails `abi` could not be launched."""


def skipped_checks(names: Sequence[str], reasons: Sequence[str]) -> dict[str, str]:
    """``--skip-check NAME --because TEXT``, in pairs; one reason may stand for all.

    Raises:
        UsageError: There is no such check, or a reason is missing.
    """
    for name in names:
        if name not in SKIPPABLE:
            raise SkippedCheckError(
                f"--skip-check {name!r} cannot be skipped", hint=f"use one of {', '.join(SKIPPABLE)}"
            )
    if names and (not reasons or not all(text.strip() for text in reasons)):
        raise SkippedCheckError(
            f"--skip-check {names[0]} without a reason", hint='add --because "TEXT", for the manifest'
        )
    if len(reasons) != len(names) and (len(reasons) != 1 or not names):
        raise SkippedCheckError(
            f"{len(reasons)} --because for {len(names)} --skip-check", hint="give one to each, or one for all"
        )
    return dict(zip(names, reasons if len(reasons) == len(names) else [*reasons] * len(names), strict=True))
