# SPDX-License-Identifier: Apache-2.0
"""How a plan may be built, and by which versions of TensorRT."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aotfactory.core.arch import Arch
from aotfactory.core.errors import OptionsError, OptionValueError, TensorRTVersionError
from aotfactory.targets.request import TargetOptions

OLDEST, NEWEST_MAJOR = (10, 9), 11
BROKEN = (10, 14)

HARDWARE = {"none": "NONE", "ampere+": "AMPERE_PLUS", "same-compute-capability": "SAME_COMPUTE_CAPABILITY"}
VERBOSITY = {"layer-names": "LAYER_NAMES_ONLY", "detailed": "DETAILED", "none": "NONE"}


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """How to build a plan.

    Attributes:
        mode: ``network``: through `INetworkDefinition`; ``onnx``: from an ONNX model, which is the only way for a
            bundle that was compiled from one.
        jit: Take the plugins' `impl`, which runs in Python, instead of the bundle's kernels.
        library: Build with this plugin library (see `aotfactory.library`) instead of AOT plugins. A version-compatible
            plan carries it, another takes it where it runs.
        tactic: The only tactic to offer, for calls that have it.
        arch: Of the GPU; None: this machine's.
        model: The ONNX file, if not where the bundle was compiled from.
        shapes: What was asked for the shapes of the model's inputs, where the bundle says nothing of them.
        version_compatible: The plan runs in later TensorRT versions of the same major version, through the lean
            runtime, which the plan contains unless `exclude_lean_runtime`.
        hardware_compatibility: One of `HARDWARE`; ``ampere+`` takes a bundle with portable kernels.
        workspace: Bytes that layers may use while they run.
        optimization_level: 0 to 5; how long the builder may search.
        timing_cache: A directory; there is one file in it for each bundle, since AOT plugins give TensorRT no cache ID.
        profiling_verbosity: One of `VERBOSITY`: what the plan says of its layers.
    """

    mode: Literal["network", "onnx"] = "network"
    jit: bool = False
    library: Path | None = None
    tactic: int | None = None
    arch: Arch | None = None
    model: Path | None = None
    shapes: TargetOptions = field(default_factory=TargetOptions)
    version_compatible: bool = False
    exclude_lean_runtime: bool = False
    hardware_compatibility: str = "none"
    workspace: int | None = None
    optimization_level: int | None = None
    timing_cache: Path | None = None
    profiling_verbosity: str = "detailed"


def require_consistent(options: PlanOptions) -> None:
    """Refuse options that contradict each other or do not exist.

    Raises:
        UsageError: With the option.
    """
    if options.exclude_lean_runtime and not options.version_compatible:
        raise OptionsError("--exclude-lean-runtime is for version-compatible plans", hint="add --version-compatible")
    if options.hardware_compatibility not in HARDWARE:
        raise OptionValueError(
            f"unknown hardware compatibility {options.hardware_compatibility!r}", hint=f"use {', '.join(HARDWARE)}"
        )
    if options.profiling_verbosity not in VERBOSITY:
        raise OptionValueError(
            f"unknown profiling verbosity {options.profiling_verbosity!r}", hint=f"use {', '.join(VERBOSITY)}"
        )
    if options.optimization_level is not None and not 0 <= options.optimization_level <= 5:
        raise OptionValueError(f"optimization level {options.optimization_level}", hint="it is 0 to 5")
    if options.workspace is not None and options.workspace < 0:
        raise OptionValueError(f"a workspace of {options.workspace} bytes", hint="give 0 or more")
    if options.library and (options.jit or options.tactic is not None):
        raise OptionsError("--road library offers all that the library has", hint="leave out --jit and --tactic")
    if options.jit and options.tactic is not None:
        raise OptionsError("--tactic is for the bundle's kernels", hint="leave out --jit or --tactic")


def require_supported(version: str, *, library: bool = False) -> None:
    """Refuse versions of TensorRT that cannot build these plans.

    Args:
        library: With a plugin library, which takes 10.0.

    Raises:
        MissingError: With the reason.
    """
    release = tuple(int(n) for n in version.split(".")[:2])
    if library and release >= (10, 0) and release[0] <= NEWEST_MAJOR:
        return
    if release < OLDEST:
        reason = "ahead-of-time plugins came with 10.9"
    elif release == BROKEN:
        reason = "10.14 has a bug that breaks quickly deployable plugins"
    elif release[0] > NEWEST_MAJOR:
        reason = f"aotfactory knows the interface up to {NEWEST_MAJOR}.x"
    else:
        return
    raise TensorRTVersionError(
        f"TensorRT {version} cannot be used: {reason}", hint=f"install 10.9 to {NEWEST_MAJOR}.x, but not 10.14"
    )
