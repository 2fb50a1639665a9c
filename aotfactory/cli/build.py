# SPDX-License-Identifier: Apache-2.0
"""The commands `build` and `compile`: a target into a checked bundle, and into a plan where that is possible."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aotfactory.cli.options import (
    AllDTypes,
    ArchOption,
    Attr,
    DType,
    FormatOption,
    IsaOption,
    MaxShape,
    MinShape,
    OptShape,
    Out,
    Plugins,
    ShapeOption,
    Tactic,
    Target,
    request_of,
    shapes_of,
)
from aotfactory.cli.terminal import Format, print_json, say, show, working
from aotfactory.core.errors import MissingError

if TYPE_CHECKING:
    from aotfactory.api.bake import Baked
    from aotfactory.api.build import BuildResult


class Engine(str, enum.Enum):
    """What a build makes."""

    auto = "auto"
    tensorrt = "tensorrt"
    bundle = "bundle"


def build(
    target: Target,
    plugins: Plugins = [],  # noqa: B006  (typer copies it)
    shape: ShapeOption = [],  # noqa: B006
    min_shape: MinShape = [],  # noqa: B006
    opt_shape: OptShape = [],  # noqa: B006
    max_shape: MaxShape = [],  # noqa: B006
    dtype: DType = [],  # noqa: B006
    attr: Attr = [],  # noqa: B006
    arch: ArchOption = None,
    ptx_isa: IsaOption = None,
    tactic: Tactic = None,
    all_dtypes: AllDTypes = False,
    engine: Annotated[
        Engine, typer.Option(help="A TensorRT plan, a kernel bundle, or the most this machine can.")
    ] = Engine.auto,
    out: Out = Path("engines"),
    format: FormatOption = Format.text,
) -> None:
    """Compile and check a target, and build its engine where TensorRT's builder and a GPU are."""
    if engine is Engine.tensorrt:
        _require_bake()
    options = locals()
    report = _compile(target, options)
    if format is Format.text:
        _print_report(report, format)
    baked = None
    if report.path and engine is not Engine.bundle:
        with working() as progress:
            from aotfactory.api import bake

            archs = {v.arch for v in report.bundle.variants}
            baked = bake.plan_for(report.path, len(archs), shapes_of(options), progress)
    if format is Format.json:
        _print_report(report, format, baked)
    elif baked:
        from aotfactory.cli import tables

        show(lambda console: tables.print_baked(console, baked))
    if report.path and engine is Engine.auto and not baked:
        say("no plan was made: it takes TensorRT's builder and a GPU (aotfactory bake)")
    raise typer.Exit(1 if report.failed else 0)


def _require_bake() -> None:
    from aotfactory.core import cuda
    from aotfactory.plugins import tensorrt_api

    tensorrt_api.require_builder()
    if cuda.cuda_device_count() == 0:
        raise MissingError("a plan is built on a GPU, and this machine has none", hint="use --engine bundle here")


def compile_command(
    target: Target,
    plugins: Plugins = [],  # noqa: B006
    shape: ShapeOption = [],  # noqa: B006
    min_shape: MinShape = [],  # noqa: B006
    opt_shape: OptShape = [],  # noqa: B006
    max_shape: MaxShape = [],  # noqa: B006
    dtype: DType = [],  # noqa: B006
    attr: Attr = [],  # noqa: B006
    arch: ArchOption = None,
    ptx_isa: IsaOption = None,
    tactic: Tactic = None,
    all_dtypes: AllDTypes = False,
    out: Out = Path("engines"),
    format: FormatOption = Format.text,
) -> None:
    """Compile and check a target into a kernel bundle, on any machine."""
    report = _compile(target, locals())
    _print_report(report, format)
    raise typer.Exit(1 if report.failed else 0)


def _compile(target: str, options: dict[str, Any]) -> BuildResult:
    """Run the library's compile step for the options of `build` or `compile`."""
    with working() as progress:
        from aotfactory.api import build as building
        from aotfactory.compiler.compile import Options
        from aotfactory.core import arch as archs

        request = request_of(options)
        arch, isa = options["arch"], options["ptx_isa"]
        compile_options = Options(
            archs=archs.parse_archs(arch) if arch is not None else (archs.default_arch(),),
            isa=archs.PtxIsa.parse(isa) if isa is not None else None,
            all_dtypes=options["all_dtypes"],
            tactic=options["tactic"],
        )
        return building.build_bundle(
            target,
            request=request,
            options=compile_options,
            out=options["out"],
            plugins=options["plugins"],
            progress=progress,
        )


def _print_report(report: BuildResult, format: Format, baked: Baked | None = None) -> None:
    from aotfactory.api import build as building
    from aotfactory.cli import tables

    if format is Format.json:
        result = building.to_json(report)
        if baked:
            result["engine"] = {"kind": "plan", "path": str(baked.path), "sha256": baked.plan.sha256}
        print_json(result)
    else:
        show(lambda console: tables.print_build(console, report))
