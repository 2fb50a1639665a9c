# SPDX-License-Identifier: Apache-2.0
"""The plans of a farm: each is baked with `aotfactory bake` in its own process, since CUDA does not survive a fork."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from aotfactory.api.farm_file import Engine
from aotfactory.api.farm_steps import Bake
from aotfactory.core import cuda, workers
from aotfactory.core.arch import PORTABLE
from aotfactory.core.errors import EngineError, NoGpuError
from aotfactory.core.network import shape_text
from aotfactory.core.processes import run_program
from aotfactory.plan.options import PlanOptions
from aotfactory.plugins import tensorrt_api
from aotfactory.targets.request import TargetOptions

TIME_LIMIT = 6 * 3600.0
"""Seconds for one plan: TensorRT may try kernels for hours."""


def required(cached: bool = True) -> Bake:
    """How plans are made here.

    Args:
        cached: Whether those that were made before may be taken.

    Raises:
        MissingError: This machine cannot make any.
    """
    tensorrt_api.require_builder()
    capability = compute_capability()
    if capability is None:
        raise NoGpuError("a plan is built on a GPU, and this machine has none", hint="use --engine bundle here")
    return partial(_bake, capability, cached)


def available(cached: bool = True) -> Bake | None:
    """The same; None where this machine cannot make any."""
    capability = compute_capability() if tensorrt_api.load().kind == "full" else None
    return None if capability is None else partial(_bake, capability, cached)


def compute_capability() -> int | None:
    """Compute capability of the GPU here times ten, asked in another process: this one forks later."""
    found = dict(workers.completed([cuda.compute_capability], 1, isolated=True))[0].result()
    return None if found is None else found[0] * 10 + found[1]


def _bake(capability: int, cached: bool, bundle: Path, engine: Engine) -> None:
    """Make the plan beside a bundle, if it is for the GPU here."""
    if engine.arch != PORTABLE and engine.arch.capability != capability:
        return
    options = [] if cached else ["--no-cache"]
    for name, value in engine.tensorrt.items():
        if value is True:
            options.append(f"--{name}")
        elif value is not False:
            options += [f"--{name}", str(value)]
    for name in ("shape", "min_shape", "opt_shape", "max_shape") if engine.target.endswith(".onnx") else ():
        for tensor, shape in getattr(engine.request, name).items():
            text = shape_text(shape)
            options += [f"--{name.replace('_', '-')}", f"{tensor}={text}" if tensor else text]
    command = [sys.executable, "-m", "aotfactory", "bake", str(bundle), "--format", "json", *options]
    done = run_program(command, timeout=TIME_LIMIT)
    if done.code:
        said = done.stderr.strip().removeprefix("error: ") or f"exit code {done.code}"
        raise EngineError(f"its plan was not made: {said}")


def plan_options(engine: Engine) -> PlanOptions:
    """The same options as values."""
    given = {name.replace("-", "_"): value for name, value in engine.tensorrt.items()}
    if "timing_cache" in given:
        given["timing_cache"] = Path(given["timing_cache"])
    shapes = engine.request if engine.target.endswith(".onnx") else TargetOptions()
    names = ("shape", "min_shape", "opt_shape", "max_shape")
    return PlanOptions(**given, shapes=TargetOptions(**{name: getattr(shapes, name) for name in names}))
