# SPDX-License-Identifier: Apache-2.0
"""The command `validate`: a bundle or plan compared with its reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aotfactory.cli import plans
from aotfactory.cli.check_options import CheckTime
from aotfactory.cli.options import Artifact, Executor, Jobs, LeanOption, RootOption, Tools, TrtexecOption, is_plan
from aotfactory.cli.run import FormatOption, Plugins
from aotfactory.cli.terminal import ERROR, Format, print_json, say, show, working
from aotfactory.core.errors import ExecutorError, MissingError, OptionsError
from aotfactory.executors.effort import CHECK_TIME, Effort


def validate(
    path: Artifact,
    plugins: Plugins = [],  # noqa: B006
    executor: Annotated[
        list[Executor],
        typer.Option("--executor", metavar="NAME", help="Only interpreter, launcher, runner or trtexec; repeatable."),
    ] = [],  # noqa: B006
    require: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Executors that must have judged it, or exit code 3 says why not.")
    ] = "",
    model: Annotated[
        Path | None, typer.Option(metavar="FILE.onnx", help="Judge each node on what it gets in the whole model.")
    ] = None,
    save_inputs: Annotated[Path | None, typer.Option(metavar="DIR", help="With --model: its inputs as .npy.")] = None,
    save_outputs: Annotated[Path | None, typer.Option(metavar="DIR", help="With --model: its outputs.")] = None,
    check_time: CheckTime = CHECK_TIME,
    jobs: Jobs = None,
    trtexec: TrtexecOption = None,
    tensorrt_root: RootOption = None,
    lean: LeanOption = False,
    format: FormatOption = Format.text,
) -> None:
    """Compare a bundle or plan with its reference, by every executor that this machine has.

    Example: aotfactory validate engines/circ_pad.aot --require interpreter
    """
    tools = Tools(trtexec=trtexec, root=tensorrt_root, lean=lean)
    wanted = [e.value for e in executor]
    required = [name for name in require.split(",") if name]
    for name in required:
        if name not in [e.value for e in Executor]:
            offered = ", ".join(e.value for e in Executor)
            raise ExecutorError(f"--require {name!r} is not an executor", hint=f"there are {offered}")
    skipped = {}
    with working() as progress:
        from aotfactory.core.check import failed, nothing_judged, summary

        if model is None and (save_inputs or save_outputs):
            raise OptionsError("--save-inputs and --save-outputs go with --model", hint="give --model FILE.onnx")
        if model is not None:
            from aotfactory.api import validate_model as whole

            if is_plan(path):
                raise OptionsError("--model is for bundles", hint="validate the bundle that the plan was built from")
            tools.require_none()
            checks = whole.validate_model(
                path,
                model,
                plugins=plugins,
                executors=wanted,
                save_inputs=save_inputs,
                save_outputs=save_outputs,
                progress=progress,
                effort=Effort(seconds=check_time, processes=jobs),
            )
        elif is_plan(path):
            checks = plans.validate(path, plugins, wanted, tools, progress)
        else:
            from aotfactory.api import validate as validating
            from aotfactory.compiler.bundle import read

            tools.require_none()
            effort = Effort(seconds=check_time, processes=jobs)
            checks = validating.validate(path, plugins=plugins, executors=wanted, progress=progress, effort=effort)
            skipped = dict(read(path).skipped)
    lacking = nothing_judged(checks, required)
    if format is Format.json:
        found = {"schema": "aotfactory.validate/1", "path": str(path), "checks": [c.to_json() for c in checks]}
        found |= {"summary": summary(checks)}
        found |= {"lacking": lacking} if lacking else {}
        print_json(found | ({"skipped_checks": skipped} if skipped else {}))
    else:
        from aotfactory.cli.tables.builds import print_checks

        show(lambda console: print_checks(console, checks, skipped))
    if lacking:
        say(f"error: {lacking}", ERROR)
        raise typer.Exit(MissingError.exit_code)
    raise typer.Exit(1 if failed(checks) else 0)
