# SPDX-License-Identifier: Apache-2.0
"""The commands `build` and `compile`: a target into a checked bundle, and into a plan where that is possible."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aotfactory import cli_bake
from aotfactory.cli_shapes import MaxShape, MinShape, OptShape, ShapeOption, named, shapes_of
from aotfactory.errors import MissingError, UsageError
from aotfactory.terminal import Format, print_json, say, show, working

if TYPE_CHECKING:
    from aotfactory.bake import Baked
    from aotfactory.build import Report
    from aotfactory.targets import Request


class Engine(str, enum.Enum):
    """What a build makes."""

    auto = "auto"
    tensorrt = "tensorrt"
    bundle = "bundle"


def _recipe_names(incomplete: str) -> list[str]:
    """For the shell's completion: the recipes that ship with aotfactory, without loading them."""
    kernels = importlib.import_module("aotfactory.kernels").__path__
    names = (m.name for m in pkgutil.iter_modules(kernels) if not m.name.startswith("_"))
    return sorted(name for name in names if name.startswith(incomplete))


Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="A recipe, a plugin id (namespace::name), or a .onnx file.",
        autocompletion=_recipe_names,
        show_default=False,
    ),
]
Plugins = Annotated[
    list[str],
    typer.Option(
        "--plugins",
        metavar="PATH[:FUNC]",
        help="Plugin definitions: a file, a directory or a dotted module name; FUNC is called after the import.",
    ),
]
DType = Annotated[list[str], typer.Option("--dtype", metavar="[NAME=]fp32", help="Data type of an input.")]
Attr = Annotated[
    list[str], typer.Option("--attr", metavar="NAME=VALUE", help="Plugin attribute; 1,1,1,1 for an array.")
]
ArchOption = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="sm_80,sm_90",
        help="Architectures; native (the GPU here) or portable (every GPU from sm_80 on).",
    ),
]
IsaOption = Annotated[str | None, typer.Option("--ptx-isa", metavar="8.0", help="Newest PTX ISA to write.")]
Tactic = Annotated[int | None, typer.Option("--tactic", metavar="N", help="Only this tactic.")]
AllDTypes = Annotated[bool, typer.Option("--all-dtypes", help="Also the data types that this network does not use.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")]
FormatOption = Annotated[Format, typer.Option("--format", help="JSON goes to stdout, everything else to stderr.")]


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
            archs = {v.arch for v in report.bundle.variants}
            baked = cli_bake.plan_for(report.path, len(archs), shapes_of(options), progress)
    if format is Format.json:
        _print_report(report, format, baked)
    elif baked:
        show(lambda console: cli_bake.print_baked(console, baked))
    if report.path and engine is Engine.auto and not baked:
        say("no plan was made: it takes TensorRT's builder and a GPU (aotfactory bake)")
    raise typer.Exit(1 if report.failed else 0)


def _require_bake() -> None:
    from aotfactory import tensorrt_api

    tensorrt_api.require_builder()
    if tensorrt_api.cuda_device_count() == 0:
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


def _compile(target: str, options: dict[str, Any]) -> Report:
    """Run the library's compile step for the options of `build` or `compile`."""
    with working() as progress:
        from aotfactory import arch as archs
        from aotfactory import build as building
        from aotfactory.compile import Options

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


def request_of(options: Mapping[str, Any]) -> Request:
    """What the options of shapes, data types and attributes ask for, by their parameters' names."""
    dtype, attributes = named("--dtype", options["dtype"], str), _attributes(options["attr"])
    return dataclasses.replace(shapes_of(options), dtype=dtype, attributes=attributes)


def _attributes(texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--attr {text!r} has no value", hint="write --attr NAME=VALUE")
        if name in found:
            raise UsageError(f"--attr {name} is given twice", hint="an array is one value: --attr NAME=1,1,1,1")
        found[name] = value
    return found


def _print_report(report: Report, format: Format, baked: Baked | None = None) -> None:
    from aotfactory import build as building
    from aotfactory import report as text

    if format is Format.json:
        result = building.to_json(report)
        if baked:
            result["engine"] = {"kind": "plan", "path": str(baked.path), "sha256": baked.plan.sha256}
        print_json(result)
    else:
        show(lambda console: text.print_build(console, report))
