# SPDX-License-Identifier: Apache-2.0
"""The command `validate`: a bundle or plan compared with its reference."""

from __future__ import annotations

from typing import Annotated

import typer

from aotfactory.cli import plans
from aotfactory.cli.options import Artifact, Executor, LeanOption, RootOption, Tools, TrtexecOption, is_plan
from aotfactory.cli.run import FormatOption, Plugins
from aotfactory.cli.terminal import Format, print_json, show, working


def validate(
    path: Artifact,
    plugins: Plugins = [],  # noqa: B006
    executor: Annotated[list[Executor], typer.Option("--executor", help="Only this executor; repeatable.")] = [],  # noqa: B006
    trtexec: TrtexecOption = None,
    tensorrt_root: RootOption = None,
    lean: LeanOption = False,
    format: FormatOption = Format.text,
) -> None:
    """Compare a bundle or plan with its reference, by every executor that this machine has."""
    tools = Tools(trtexec=trtexec, root=tensorrt_root, lean=lean)
    wanted = [e.value for e in executor]
    with working() as progress:
        from aotfactory.core.check import failed

        if is_plan(path):
            checks = plans.validate(path, plugins, wanted, tools, progress)
        else:
            from aotfactory.api import validate as validating

            tools.require_none()
            executors = wanted or validating.EXECUTORS
            checks = validating.validate(path, plugins=plugins, executors=executors, progress=progress)
    if format is Format.json:
        found = [{"name": c.name, "subject": c.subject, "status": c.status, "detail": c.detail} for c in checks]
        print_json({"schema": "aotfactory.validate/1", "path": str(path), "checks": found})
    else:
        from aotfactory.cli import tables

        show(lambda console: tables.print_checks(console, checks))
    raise typer.Exit(1 if failed(checks) else 0)
