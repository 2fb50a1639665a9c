# SPDX-License-Identifier: Apache-2.0
"""The launcher as an executor: `aotfactory-launcher` (C++, the CUDA driver alone) runs a bundle in its own process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from aotfactory.compiler.bundle import read
from aotfactory.core import cuda, dimensions
from aotfactory.core.errors import InputError, NoGpuError, ProgramError, ShapeError
from aotfactory.core.network import Network
from aotfactory.executors.inputs import Array
from aotfactory.executors.native.cmake import ProgramBuild, ready_program
from aotfactory.executors.native.process import run_command
from aotfactory.executors.native.program import Timing, load_tensor, option, parse_report, tensor_options

SCHEMA = "aotfactory.launch/1"


@dataclass(frozen=True, kw_only=True)
class TacticRun:
    """One tactic of a launch: its part of the report, and its outputs by name (bf16 and fp8: ml_dtypes' types)."""

    tactic: int
    launches: Sequence[Mapping[str, Any]]
    checks: Sequence[Mapping[str, str]]
    outputs: Mapping[str, Array]
    timing: Mapping[str, Any] | None

    @property
    def failures(self) -> list[str]:
        return [f"{c['name']} of {c['subject']}: {c['detail']}" for c in self.checks if c["status"] == "failed"]


@dataclass(frozen=True, kw_only=True)
class LaunchResult:
    """The launcher's report.

    Args:
        report: Its JSON, schema "aotfactory.launch/1".
        runs: One for each tactic that was asked for.
        inputs: With save_inputs, the data that went in.
        command: What was run.
        messages: Its standard error.
    """

    report: Mapping[str, Any]
    runs: Sequence[TacticRun]
    inputs: Mapping[str, Array] = field(default_factory=dict)
    command: Sequence[str] = ()
    messages: str = ""

    @property
    def passed(self) -> bool:
        return bool(self.report["status"] == "passed")

    def to_json(self) -> dict[str, Any]:
        """The report, as ``run --format json`` prints it."""
        return dict(self.report)

    @property
    def outputs(self) -> Mapping[str, Array]:
        """The outputs of the first tactic that was run."""
        return self.runs[0].outputs


def build_launcher(*, cache: Path | None = None, options: Sequence[str] = ()) -> Path:
    """The path of an `aotfactory-launcher`: $AOTFACTORY_LAUNCHER, the wheel's, or one that is built on first use.

    CMake finds nlohmann/json and CLI11 by itself or through the environment's CMAKE_PREFIX_PATH or CMAKE_INCLUDE_PATH.

    Args:
        cache: Where builds are kept, by default `cache_directory()`.
        options: More arguments for CMake's configuration, as -DCMAKE_PREFIX_PATH=...

    Raises:
        MissingError: No CMake, compiler or headers; or $AOTFACTORY_LAUNCHER names no program.
    """
    return ready_program("launcher") or ProgramBuild("launcher", cache=cache, settings=options).run()


def _launcher_for(bundle: Path, shapes: Mapping[str, Sequence[int]], *, needs_gpu: bool, unchecked: bool) -> Path:
    """The launcher; before a minute goes into building it, what can be told without it is told.

    Raises:
        MissingError: There is no CUDA driver, or nothing to build the launcher with.
        UsageError: A shape does not fit the bundle, or the profile unless `unchecked`.
    """
    if ready := ready_program("launcher"):
        return ready
    build = ProgramBuild("launcher")
    if not build.done:
        if needs_gpu and cuda.open_driver() is None:
            problem = "no CUDA driver on this machine: libcuda.so.1 cannot be opened"
            raise NoGpuError(problem, hint="install NVIDIA's driver; --dry-run of the launcher needs none")
        _check_shapes(read(bundle).network, shapes, unchecked=unchecked)
    return build.run()


def _check_shapes(network: Network, shapes: Mapping[str, Sequence[int]], *, unchecked: bool) -> None:
    inputs = {t.name: t for t in network.inputs}
    for name, shape in shapes.items():
        if name not in inputs:
            raise InputError(f"the bundle has no input {name!r}", hint=f"its inputs are {', '.join(inputs)}")
        if len(shape) != len(inputs[name].shape):
            raise InputError(f"input {name!r} has {len(inputs[name].shape)} dimensions, not those of {tuple(shape)}")
    given = [inputs[name] for name in shapes]
    if dimensions.unsolved({s for t in given for d in t.shape for s in d.symbols}, [t.shape for t in given]):
        return  # other dimensions come from the profile, and only the launcher combines the two
    values = dimensions.bind(replace(network, tensors=tuple(given)), {n: tuple(s) for n, s in shapes.items()})
    for name, value in values.items():
        known = network.ranges[name]
        if not unchecked and not known.min <= value <= known.max:
            raise ShapeError(f"dimension {name} = {value} is not within the profile's {known.min} to {known.max}")


def run_launcher(
    bundle: str | os.PathLike[str],
    *,
    inputs: Mapping[str, Array | Path] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    at: Literal["min", "opt", "max"] = "opt",
    arch: str | None = None,
    tactic: int | Literal["all"] | None = None,
    seed: int = 0,
    device: int = 0,
    timing: Timing | None = None,
    output_dir: Path | None = None,
    save_outputs: bool = True,
    save_inputs: bool = False,
    dry_run: bool = False,
    tight: bool = False,
    unchecked_profile: bool = False,
    check: bool = True,
    timeout: float = 600,
    env: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
    launcher: Path | None = None,
) -> LaunchResult:
    """Runs a bundle's calls and checks what they did to memory.

    Args:
        bundle: The bundle's directory.
        inputs: Data by input name: arrays, or .npy files. Inputs without data get seeded random ones.
        shapes: Shapes of the random inputs; dimensions that no input fixes take the profile's `at`.
        arch: Take variants of this architecture instead of the GPU's, as sm_90 or portable.
        tactic: A number, "all" (one run each), or None for the first that the bundle lists.
        output_dir: Keep the outputs' .npy files there.
        save_outputs: Give outputs back; without them, a launch of large tensors is over sooner.
        save_inputs: Give the random inputs back in `LaunchResult.inputs` (and in output_dir).
        dry_run: Evaluate everything without a GPU; the runs have no checks and no outputs.
        tight: Exact allocations without guards or poison, for compute-sanitizer.
        unchecked_profile: Allow shapes outside of the profile.
        check: Raise if a check failed; otherwise the result tells.
        timeout: Seconds.
        env: The process's whole environment, by default this one's.
        wrapper: A command to run the launcher under, as compute-sanitizer and its options.
        launcher: The program; by default $AOTFACTORY_LAUNCHER, else one that is built on first use.

    Raises:
        CheckError: A check failed, the launcher crashed or ran longer than the timeout.
        UsageError: An input or option does not fit the bundle.
        MissingError: No GPU, driver, compiler or variant for this machine.
        DefinitionError: The bundle is damaged or inconsistent.
    """
    program = launcher or _launcher_for(Path(bundle), shapes or {}, needs_gpu=not dry_run, unchecked=unchecked_profile)
    with tempfile.TemporaryDirectory(prefix="aotfactory-") as scratch:
        directory = output_dir or Path(scratch, "outputs")
        command = [*wrapper, str(program), os.fspath(bundle), "--at", at, "--seed", str(seed), "--device", str(device)]
        command += ["--output-dir", str(directory)] if save_outputs or save_inputs else []
        command += tensor_options(inputs, shapes, Path(scratch))
        command += ["--arch", arch] if arch is not None else []
        command += ["--tactic", str(tactic)] if tactic is not None else []
        flags = {"dry_run": dry_run, "tight": tight, "unchecked_profile": unchecked_profile, "save_inputs": save_inputs}
        command += [option(name) for name, wanted in flags.items() if wanted]
        command += timing.options() if timing is not None else []
        code, stdout, stderr = run_command(command, timeout=timeout, env=env, leaf=not wrapper)
        report = parse_report(stdout, code, stderr, command, program="launcher", schema=SCHEMA)
        result = LaunchResult(
            report=report,
            runs=[_tactic_run(run) for run in report["runs"]],
            inputs={item["name"]: load_tensor(item) for item in report["inputs"] if "file" in item},
            command=command,
            messages=stderr,
        )
        if output_dir is None:  # these files are gone with the scratch directory
            outputs = (item for run in report["runs"] for item in run.get("outputs", []))
            for item in (item for item in (*report["inputs"], *outputs) if "file" in item):
                item["file"] = None
    if check and not result.passed:
        failures = [f"tactic {run.tactic}: {text}" for run in result.runs for text in run.failures]
        raise ProgramError("; ".join(failures), where=os.fspath(bundle))
    return result


def _tactic_run(run: Mapping[str, Any]) -> TacticRun:
    return TacticRun(
        tactic=run["tactic"],
        launches=run["launches"],
        checks=run.get("checks", []),
        outputs={item["name"]: load_tensor(item) for item in run.get("outputs", []) if item["file"]},
        timing=run.get("timing"),
    )
