# SPDX-License-Identifier: Apache-2.0
"""The command line: its commands, each from a module of this room, and how it ends.

Modules that load TensorRT or Triton are imported late.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from aotfactory.cli import bake as cli_bake
from aotfactory.cli import build as cli_build
from aotfactory.cli import (
    cache,
    doctor,
    explain,
    farm,
    graft,
    inspect,
    library,
    new,
    recipes,
    report,
    terminal,
    tune,
    validate,
)
from aotfactory.cli import run as cli_run
from aotfactory.cli.shell import use_own_scripts
from aotfactory.cli.talk import Application, Debug, LogFile, Quiet, Verbose
from aotfactory.cli.terminal import ERROR, LOG_ONLY, print_json, say, show
from aotfactory.core.errors import AotError, MissingError
from aotfactory.core.errors.base import LONGEST
from aotfactory.core.faults import fault
from aotfactory.core.processes import Ended, ending_orderly
from aotfactory.core.text import shortened

INTERRUPTED = 130
BROKEN = 70
"""Exit code where aotfactory itself is wrong (EX_SOFTWARE): never that of a check that failed."""

_CODES = {2: ("AOT200", "wrong usage"), INTERRUPTED: (None, "interrupted")}
"""Codes and messages of ends that are not errors of ours: typer refuses a command line that it cannot read."""


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted", ERROR)
        raise SystemExit(INTERRUPTED) from None


_WrongUsage: Any = typer.BadParameter.__base__
"""Typer's error for a command line that it cannot read."""


@contextmanager
def _told_alike() -> Iterator[None]:
    """Such an error is spelled as ours are, and quotes only so much of what was given."""
    try:
        yield
    except _WrongUsage as error:
        if type(error).show is not _WrongUsage.show:  # that of a group without a command is its help
            raise
        if error.ctx is not None:
            say(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} -h' for help.\n", ERROR)
        say(f"error: {shortened(error.format_message(), LONGEST['message'])}", ERROR)
        raise SystemExit(error.exit_code) from None


class _Commands(TyperGroup):
    """Typer would turn ctrl-C into a silent exit before `main` sees it."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _interruptible(), _told_alike():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _interruptible(), _told_alike():
            return super().invoke(ctx)


app = Application(
    name="aotfactory",
    cls=_Commands,
    help="Ahead-of-time TensorRT engines with custom kernels baked in.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing what renders help in boxes takes three times as long as all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)


use_own_scripts()


app.command(short_help="Compile and check a target, and build its engine.")(cli_build.build)
app.command("compile", short_help="Compile and check a target into a kernel bundle.")(cli_build.compile_command)


app.command("list", short_help="List the recipes, or show one in full.")(recipes.list_command)
app.command(short_help="Show what a bundle or plan holds.")(inspect.inspect)
app.command(short_help="Build a TensorRT plan from a bundle.")(cli_bake.bake)
app.command(short_help="Write a TensorRT plugin library that carries bundles.")(library.library)
app.command(short_help="Run a bundle or plan on the GPU, without Python.")(cli_run.run)
app.command(short_help="Compare a bundle or plan with its reference.")(validate.validate)
app.command(short_help="Time a bundle's tactics, or a plan, on the GPU.")(cli_run.bench)
app.command(short_help="Rank a target's tactics on the GPU here.")(tune.tune)
app.command(short_help="Say what this machine has and lacks, and what to do about it.")(doctor.doctor)
app.command(short_help="Replace what plugins do better in an ONNX model.")(graft.graft)
app.command(short_help="Build every engine of a farm.toml.")(farm.farm)
app.command(short_help="Begin a plugin of your own: a kernel file, its recipe and a test.")(new.new)
app.command(short_help="A page about the engines of a directory.")(report.report)
app.command(short_help="What the code of an error means.")(explain.explain)
app.add_typer(cache.app, name="cache")


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, typer.Option("--version", help="Show the versions that matter.")] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    log_file: LogFile = None,
    debug: Debug = False,
) -> None:
    terminal.configure(verbose=verbose, quiet=quiet, log_file=log_file, debug=debug)
    if version:
        versions = _versions()
        show(lambda console: console.print(*(f"{name} {v}" for name, v in versions.items()), sep="\n"))
        raise typer.Exit


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as package_version

    import aotfactory
    from aotfactory.plugins import tensorrt_api

    found = {"aotfactory": aotfactory.__version__, "Python": sys.version.split()[0]}
    try:
        tensorrt = tensorrt_api.load()
        found["tensorrt"] = f"{tensorrt.version} ({tensorrt.kind})"
    except MissingError:
        found["tensorrt"] = "missing"
    for name in ("triton", "numpy", "cuda-python", "onnx"):
        try:
            found[name] = package_version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _json_of_error(exit_code: object, error: dict[str, str | None]) -> None:
    """The object that ``--format json`` prints where the command came to no result of its own."""
    arguments = sys.argv[1:]
    wanted = "--format=json" in arguments or ("--format", "json") in pairwise(arguments)
    if wanted and not terminal.talk.printed:
        print_json({"schema": "aotfactory.error/1", "exit_code": exit_code, "error": error})


def _tell(error: AotError) -> NoReturn:
    """Say what is wrong, and end with the exit code that stands for it."""
    say("".join(traceback.format_exception(error)), ERROR if terminal.talk.debug else LOG_ONLY)
    say(f"error: {error}\n  more: aotfactory explain {error.code}", ERROR)
    _json_of_error(error.exit_code, error.to_json())
    sys.exit(error.exit_code)


def main() -> NoReturn:
    """Entry point: one place turns errors into messages and exit codes."""
    try:
        _main()
    except SystemExit as ended:
        say(f"exit code {ended.code or 0}", LOG_ONLY)
        raise


def _main() -> NoReturn:
    try:
        with ending_orderly(), _interruptible():
            app()
    except AotError as error:
        _tell(error)
    except Ended as ended:
        say("ended by a signal", ERROR)
        sys.exit(ended.exit_code)
    except SystemExit as ended:
        if ended.code not in (None, 0):  # typer's own messages have gone to stderr
            code, message = _CODES.get(ended.code, (None, "see stderr")) if isinstance(ended.code, int) else (None, "")
            _json_of_error(ended.code, {"code": code, "message": message, "where": None, "hint": None})
        raise
    except Exception as error:
        if known := fault(error):
            _tell(known)
        say(traceback.format_exc(), ERROR)
        say("error: this is a mistake in aotfactory itself; please report it with the lines above", ERROR)
        sys.exit(BROKEN)
    sys.exit(0)
