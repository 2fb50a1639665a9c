# SPDX-License-Identifier: Apache-2.0
"""The command `doctor`: what this machine has, what it lacks, and what to do about it."""

from __future__ import annotations

import typer

from aotfactory.cli.options import FormatOption
from aotfactory.cli.terminal import Format, print_json, show, working

MISSING = 3


def doctor(format: FormatOption = Format.text) -> None:
    """Look at GPU, driver, TensorRT, compilers, caches and environment, and say what to do about what is missing.

    The output names no home directory and no variables but those that matter, so it can go into a bug report.
    Exit code 0, or 3 where something is broken that even a bundle needs.

    Example: aotfactory doctor --format json
    """
    with working() as progress:
        progress("looking around")
        from aotfactory.api.doctor import examine

        findings = examine()
    broken = any(finding.status == "failure" for finding in findings)
    if format is Format.json:
        from dataclasses import asdict

        print_json({"schema": "aotfactory.doctor/1", "findings": [asdict(finding) for finding in findings]})
    else:
        from aotfactory.cli.tables.builds import print_findings

        show(lambda console: print_findings(console, findings))
    raise typer.Exit(MISSING if broken else 0)
