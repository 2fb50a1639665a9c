# SPDX-License-Identifier: Apache-2.0
"""The runner as an executor: `aotfactory-runner` (C++, TensorRT's runtime) runs a plan in its own process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aotfactory.core.errors import ProgramError
from aotfactory.executors.inputs import Array
from aotfactory.executors.native.cmake import PACKAGES, ProgramBuild, ready_program
from aotfactory.executors.native.process import run_command
from aotfactory.executors.native.program import Timing, load_tensor, parse_report, tensor_options

SCHEMA = "aotfactory.run/1"


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """How to run a plan.

    Attributes:
        lean: In the lean runtime, which takes version-compatible plans.
        library: TensorRT's library; None: the one the runner was built for, or the system's.
        host_code: Allow a plan to bring its own lean runtime, which is machine code: only for plans that you trust.
        plugin_libraries: Plugin libraries that the plan takes.
        in_place: Inputs that the plan may change. TensorRT does not tell of all of them, and of none before 10.15.
        tight: No guard bands and no poison, for compute-sanitizer.
        timeout: Seconds.
        program: The runner; None: see `build_runner`.
        tensorrt_root: Of the TensorRT that the runner is built for.
    """

    lean: bool = False
    library: Path | None = None
    host_code: bool = False
    at: Literal["min", "opt", "max"] = "opt"
    seed: int = 0
    device: int = 0
    plugin_libraries: Sequence[Path] = ()
    in_place: Sequence[str] = ()
    tight: bool = False
    timing: Timing | None = None
    timeout: float = 600
    program: Path | None = None
    tensorrt_root: Path | None = None
    wrapper: Sequence[str] = ()
    env: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class RunnerResult:
    """The runner's report: its JSON (schema `aotfactory.run/1`), and the tensors."""

    report: Mapping[str, Any]
    outputs: Mapping[str, Array]
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
    def failures(self) -> list[str]:
        checks = self.report["checks"]
        return [f"{c['name']} of {c['subject']}: {c['detail']}" for c in checks if c["status"] == "failed"]


def build_runner(*, tensorrt_root: Path | None = None, cache: Path | None = None) -> Path:
    """The path of an `aotfactory-runner`: $AOTFACTORY_RUNNER, else one that is built on first use for this TensorRT.

    Args:
        tensorrt_root: Where TensorRT's ``include`` and ``lib`` are; by default $TENSORRT_ROOT, else the system's.

    Raises:
        MissingError: No CMake, compiler, or headers of TensorRT and CUDA; or $AOTFACTORY_RUNNER names no program.
    """
    if ready := ready_program("runner"):
        return ready
    root = str(tensorrt_root or os.environ.get("TENSORRT_ROOT", ""))
    header = Path(root, "include", "NvInferVersion.h")
    return ProgramBuild(
        "runner",
        "runner",
        cache=cache,
        settings=[f"-DTENSORRT_ROOT={root}"],
        key=header.read_text() if header.is_file() else "",
        hint=f"{PACKAGES}, and set TENSORRT_ROOT to TensorRT's directory",
    ).run()


def run_runner(
    plan: Path,
    *,
    inputs: Mapping[str, Array | Path] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    options: RunnerOptions | None = None,
    output_dir: Path | None = None,
    save_inputs: bool = False,
    check: bool = True,
) -> RunnerResult:
    """Run a plan and check what it did to memory.

    Args:
        inputs: Data by input name: arrays, or .npy files. Inputs without data get seeded random ones.
        shapes: Of the random inputs; by default the profile's, at `options.at`.
        output_dir: Keep the outputs' .npy files there.
        save_inputs: Give the inputs back in `RunnerResult.inputs` (and in output_dir).
        check: Raise if a check failed; otherwise the result tells.

    Raises:
        CheckError: TensorRT refused the plan, a check failed, the runner crashed or took too long.
        UsageError: An input does not fit the plan.
        MissingError: No GPU, driver, compiler, headers or library.
    """
    options = options or RunnerOptions()
    program = options.program or build_runner(tensorrt_root=options.tensorrt_root)
    with tempfile.TemporaryDirectory(prefix="aotfactory-") as scratch:
        directory = output_dir or Path(scratch, "tensors")
        command = [*options.wrapper, str(program), str(plan), "--at", options.at, "--seed", str(options.seed)]
        command += ["--device", str(options.device), "--output-dir", str(directory)]
        command += tensor_options(inputs, shapes, Path(scratch))
        for library in options.plugin_libraries:
            command += ["--plugin-library", str(library)]
        for name in options.in_place:
            command += ["--in-place", name]
        flags = {"--lean": options.lean, "--host-code": options.host_code, "--tight": options.tight}
        command += [flag for flag, wanted in {**flags, "--save-inputs": save_inputs}.items() if wanted]
        command += ["--library", str(options.library)] if options.library else []
        command += options.timing.options(of_plan=True) if options.timing else []
        code, stdout, stderr = run_command(command, timeout=options.timeout, env=options.env)
        report = parse_report(stdout, code, stderr, command, program="runner", schema=SCHEMA)
        result = RunnerResult(
            report=report,
            outputs={item["name"]: load_tensor(item) for item in report["outputs"]},
            inputs={item["name"]: load_tensor(item) for item in report["inputs"] if "file" in item},
            command=command,
            messages=stderr,
        )
        if output_dir is None:  # these files are gone with the scratch directory
            for item in (*report["outputs"], *report["inputs"]):
                item.pop("file", None)
    if check and result.failures:
        raise ProgramError("; ".join(result.failures), where=str(plan))
    return result
