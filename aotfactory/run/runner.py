# SPDX-License-Identifier: Apache-2.0
"""The runner as an executor: `aotfactory-runner` (C++, TensorRT's runtime) runs a plan in its own process."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from aotfactory.errors import CheckError, MissingError
from aotfactory.run.launcher import Timing, load_tensor, parse_report
from aotfactory.run.launcher_build import SOURCES, run_command
from aotfactory.stubs import cache_directory

Array = npt.NDArray[Any]
SCHEMA = "aotfactory.run/1"


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """How to run a plan.

    Attributes:
        lean: In the lean runtime, which takes version-compatible plans.
        library: TensorRT's library; None: the one the runner was built for, or the system's.
        host_code: Allow a plan to bring its own lean runtime, which is machine code: only for plans that you trust.
        tight: No guard bands and no poison, for compute-sanitizer.
        timeout: Seconds.
        program: The runner; None: $AOTFACTORY_RUNNER, else one that is built on first use.
    """

    lean: bool = False
    library: Path | None = None
    host_code: bool = False
    at: Literal["min", "opt", "max"] = "opt"
    seed: int = 0
    device: int = 0
    tight: bool = False
    timing: Timing | None = None
    timeout: float = 600
    program: Path | None = None
    wrapper: Sequence[str] = ()
    env: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class RunnerResult:
    """What the runner said: its JSON (schema `aotfactory.run/1`), and the tensors."""

    report: Mapping[str, Any]
    outputs: Mapping[str, Array]
    inputs: Mapping[str, Array] = field(default_factory=dict)
    command: Sequence[str] = ()
    messages: str = ""

    @property
    def failures(self) -> list[str]:
        checks = self.report["checks"]
        return [f"{c['name']} of {c['subject']}: {c['detail']}" for c in checks if c["status"] == "failed"]

    @property
    def python_free(self) -> bool:
        """Whether no library of Python's was mapped into the process."""
        return not [path for path in self.report["libraries"] if "python" in Path(path).name.lower()]


def build_runner(*, tensorrt_root: Path | None = None, cache: Path | None = None) -> Path:
    """The path of an `aotfactory-runner`, built with CMake if the cache has none for these sources and this TensorRT.

    Args:
        tensorrt_root: Where TensorRT's ``include`` and ``lib`` are; by default $TENSORRT_ROOT, else the system's.

    Raises:
        MissingError: No CMake, compiler, or headers of TensorRT and CUDA, with CMake's own words.
    """
    if ready := os.environ.get("AOTFACTORY_RUNNER"):
        if not os.access(ready, os.X_OK) or Path(ready).is_dir():
            raise MissingError(f"AOTFACTORY_RUNNER={ready} is no program")
        return Path(ready)
    root = str(tensorrt_root or os.environ.get("TENSORRT_ROOT", ""))
    home = (cache or cache_directory()) / "runner"
    target = home / _key(root)
    program = target / "bin" / "aotfactory-runner"
    if program.is_file():
        return program
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=home) as scratch:
        build, install = f"{scratch}/build", f"{scratch}/install"
        source = str(SOURCES / "runner")
        _cmake(
            ["-S", source, "-B", build, f"-DTENSORRT_ROOT={root}", f"-DCMAKE_INSTALL_PREFIX={install}"], "configured"
        )
        _cmake(["--build", build, "--parallel", str(os.cpu_count() or 1), "--target", "aotfactory-runner"], "built")
        _cmake(["--install", build, "--strip"], "installed")
        try:
            os.replace(install, target)
        except OSError:
            if not program.is_file():  # otherwise another process built it meanwhile
                raise
    return program


def run_runner(
    plan: Path,
    *,
    inputs: Mapping[str, Array] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    options: RunnerOptions | None = None,
    output_dir: Path | None = None,
    check: bool = True,
) -> RunnerResult:
    """Run a plan and check what it did to memory.

    Args:
        inputs: Data by input name; inputs without data get seeded random ones, which come back in the result.
        shapes: Of the random inputs; by default the profile's, at `options.at`.
        output_dir: Keep the tensors' .npy files there.
        check: Raise if a check failed; otherwise the result tells.

    Raises:
        CheckError: TensorRT refused the plan, a check failed, the runner crashed or took too long.
        UsageError: An input does not fit the plan.
        MissingError: No GPU, driver, compiler, headers or library.
    """
    options = options or RunnerOptions()
    program = options.program or build_runner()
    with tempfile.TemporaryDirectory(prefix="aotfactory-") as scratch:
        directory = output_dir or Path(scratch, "tensors")
        command = [*options.wrapper, str(program), str(plan), "--at", options.at, "--seed", str(options.seed)]
        command += ["--device", str(options.device), "--output-dir", str(directory), "--save-inputs"]
        for index, (name, value) in enumerate((inputs or {}).items()):
            path = Path(scratch, f"input_{index}.npy")
            np.save(path, np.asarray(value, order="C"))
            command += ["--input", f"{name}={path}"]
        for name, shape in (shapes or {}).items():
            command += ["--shape", f"{name}={'x'.join(map(str, shape)) or 'scalar'}"]
        flags = {"--lean": options.lean, "--host-code": options.host_code, "--tight": options.tight}
        command += [flag for flag, wanted in flags.items() if wanted]
        command += ["--library", str(options.library)] if options.library else []
        command += _timing(options.timing) if options.timing else []
        code, stdout, stderr = run_command(command, timeout=options.timeout, env=options.env)
        report = parse_report(stdout, code, stderr, command, program="runner", schema=SCHEMA)
        result = RunnerResult(
            report=report,
            outputs={item["name"]: load_tensor(item) for item in report["outputs"]},
            inputs={item["name"]: load_tensor(item) for item in report["inputs"]},
            command=command,
            messages=stderr,
        )
    if check and result.failures:
        raise CheckError("; ".join(result.failures), where=str(plan))
    return result


def _timing(timing: Timing) -> list[str]:
    numbers = {"--warmup": timing.warmup, "--iterations": timing.iterations, "--repeat": timing.repeat}
    arguments = ["--timing", *(text for name, value in numbers.items() for text in (name, str(value)))]
    return [*arguments, "--graph"] if timing.graph else arguments


def _key(root: str) -> str:
    digest = hashlib.sha256(root.encode())
    header = Path(root, "include", "NvInferVersion.h")
    digest.update(header.read_bytes() if header.is_file() else b"")
    for path in sorted(SOURCES.rglob("*")):
        if path.suffix in {".cpp", ".h", ".txt"}:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def _cmake(arguments: Sequence[str], done: str) -> None:
    try:
        code, stdout, stderr = run_command(["cmake", *arguments], timeout=900)
    except FileNotFoundError as error:
        raise MissingError("cmake is needed to build the runner", hint="apt-get install cmake g++ make") from error
    if code != 0:
        tail = "\n".join((stdout + stderr).strip().splitlines()[-30:])
        raise MissingError(f"the runner could not be {done}:\n{tail}", hint="set TENSORRT_ROOT to TensorRT's directory")
