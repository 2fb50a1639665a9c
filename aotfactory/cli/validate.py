# SPDX-License-Identifier: Apache-2.0
"""The command `validate`: a bundle or plan compared with its reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aotfactory.cli.check_options import CheckTime
from aotfactory.cli.options import Artifact, Executor, Jobs, LeanOption, RootOption, Tools, TrtexecOption, is_plan
from aotfactory.cli.run import FormatOption, Plugins
from aotfactory.cli.terminal import ERROR, Format, print_json, say, show, working
from aotfactory.core.errors import ExecutorError, MissingError, OptionsError
from aotfactory.executors.effort import CHECK_TIME


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
    """Compare a bundle or plan with its reference, using every executor that this machine has.

    Example: aotfactory validate engines/circ_pad.aot --require interpreter
    """
    tools = Tools(trtexec=trtexec, root=tensorrt_root, lean=lean)
    required = [name for name in require.split(",") if name]
    for name in required:
        if name not in [e.value for e in Executor]:
            offered = ", ".join(e.value for e in Executor)
            raise ExecutorError(f"--require {name!r} is not an executor", hint=f"there are {offered}")
    if model is None and (save_inputs or save_outputs):
        raise OptionsError("--save-inputs and --save-outputs go with --model", hint="give --model FILE.onnx")
    if model is not None and is_plan(path):
        raise OptionsError("--model is for bundles", hint="validate the bundle that the plan was built from")
    if not is_plan(path):
        tools.require_none()
    with working() as progress:
        from aotfactory.api import verbs

        result = verbs.validate(
            path,
            plugins=plugins,
            executors=[e.value for e in executor],
            require=required,
            model=model,
            save_inputs=save_inputs,
            save_outputs=save_outputs,
            check_time=check_time,
            jobs=jobs,
            trtexec=tools.for_trtexec() if is_plan(path) else None,
            runner=tools.for_runner() if is_plan(path) else None,
            progress=progress,
        )
    if format is Format.json:
        print_json(result.to_json())
    else:
        from aotfactory.cli.tables.builds import print_checks

        show(lambda console: print_checks(console, result.checks, result.skipped_checks))
    if result.lacking:
        say(f"error: {result.lacking}", ERROR)
        raise typer.Exit(MissingError.exit_code)
    raise typer.Exit(1 if result.failed else 0)
