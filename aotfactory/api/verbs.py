# SPDX-License-Identifier: Apache-2.0
"""The verbs of the command line as functions: `aotfactory.build`, `compile`, `bake`, `validate`, `run`, `tune`.

They take what the options take, as Python values or as the same texts, and raise what the command line prints
(`aotfactory.AotError` and its kinds). Shapes, data types and attributes are given by input name, or bare where there is
one input: ``shape={"x": (8, 64)}``, ``shape="8x64"``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aotfactory.api.arguments import AnyShape, Dims, DTypes, Shapes, parsed_shape, target_options
from aotfactory.api.build import BuildResult, Engine, build_bundle, with_plan
from aotfactory.api.results import ValidationResult
from aotfactory.compiler.bundle import require_bundle
from aotfactory.compiler.options import Options
from aotfactory.core.arch import PtxIsa, Road, default_arch, parse_archs
from aotfactory.core.cache import open_cache
from aotfactory.core.errors import OptionsError
from aotfactory.core.workers import available_cores
from aotfactory.executors.effort import CHECK_TIME, Effort

if TYPE_CHECKING:  # a build that nothing has changed for takes less time than these take to load
    from aotfactory.api.bake import Baked
    from aotfactory.api.tune import TuneResult
    from aotfactory.executors.inputs import Array
    from aotfactory.executors.native.launcher import LaunchResult
    from aotfactory.executors.native.runner import RunnerOptions, RunnerResult
    from aotfactory.executors.trtexec.command import TrtexecOptions

Progress = Callable[[str], None]


def silent(text: str) -> None:
    """Show no progress."""


def compile(
    target: str,
    *,
    shape: Shapes = None,
    min_shape: Shapes = None,
    opt_shape: Shapes = None,
    max_shape: Shapes = None,
    dim: Dims = None,
    dtype: DTypes = None,
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
    check_time: float = CHECK_TIME,
    skip_checks: Mapping[str, str] | None = None,
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
        check_time: Seconds of each process for the `interpreter` check; what does not fit is reported as not run.
        skip_checks: Checks that are not to count (`ptxas`, `bounds`, `interpreter`), each with the reason, which the
            manifest keeps.
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
    return build_bundle(
        target,
        request=target_options(
            shape=shape,
            min_shape=min_shape,
            opt_shape=opt_shape,
            max_shape=max_shape,
            dim=dim,
            dtype=dtype,
            attributes=attributes,
        ),
        options=options,
        out=Path(out),
        plugins=plugins,
        progress=progress,
        cache=open_cache() if cache else None,
        jobs=jobs or available_cores(),
        check_time=check_time,
        skip=skip_checks,
        name=name,
    )


def build(target: str, *, engine: Engine = "auto", progress: Progress = silent, **options: Any) -> BuildResult:
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
    shapes = {name: options.get(name) for name in ("shape", "min_shape", "opt_shape", "max_shape", "dim")}
    cache = open_cache() if options.get("cache", True) else None
    return with_plan(built, engine, target_options(**shapes), progress, cache)


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
    path: str | Path,
    *,
    plugins: Iterable[str] = (),
    executors: Sequence[str] = (),
    require: Sequence[str] = (),
    model: str | Path | None = None,
    save_inputs: str | Path | None = None,
    save_outputs: str | Path | None = None,
    check_time: float = CHECK_TIME,
    jobs: int | None = None,
    trtexec: TrtexecOptions | None = None,
    runner: RunnerOptions | None = None,
    progress: Progress = silent,
) -> ValidationResult:
    """Compare a bundle or plan with its reference.

    Args:
        executors: ``interpreter`` and ``launcher`` for a bundle, ``trtexec`` and ``runner`` for a plan; by default all.
        require: Executors that must have judged it: else `ValidationResult.lacking` says why not.
        model: The ONNX model of a bundle: then each node is judged on what it gets in the whole model.
        save_inputs: A directory for that model's inputs, as .npy files.
        save_outputs: The same for its outputs.
        check_time: Seconds of each process for the interpreter.
        jobs: How many of them; by default one for each core.
        trtexec: How trtexec runs a plan.
        runner: How the runner does.

    Raises:
        AotError: There is no such artifact, it is damaged, or an option is not for it.
    """
    path, plugins = Path(path), tuple(plugins)
    if model is None and (save_inputs or save_outputs):
        raise OptionsError("inputs and outputs of a model are saved, but no model is given", hint="give the model")
    if path.suffix == ".plan":
        from aotfactory.api.validate_plan import validate_plan

        if model is not None:
            raise OptionsError("a model is for bundles", hint="validate the bundle that the plan was built from")
        checks = validate_plan(
            path, plugins=plugins, executors=executors, trtexec=trtexec, runner=runner, progress=progress
        )
        return ValidationResult(path=path, checks=tuple(checks), required=tuple(require))
    from aotfactory.api import validate as validating
    from aotfactory.compiler.bundle import read

    if trtexec is not None or runner is not None:
        raise OptionsError("trtexec and the runner are for plans", hint="a bundle takes no TensorRT")
    effort = Effort(seconds=check_time, processes=jobs)
    if model is not None:
        from aotfactory.api.validate_model import validate_model

        checks = validate_model(
            path,
            Path(model),
            plugins=plugins,
            executors=executors,
            save_inputs=Path(save_inputs) if save_inputs else None,
            save_outputs=Path(save_outputs) if save_outputs else None,
            progress=progress,
            effort=effort,
        )
    else:
        checks = validating.validate(path, plugins=plugins, executors=executors, progress=progress, effort=effort)
    skipped = read(path).skipped
    return ValidationResult(path=path, checks=tuple(checks), required=tuple(require), skipped_checks=skipped)


def run(
    path: str | Path,
    *,
    inputs: Mapping[str, Array | Path] | None = None,
    shape: Mapping[str, AnyShape] | None = None,
    output_dir: str | Path | None = None,
    tactic: int | None = None,
    seed: int = 0,
    dry_run: bool = False,
) -> LaunchResult | RunnerResult:
    """Run a bundle (with the launcher) or a plan (with the runner) on the GPU, in a process without Python.

    Args:
        inputs: Arrays or ``.npy`` files by input name; the others get random data.
        shape: Shapes of the inputs that get random data.
        output_dir: Where the outputs go, as ``NAME.npy``.
        tactic: A bundle's; by default its first.
        seed: For the random data.
        dry_run: Evaluate a bundle's shapes and launches, which takes no GPU.

    Returns:
        The outputs, and the program's report; where a check of memory failed, `passed` is false.

    Raises:
        AotError: This machine has no GPU, or an input does not fit.
    """
    from aotfactory.executors.native.launcher import run_launcher
    from aotfactory.executors.native.runner import RunnerOptions
    from aotfactory.plan.plan_file import PlanFile

    path, shapes = Path(path), {name: parsed_shape(given) for name, given in (shape or {}).items()}
    directory = None if output_dir is None else Path(output_dir)
    if path.suffix == ".plan":
        if tactic is not None or dry_run:
            raise OptionsError("a tactic and a dry run are for bundles", hint="run the plan's bundle")
        options = RunnerOptions(seed=seed)
        return PlanFile.read(path).in_runner(options, inputs=inputs, shapes=shapes, output_dir=directory, check=False)
    require_bundle(path)
    return run_launcher(
        path,
        inputs=inputs,
        shapes=shapes,
        output_dir=directory,
        tactic=tactic,
        seed=seed,
        dry_run=dry_run,
        check=False,
    )


def tune(
    target: str,
    *,
    shape: Shapes = None,
    min_shape: Shapes = None,
    opt_shape: Shapes = None,
    max_shape: Shapes = None,
    dim: Dims = None,
    dtype: DTypes = None,
    attributes: Mapping[str, Any] | None = None,
    plugins: Iterable[str] = (),
    iterations: int = 50,
    out: str | Path = "engines",
    progress: Progress = silent,
) -> TuneResult:
    """Time every tactic of a target on the GPU here, and keep the ranking in ``out/NAME.tuning.json``.

    Args:
        target: As `compile` takes it, and so are shapes, types, attributes and plugins.
        iterations: Samples of each tactic; the median counts.

    Raises:
        AotError: This machine has no GPU, or the target does not compile.
    """
    request = target_options(
        shape=shape,
        min_shape=min_shape,
        opt_shape=opt_shape,
        max_shape=max_shape,
        dim=dim,
        dtype=dtype,
        attributes=attributes,
    )
    from aotfactory.api import tune as tuning

    return tuning.tune(
        target, request=request, out=Path(out), plugins=plugins, iterations=iterations, progress=progress
    )
