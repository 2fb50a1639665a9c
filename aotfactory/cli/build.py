# SPDX-License-Identifier: Apache-2.0
"""The commands `build` and `compile`: a target into a checked bundle, and into a plan where that is possible."""

from __future__ import annotations

import enum
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from aotfactory.cli.flags import CompileFlags, ShapeFlags, with_flags
from aotfactory.cli.options import FormatOption, Target
from aotfactory.cli.terminal import Format, print_json, say, show, working
from aotfactory.core import cuda
from aotfactory.core.workers import available_cores

if TYPE_CHECKING:
    from aotfactory.api.build import BuildResult


class Engine(str, enum.Enum):
    """The kind of engine that a build makes."""

    auto = "auto"
    tensorrt = "tensorrt"
    bundle = "bundle"


@with_flags
def build(
    target: Target,
    flags: CompileFlags,
    engine: Annotated[
        Engine, typer.Option(help="A TensorRT plan, a kernel bundle, or the most this machine can.")
    ] = Engine.auto,
    format: FormatOption = Format.text,
) -> None:
    """Compile and check a target, and build its engine where TensorRT's builder and a GPU are.

    Example: aotfactory build circ_pad --shape 1x3x32x32 --arch sm_80,sm_90
    """
    if engine is Engine.tensorrt:
        from aotfactory.api.bake import require_bake

        require_bake()
    built = _compile(target, flags)
    if format is Format.text:
        _print(built, format)
    if built.path and engine is not Engine.bundle and cuda.cuda_device_count():
        with working() as progress:
            from aotfactory.api.build import with_plan

            built = with_plan(built, engine.value, flags.shapes_alone(), progress, flags.cache())
    if format is Format.json:
        _print(built, format)
    elif (plan := built.baked) is not None:
        from aotfactory.cli.tables.builds import print_baked

        show(lambda console: print_baked(console, plan))
    if built.path and engine is Engine.auto and not built.baked:
        say("no plan was made: it takes TensorRT's builder and a GPU (aotfactory bake)")
    raise typer.Exit(1 if built.failed else 0)


@with_flags
def compile_command(target: Target, flags: CompileFlags, format: FormatOption = Format.text) -> None:
    """Compile and check a target into a kernel bundle, on any machine.

    Example: aotfactory compile softmax --min-shape 1x1000 --opt-shape 8x1000 --max-shape 64x1000
    """
    built = _compile(target, flags)
    _print(built, format)
    raise typer.Exit(1 if built.failed else 0)


def _compile(target: str, flags: CompileFlags) -> BuildResult:
    """Run the library's compile step for the options of `build` or `compile`."""
    with working() as progress:
        from aotfactory.api.build import build_bundle

        out, name = flags.place()
        built = build_bundle(
            target,
            request=flags.target_options(),
            options=flags.compile_options(),
            out=out,
            plugins=flags.plugins,
            progress=progress,
            cache=flags.cache(),
            jobs=flags.jobs or available_cores(),
            check_time=flags.check_time,
            skip=flags.skipped(),
            name=name,
            plain=True,
        )
    loader = sys.modules.get("aotfactory.plugins.absent")  # a cached build has loaded no definitions, and not that
    for text in (*left_out(flags), *(loader.gaps() if loader else ())):
        say(text)
    if built.replaced:
        say(f"{built.path} replaces another engine: {built.replaced} (--name keeps both)")
    return built


def left_out(flags: ShapeFlags) -> list[str]:
    """Notices where a dynamic shape has no --opt-shape: TensorRT times tactics at that shape."""
    given = {text.rpartition("=")[0] for text in (*flags.opt_shape, *flags.shape)}
    return [
        f"--opt-shape {name and name + '='}... is left out: TensorRT chooses tactics at --max-shape, {shape}"
        for name, _, shape in (text.rpartition("=") for text in flags.max_shape)
        if name not in given
    ]


def _print(built: BuildResult, format: Format) -> None:
    if format is Format.json:
        print_json(built.to_json())
    else:
        from aotfactory.cli.tables.builds import print_build

        show(lambda console: print_build(console, built))
