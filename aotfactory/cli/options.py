# SPDX-License-Identifier: Apache-2.0
"""The options and arguments that several commands take, and how their texts are read."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from aotfactory.cli import complete
from aotfactory.cli.terminal import Format
from aotfactory.core.errors import EngineNameError, OptionsError
from aotfactory.core.files import ENGINE_NAME

if TYPE_CHECKING:
    from aotfactory.core.network import Shape
    from aotfactory.executors.native.runner import RunnerOptions
    from aotfactory.executors.trtexec.command import TrtexecOptions


Value = TypeVar("Value")

ShapeOption = Annotated[
    list[str], typer.Option("--shape", metavar="[NAME=]1x3x32x32", help="Shape of an input; opt, for a dynamic one.")
]
MinShape = Annotated[list[str], typer.Option("--min-shape", metavar="[NAME=]SHAPE", help="Smallest dynamic shape.")]
OptShape = Annotated[list[str], typer.Option("--opt-shape", metavar="[NAME=]SHAPE", help="Shape to optimise for.")]
MaxShape = Annotated[list[str], typer.Option("--max-shape", metavar="[NAME=]SHAPE", help="Largest dynamic shape.")]
DimOption = Annotated[
    list[str],
    typer.Option("--dim", metavar="NAME=MIN:OPT:MAX", help="A dimension by its name; NAME=8 fixes it."),
]


def named_shapes(option: str, texts: Sequence[str]) -> dict[str | None, Shape]:
    """Shapes by input name: ``x=1x3x32x32`` and bare ones, and as trtexec takes them, ``x:1x3x32x32,y:8x64``."""
    from aotfactory.targets.request import parse_shape

    plain: list[str] = []
    for text in texts:
        items = [re.fullmatch(r"([^=:]+(?::\d+)?):(\d+(?:x\d+)*)", item) for item in text.split(",")]
        plain += [f"{item[1]}={item[2]}" for item in items if item] if all(items) else [text]
    return named(option, plain, parse_shape)


def named(option: str, texts: Sequence[str], convert: Callable[[str], Value]) -> dict[str | None, Value]:
    """``NAME=value`` and bare ``value`` options, by name; the bare one under None."""
    found: dict[str | None, Value] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        key = name if equals else None
        if key in found:
            whose = f"for {key}" if key else "without a name"
            raise OptionsError(f"{option} is given twice {whose}", hint=f"name the inputs: {option} NAME={value}")
        found[key] = convert(value)
    return found


def require_name(name: str, option: str) -> None:
    """Refuse what cannot be the name of an engine's files.

    Raises:
        UsageError: With what can.
    """
    if not ENGINE_NAME.fullmatch(name):
        raise EngineNameError(
            f"{option}: {name!r} cannot be the name of an engine", hint="use letters, digits, _, - and ."
        )


Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="A recipe, a plugin id (namespace::name), or a .onnx file.",
        autocompletion=complete.recipe_names,
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


DType = Annotated[
    list[str],
    typer.Option("--dtype", metavar="[NAME=]fp32", help="Data type of an input.", autocompletion=complete.data_types),
]


Attr = Annotated[
    list[str],
    typer.Option(
        "--attr",
        metavar="NAME=VALUE",
        help="Plugin attribute; 1,1,1,1 for an array.",
        autocompletion=complete.attributes,
    ),
]


ArchOption = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="sm_80,sm_90",
        help="Architectures; native (the GPU here) or portable (every GPU from sm_80 on).",
        autocompletion=complete.architectures,
    ),
]


IsaOption = Annotated[str | None, typer.Option("--ptx-isa", metavar="8.0", help="Newest PTX ISA to write.")]


Tactic = Annotated[int | None, typer.Option("--tactic", metavar="N", help="Only this tactic.")]


AllDTypes = Annotated[bool, typer.Option("--all-dtypes", help="Also the data types that this network does not use.")]


class RoadName(str, enum.Enum):
    """How TensorRT gets the kernels."""

    aot = "aot"
    library = "library"


RoadOption = Annotated[
    RoadName,
    typer.Option("--road", help="library: for a plugin library alone, which launches more than AOT plugins can."),
]


Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")]


Jobs = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, metavar="N", help="Processes to work with; by default, all cores.")
]


NoCache = Annotated[bool, typer.Option("--no-cache", help="Compile and check everything anew, and keep nothing.")]


Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="PATH", help="The engine's file: DIR/NAME.aot, its plan is DIR/NAME.plan."),
]


Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the engine in --out.")]


FormatOption = Annotated[Format, typer.Option("--format", help="JSON goes to stdout, everything else to stderr.")]


class Executor(str, enum.Enum):
    """The executors that there are (`api/executors.py`): the first two run a bundle, the others a plan."""

    interpreter = "interpreter"
    launcher = "launcher"
    runner = "runner"
    trtexec = "trtexec"


Artifact = Annotated[
    Path,
    typer.Argument(metavar="PATH", help="A bundle, engines/NAME.aot, or a plan, NAME.plan.", show_default=False),
]


Shapes = Annotated[
    list[str], typer.Option("--shape", metavar="[NAME=]1x3x32x32", help="Shape of an input that gets random data.")
]


TrtexecOption = Annotated[
    Path | None, typer.Option("--trtexec", metavar="PATH", help="For plans: trtexec, if not in the usual places.")
]


RootOption = Annotated[
    Path | None,
    typer.Option("--tensorrt-root", metavar="DIR", help="For plans: TensorRT's directory, if not $TENSORRT_ROOT."),
]


LeanOption = Annotated[bool, typer.Option("--lean", help="For plans: let the runner take the lean runtime.")]


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The tools that run a plan, as the options name them."""

    trtexec: Path | None = None
    root: Path | None = None
    lean: bool = False

    def for_trtexec(self) -> TrtexecOptions:
        from aotfactory.executors.trtexec.command import TrtexecOptions

        return TrtexecOptions(program=self.trtexec, root=self.root)

    def for_runner(self, **options: Any) -> RunnerOptions:
        from aotfactory.executors.native.runner import RunnerOptions

        return RunnerOptions(tensorrt_root=self.root, lean=self.lean, **options)

    def require_none(self) -> None:
        """Refuse these options with a bundle."""
        for option, value in (("--trtexec", self.trtexec), ("--tensorrt-root", self.root), ("--lean", self.lean)):
            if value:
                raise OptionsError(f"{option} is for plans", hint="a bundle takes no TensorRT")


def is_plan(path: Path) -> bool:
    return path.suffix == ".plan"


def shapes_by_name(path: Path, inputs: Iterable[str], texts: Sequence[str]) -> dict[str, Shape]:
    """``NAME=shape``, where an artifact with one input needs no name."""
    from aotfactory.targets.request import TargetOptions, check_names

    names, given = list(inputs), named_shapes("--shape", texts)
    check_names(TargetOptions(shape=given), names, path.name)
    return {name or names[0]: shape for name, shape in given.items()}
