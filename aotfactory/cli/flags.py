# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, as dataclasses: a command takes one parameter and has all of its options."""

from __future__ import annotations

import functools
import inspect
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from aotfactory.cli.check_options import Because, CheckTime, SkipCheck, skipped_checks
from aotfactory.cli.options import (
    AllDTypes,
    ArchOption,
    Attr,
    DimOption,
    DType,
    IsaOption,
    Jobs,
    MaxShape,
    MinShape,
    Name,
    NoCache,
    OptShape,
    Out,
    Output,
    Plugins,
    RoadName,
    RoadOption,
    ShapeOption,
    Tactic,
    named,
    named_shapes,
    require_name,
)
from aotfactory.cli.signature import Command, parameters, with_parameters
from aotfactory.cli.terminal import say
from aotfactory.core.cache import Cache, open_cache
from aotfactory.core.dtypes import find
from aotfactory.core.errors import OptionsError, OptionValueError
from aotfactory.executors.effort import CHECK_TIME

if TYPE_CHECKING:
    from aotfactory.compiler.options import Options
    from aotfactory.targets.request import TargetOptions


@dataclass(frozen=True, kw_only=True)
class ShapeFlags:
    """Shapes of the inputs."""

    shape: ShapeOption = field(default_factory=list)
    min_shape: MinShape = field(default_factory=list)
    opt_shape: OptShape = field(default_factory=list)
    max_shape: MaxShape = field(default_factory=list)
    dim: DimOption = field(default_factory=list)

    def target_options(self) -> TargetOptions:
        """The same as values."""
        from aotfactory.targets.request import TargetOptions, parse_dim

        return TargetOptions(
            shape=named_shapes("--shape", self.shape),
            min_shape=named_shapes("--min-shape", self.min_shape),
            opt_shape=named_shapes("--opt-shape", self.opt_shape),
            max_shape=named_shapes("--max-shape", self.max_shape),
            dims={_name(name, text): parse_dim(text) for name, text in named("--dim", self.dim, str).items()},
        )

    def shapes_alone(self) -> TargetOptions:
        """The shapes, without what else a target takes."""
        return ShapeFlags.target_options(self)


@dataclass(frozen=True, kw_only=True)
class TargetFlags(ShapeFlags):
    """Options that go with a target: modules of definitions, shapes, data types, attributes."""

    plugins: Plugins = field(default_factory=list)
    dtype: DType = field(default_factory=list)
    attr: Attr = field(default_factory=list)

    def target_options(self) -> TargetOptions:
        from dataclasses import replace

        return replace(
            super().target_options(),
            dtype=named("--dtype", self.dtype, lambda text: find(text).name),
            attributes=_attributes(self.attr),
        )


@dataclass(frozen=True, kw_only=True)
class CompileFlags(TargetFlags):
    """How `build` and `compile` make a bundle."""

    arch: ArchOption = None
    ptx_isa: IsaOption = None
    tactic: Tactic = None
    all_dtypes: AllDTypes = False
    road: RoadOption = RoadName.aot
    out: Out = Path("engines")
    output: Output = None
    name: Name = None
    jobs: Jobs = None
    no_cache: NoCache = False
    check_time: CheckTime = CHECK_TIME
    skip_check: SkipCheck = field(default_factory=list)
    because: Because = field(default_factory=list)

    def skipped(self) -> dict[str, str]:
        """Names of checks that are not to count, each with the reason."""
        return skipped_checks(self.skip_check, self.because)

    def place(self) -> tuple[Path, str | None]:
        """Directory and name of the engine; None: the target's own name."""
        if self.output is None:
            if self.name is not None:
                require_name(self.name, "--name")
            return self.out, self.name
        if self.name is not None:
            raise OptionsError("--output and --name both name the engine", hint="give one of them")
        name = self.output.name.removesuffix(".aot").removesuffix(".plan")
        require_name(name, "--output")
        return self.output.parent, name

    def cache(self) -> Cache | None:
        """The cache that the environment asks for, unless there is to be none."""
        return None if self.no_cache else open_cache(warn=lambda text: say(f"warning: {text}"))

    def compile_options(self) -> Options:
        """The same as values."""
        from aotfactory.compiler.options import Options
        from aotfactory.core.arch import PtxIsa, default_arch, parse_archs

        return Options(
            archs=parse_archs(self.arch) if self.arch is not None else (default_arch(),),
            isa=PtxIsa.parse(self.ptx_isa) if self.ptx_isa is not None else None,
            all_dtypes=self.all_dtypes,
            tactic=self.tactic,
            road=self.road.value,
        )


def _name(name: str | None, text: str) -> str:
    if not name:
        raise OptionValueError(f"--dim {text!r} does not say which dimension", hint="write --dim NAME=1:8:64")
    return name


def _attributes(texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise OptionValueError(f"--attr {text!r} has no value", hint="write --attr NAME=VALUE")
        if name in found:
            raise OptionsError(f"--attr {name} is given twice", hint="an array is one value: --attr NAME=1,1,1,1")
        found[name] = value
    return found


def with_flags(command: Command) -> Command:
    """Give a command the fields of its parameter `flags`, a dataclass, as options of its own."""
    own = parameters(command)
    place = next(i for i, parameter in enumerate(own) if parameter.name == "flags")
    kind = own[place].annotation
    kinds = get_type_hints(kind, include_extras=True)
    options = [
        inspect.Parameter(
            f.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=f.default if f.default_factory is MISSING else f.default_factory(),
            annotation=kinds[f.name],
        )
        for f in fields(kind)
    ]

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        values = {option.name: given.pop(option.name) for option in options}
        command(**given, flags=kind(**values))

    return cast(Command, with_parameters(wrapper, [*own[:place], *options, *own[place + 1 :]]))
