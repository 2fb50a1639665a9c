# SPDX-License-Identifier: Apache-2.0
"""The command line: parses, calls the library, prints. Modules that load TensorRT or Triton are imported late."""

from __future__ import annotations

import enum
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from aotfactory.errors import AotError, MissingError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from aotfactory.build import Report

app = typer.Typer(
    name="aotfactory",
    help="Ahead-of-time TensorRT engines with custom kernels baked in.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


class Format(str, enum.Enum):
    """How a command prints its result."""

    text = "text"
    json = "json"


class Engine(str, enum.Enum):
    """What a build makes."""

    auto = "auto"
    tensorrt = "tensorrt"
    bundle = "bundle"


Target = Annotated[str, typer.Argument(help="A recipe, a plugin id (namespace::name), or a .onnx file.")]
Plugins = Annotated[
    list[str],
    typer.Option("--plugins", metavar="PATH[:FUNC]", help="A module of plugin definitions; FUNC is called after it."),
]
ShapeOption = Annotated[
    list[str], typer.Option("--shape", metavar="[NAME=]1x3x32x32", help="Shape of an input; opt, for a dynamic one.")
]
MinShape = Annotated[list[str], typer.Option("--min-shape", metavar="[NAME=]SHAPE", help="Smallest dynamic shape.")]
OptShape = Annotated[list[str], typer.Option("--opt-shape", metavar="[NAME=]SHAPE", help="Shape to optimise for.")]
MaxShape = Annotated[list[str], typer.Option("--max-shape", metavar="[NAME=]SHAPE", help="Largest dynamic shape.")]
DType = Annotated[list[str], typer.Option("--dtype", metavar="[NAME=]fp32", help="Data type of an input.")]
Attr = Annotated[
    list[str], typer.Option("--attr", metavar="NAME=VALUE", help="Plugin attribute; 1,1,1,1 for an array.")
]
ArchOption = Annotated[
    str | None, typer.Option("--arch", metavar="sm_80,sm_90", help="Architectures, native (this GPU) or portable.")
]
IsaOption = Annotated[str | None, typer.Option("--ptx-isa", metavar="8.0", help="Newest PTX ISA to write.")]
Tactic = Annotated[int | None, typer.Option("--tactic", help="Only this tactic.")]
AllDTypes = Annotated[bool, typer.Option("--all-dtypes", help="Also the data types that this network does not use.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")]
FormatOption = Annotated[Format, typer.Option("--format", help="JSON goes to stdout, everything else to stderr.")]


@app.command()
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
        Engine, typer.Option(help="A TensorRT plan, a bundle, or the most this machine can.")
    ] = Engine.auto,
    out: Out = Path("engines"),
    format: FormatOption = Format.text,
) -> None:
    """Compile and check a target, and build its engine where TensorRT's builder and a GPU are."""
    if engine is Engine.tensorrt:
        from aotfactory import tensorrt_api

        tensorrt_api.require_builder()
    report = _compile(target, locals())
    _print_report(report, format)
    if engine is Engine.auto and not report.failed:
        _say("this is the kernel bundle; a plan takes TensorRT's builder and a GPU, which `--engine tensorrt` asks for")
    raise typer.Exit(1 if report.failed else 0)


@app.command("compile")
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


@app.command("list")
def list_command(plugins: Plugins = [], format: FormatOption = Format.text) -> None:  # noqa: B006
    """List the recipes: aotfactory's own, those of installed packages, and those in --plugins."""
    from aotfactory.catalog import Catalog

    catalog = Catalog(plugins)
    catalog.load_all()
    recipes = list(catalog.recipes.values())
    if format is Format.json:
        from aotfactory.build import recipe_to_json

        _print_json({"schema": "aotfactory.list/1", "recipes": [recipe_to_json(r) for r in recipes]})
        return
    from aotfactory import report

    report.print_recipes(_console(), recipes)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A bundle: engines/NAME.aot.")], format: FormatOption = Format.text
) -> None:
    """Show what an artifact holds, after verifying it."""
    from aotfactory import bundle as bundles

    found = bundles.read(path)
    if format is Format.json:
        _print_json(bundles.manifest(found))
        return
    from aotfactory import report

    report.print_bundle(_console(), found)


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, typer.Option("--version", help="Show the versions that matter.")] = False,
) -> None:
    if version:
        for name, found in _versions().items():
            print(f"{name} {found}")
        raise typer.Exit


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as package_version

    from aotfactory import tensorrt_api

    found = {"aotfactory": package_version("aotfactory"), "Python": sys.version.split()[0]}
    try:
        tensorrt = tensorrt_api.load()
        found["tensorrt"] = f"{tensorrt.version} ({tensorrt.kind})"
    except MissingError:
        found["tensorrt"] = "missing"
    for name in ("triton", "numpy", "cuda-python", "polygraphy", "onnx"):
        try:
            found[name] = package_version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _compile(target: str, options: dict[str, Any]) -> Report:
    """Run the library's compile step for the options of `build` or `compile`."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from aotfactory import arch as archs
    from aotfactory import build as building
    from aotfactory.compile import Options
    from aotfactory.targets import Request, parse_shape

    request = Request(
        shape=_named(options["shape"], parse_shape),
        min_shape=_named(options["min_shape"], parse_shape),
        opt_shape=_named(options["opt_shape"], parse_shape),
        max_shape=_named(options["max_shape"], parse_shape),
        dtype=_named(options["dtype"], str),
        attributes=_attributes(options["attr"]),
    )
    arch, isa = options["arch"], options["ptx_isa"]
    compile_options = Options(
        archs=archs.parse_archs(arch) if arch else (archs.default_arch(),),
        isa=archs.PtxIsa.parse(isa) if isa else None,
        all_dtypes=options["all_dtypes"],
        tactic=options["tactic"],
    )
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=_console(stderr=True), transient=True) as progress:
        task = progress.add_task("loading")
        return building.build_bundle(
            target,
            request=request,
            options=compile_options,
            out=options["out"],
            plugins=options["plugins"],
            progress=lambda text: progress.update(task, description=text),
        )


def _named(texts: list[str], convert: Any) -> dict[str | None, Any]:
    """``NAME=value`` and bare ``value`` options, by name; the bare one under None."""
    found: dict[str | None, Any] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        key = name if equals else None
        if key in found:
            raise UsageError(f"given twice: {text!r}", hint="name the inputs: NAME=value")
        found[key] = convert(value)
    return found


def _attributes(texts: list[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise UsageError(f"--attr {text!r} has no value", hint="write --attr NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)


def _print_report(report: Report, format: Format) -> None:
    from aotfactory import build as building
    from aotfactory import report as text

    if format is Format.json:
        _print_json(building.to_json(report))
    else:
        text.print_build(_console(), report)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> NoReturn:
    """Entry point: one place turns errors into messages and exit codes."""
    try:
        app()
    except AotError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted; nothing was changed", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(0)
