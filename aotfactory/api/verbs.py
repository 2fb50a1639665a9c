# SPDX-License-Identifier: Apache-2.0
"""The verbs of the command line as functions: `aotfactory.build`, `compile`, `bake`, `validate`, `run`, `tune`.

They take what the options take, as Python values or as the same texts, and raise what the command line prints
(`aotfactory.AotError` and its kinds). Shapes, data types and attributes are given by input name, or bare where there is
one input: ``shape={"x": (8, 64)}``, ``shape="8x64"``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aotfactory.api.build import BuildResult, build_bundle
from aotfactory.compiler.bundle import require_bundle
from aotfactory.compiler.options import Options
from aotfactory.core import cuda
from aotfactory.core.arch import PtxIsa, Road, default_arch, parse_archs
from aotfactory.core.cache import open_cache
from aotfactory.core.check import Check, failed
from aotfactory.core.dtypes import find
from aotfactory.core.network import Shape, shape_text
from aotfactory.core.workers import available_cores
from aotfactory.targets.request import TargetOptions, parse_dim, parse_shape

if TYPE_CHECKING:  # a build that nothing has changed for takes less time than these take to load
    from aotfactory.api.bake import Baked
    from aotfactory.api.tune import Ranking
    from aotfactory.executors.inputs import Array
    from aotfactory.executors.native.launcher import LaunchResult
    from aotfactory.executors.native.runner import RunnerResult

Progress = Callable[[str], None]
AnyShape = str | Sequence[int]
Shapes = AnyShape | Mapping[str, AnyShape] | None
"""A shape for the only input, or shapes by input name; ``"1x3x32x32"`` or ``(1, 3, 32, 32)``."""


def silent(text: str) -> None:
    """Show no progress."""


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """The checks of an artifact.

    Attributes:
        path: The bundle or plan.
        checks: One for every executor and subject; a skipped one says why.
    """

    path: Path
    checks: tuple[Check, ...]

    @property
    def failed(self) -> list[Check]:
        return failed(self.checks)


@dataclass(frozen=True, kw_only=True)
class TuneResult:
    """A ranking of tactics, and the file that keeps it with earlier ones."""

    ranking: Ranking
    path: Path


def compile(
    target: str,
    *,
    shape: Shapes = None,
    min_shape: Shapes = None,
    opt_shape: Shapes = None,
    max_shape: Shapes = None,
    dim: Mapping[str, str | int | Sequence[int]] | None = None,
    dtype: str | Mapping[str, str] | None = None,
    attributes: Mapping[str, Any] | None = None,
    plugins: Iterable[str] = (),
    arch: str | None = None,
    ptx_isa: str | None = None,
    tactic: int | None = None,
    all_dtypes: bool = False,
    road: Road = "aot",
    out: str | Path = "engines",
    name: str | None = None,
    jobs: int | None = None,
    cache: bool = True,
    progress: Progress = silent,
) -> BuildResult:
    """Compile and check a target, and write its bundle as ``out/NAME.aot`` if every check passed.

    Args:
        target: A recipe, a plugin id (``namespace::name``), or a ``.onnx`` file.
        shape: In elements; a static shape, or the opt of a dynamic one.
        min_shape: The smallest of a dynamic shape.
        opt_shape: The one that the engine is tuned for.
        max_shape: The largest.
        dim: Named dimensions of the inputs: ``{"batch": (1, 8, 64)}``, ``{"batch": "1:8:64"}``, 8 for a static one.
        dtype: ``fp32`` and so on, for all inputs or by name.
        plugins: Modules of definitions: files, directories or dotted names, each with an optional ``:function``.
        arch: ``sm_80,sm_90``, ``native`` or ``portable``; by default the GPU here, else ``portable``.
        ptx_isa: Newest PTX ISA to write, such as ``8.0``.
        tactic: Only this one.
        all_dtypes: Also the combinations that the network's own data types do not use.
        road: ``library``: for a plugin library alone, which launches more than AOT plugins can have.
        name: Of the engine; by default the recipe's, plugin's or model's.
        jobs: How many processes; by default one for each core. The result is the same for any number.
        cache: Whether to use what earlier builds compiled and checked, and to keep it for later ones.
        progress: Told what is being done.

    Returns:
        The bundle with its checks; `path` is None where one failed.

    Raises:
        AotError: The target, an option or a definition is wrong. Nothing was written.
    """
    options = Options(
        archs=(default_arch(),) if arch is None else parse_archs(arch),
        isa=None if ptx_isa is None else PtxIsa.parse(ptx_isa),
        all_dtypes=all_dtypes,
        tactic=tactic,
        road=road,
    )
    request = replace(_target_options(shape, min_shape, opt_shape, max_shape, dtype, attributes), dims=_dims(dim))
    return build_bundle(
        target,
        request=request,
        options=options,
        out=Path(out),
        plugins=plugins,
        progress=progress,
        cache=open_cache() if cache else None,
        jobs=jobs or available_cores(),
        name=name,
    )


def build(
    target: str, *, engine: Literal["auto", "tensorrt", "bundle"] = "auto", progress: Progress = silent, **options: Any
) -> BuildResult:
    """Compile and check a target, and build its plan where TensorRT's builder and a GPU are.

    Args:
        engine: ``auto``: a plan where this machine can make one; ``tensorrt``: a plan or an error; ``bundle``: none.
        options: As `compile` takes them.

    Returns:
        As `compile` does, with `baked` where a plan was made.

    Raises:
        AotError: As for `compile` and `bake`.
    """
    if engine == "tensorrt":
        from aotfactory.api.bake import require_bake

        require_bake()
    built = compile(target, progress=progress, **options)
    if built.path is None or engine == "bundle" or not cuda.cuda_device_count():
        return built
    from aotfactory.api.bake import plan_for

    cache = open_cache() if options.get("cache", True) else None
    shape, low, opt, high = (options.get(n) for n in ("shape", "min_shape", "opt_shape", "max_shape"))
    shapes = replace(_target_options(shape, low, opt, high, None, None), dims=_dims(options.get("dim")))
    archs = {variant.arch for variant in built.bundle.variants}
    return replace(built, baked=plan_for(built.path, len(archs), shapes, progress, cache))


def bake(
    path: str | Path,
    *,
    out: str | Path | None = None,
    plugins: Iterable[str] = (),
    cache: bool = True,
    progress: Progress = silent,
    road: Road = "aot",
    **options: Any,
) -> Baked:
    """Build a TensorRT plan from a bundle's own kernels, byte for byte.

    Args:
        path: The bundle, ``engines/NAME.aot``.
        out: Directory of the plan; by default the bundle's parent.
        cache: Whether to take a plan of the same bundle, options, GPU, driver and TensorRT that was built before.
        road: ``library``: with a plugin library, ``libNAME.so`` beside the plan, instead of AOT plugins.
        options: Fields of `aotfactory.plan.options.PlanOptions`.

    Raises:
        AotError: This machine lacks the builder or a GPU, or the bundle does not fit. What was there before stays.
    """
    from aotfactory.api import bake as baking
    from aotfactory.plan.options import PlanOptions

    return baking.bake(
        Path(path),
        options=PlanOptions(**options),
        road=road,
        out=None if out is None else Path(out),
        plugins=plugins,
        progress=progress,
        cache=open_cache() if cache else None,
    )


def validate(
    path: str | Path, *, plugins: Iterable[str] = (), executors: Sequence[str] = (), progress: Progress = silent
) -> ValidationResult:
    """Compare a bundle or plan with its reference.

    Args:
        executors: ``interpreter`` and ``launcher`` for a bundle, ``trtexec`` and ``runner`` for a plan; by default all.

    Raises:
        AotError: There is no such artifact, or it is damaged.
    """
    from aotfactory.api import validate as validating
    from aotfactory.api.validate_plan import validate_plan

    path = Path(path)
    if path.suffix == ".plan":
        checks = validate_plan(path, plugins=plugins, executors=executors, progress=progress)
    else:
        checks = validating.validate(path, plugins=plugins, executors=executors, progress=progress)
    return ValidationResult(path=path, checks=tuple(checks))


def run(
    path: str | Path,
    *,
    inputs: Mapping[str, Array | Path] | None = None,
    shape: Mapping[str, AnyShape] | None = None,
    output_dir: str | Path | None = None,
    tactic: int | None = None,
    seed: int = 0,
) -> LaunchResult | RunnerResult:
    """Run a bundle (with the launcher) or a plan (with the runner) on the GPU, in a process without Python.

    Args:
        inputs: Arrays or ``.npy`` files by input name; the others get random data.
        shape: Shapes of the inputs that get random data.
        tactic: A bundle's; by default its first.

    Raises:
        AotError: This machine has no GPU, or an input does not fit.
    """
    from aotfactory.executors.native.launcher import run_launcher
    from aotfactory.executors.native.runner import RunnerOptions
    from aotfactory.plan.plan_file import PlanFile

    path, shapes = Path(path), {name: _shape(given) for name, given in (shape or {}).items()}
    directory = None if output_dir is None else Path(output_dir)
    if path.suffix == ".plan":
        options = RunnerOptions(seed=seed)
        return PlanFile.read(path).in_runner(options, inputs=inputs, shapes=shapes, output_dir=directory, check=False)
    require_bundle(path)
    return run_launcher(path, inputs=inputs, shapes=shapes, output_dir=directory, tactic=tactic, seed=seed, check=False)


def tune(
    target: str,
    *,
    shape: Shapes = None,
    min_shape: Shapes = None,
    opt_shape: Shapes = None,
    max_shape: Shapes = None,
    dtype: str | Mapping[str, str] | None = None,
    attributes: Mapping[str, Any] | None = None,
    plugins: Iterable[str] = (),
    iterations: int = 50,
    out: str | Path = "engines",
    progress: Progress = silent,
) -> TuneResult:
    """Time every tactic of a target on the GPU here, and keep the ranking in ``out/NAME.tuning.json``.

    Raises:
        AotError: This machine has no GPU, or the target does not compile.
    """
    request = _target_options(shape, min_shape, opt_shape, max_shape, dtype, attributes)
    from aotfactory.api import tune as tuning

    ranking, path = tuning.tune(
        target, request=request, out=Path(out), plugins=plugins, iterations=iterations, progress=progress
    )
    return TuneResult(ranking=ranking, path=path)


def _target_options(
    shape: Shapes,
    min_shape: Shapes,
    opt_shape: Shapes,
    max_shape: Shapes,
    dtype: str | Mapping[str, str] | None,
    attributes: Mapping[str, Any] | None,
) -> TargetOptions:
    return TargetOptions(
        shape=_shapes(shape),
        min_shape=_shapes(min_shape),
        opt_shape=_shapes(opt_shape),
        max_shape=_shapes(max_shape),
        dtype={name: find(kind).name for name, kind in _by_name(dtype).items()},
        attributes=dict(attributes or {}),
    )


def _dims(given: Mapping[str, str | int | Sequence[int]] | None) -> dict[str, tuple[int, int, int]]:
    def text(value: str | int | Sequence[int]) -> str:
        return str(value) if isinstance(value, str | int) else ":".join(map(str, value))

    return {name: parse_dim(text(value)) for name, value in (given or {}).items()}


def _shapes(given: Shapes) -> dict[str | None, Shape]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {name: _shape(shape) for name, shape in given.items()}
    return {None: _shape(given)}


def _shape(given: AnyShape) -> Shape:
    """Text or integers; both are checked alike."""
    if not isinstance(given, str) and not given:
        return ()  # a scalar's
    return parse_shape(given if isinstance(given, str) else shape_text(given))


def _by_name(dtype: str | Mapping[str, str] | None) -> Mapping[str | None, str]:
    return {None: dtype} if isinstance(dtype, str) else dict((dtype or {}).items())
