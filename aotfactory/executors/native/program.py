# SPDX-License-Identifier: Apache-2.0
"""Parts that the C++ programs' callers share: inputs as files, reports, timing options."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aotfactory.core.errors import (
    AotError,
    DamagedBundleError,
    ProgramDefinitionError,
    ProgramError,
    ProgramMissingError,
    ProgramUsageError,
)
from aotfactory.core.network import shape_text
from aotfactory.executors.inputs import Array
from aotfactory.executors.npy import load_npy

_ERRORS: dict[int, type[AotError]] = {
    e.exit_code: e
    for e in (ProgramError, ProgramUsageError, ProgramMissingError, ProgramDefinitionError, DamagedBundleError)
}


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How to time a bundle; a pass runs every call once. See the launcher's --help.

    Args:
        warmup: Passes before the first sample.
        iterations: Samples.
        repeat: Passes in a sample, whose time is divided by them.
        input_sets: Copies of all tensors that the passes use in turn; 0: more than the L2 cache can hold.
        graph: Also replay a CUDA graph of one sample's passes.
        copy_baseline: Also time a device copy that moves as many bytes.
    """

    warmup: int = 10
    iterations: int = 50
    repeat: int = 10
    input_sets: int = 1
    graph: bool = False
    copy_baseline: bool = False

    def options(self, *, of_plan: bool = False) -> list[str]:
        """As arguments of a program; a plan is not run on several sets of tensors, nor beside a copy."""
        numbers = ["warmup", "iterations", "repeat", *([] if of_plan else ["input_sets"])]
        flags = ["graph", *([] if of_plan else ["copy_baseline"])]
        return [
            "--timing",
            *[text for name in numbers for text in (option(name), str(getattr(self, name)))],
            *[option(name) for name in flags if getattr(self, name)],
        ]


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def tensor_options(
    inputs: Mapping[str, Array | Path] | None, shapes: Mapping[str, Sequence[int]] | None, scratch: Path
) -> list[str]:
    """Arguments that give the inputs of one of our programs their data and shapes."""
    options: list[str] = []
    for name, value in (inputs or {}).items():
        options += ["--input", f"{name}={input_file(value, scratch)}"]
    for name, shape in (shapes or {}).items():
        options += ["--shape", f"{name}={shape_text(shape)}"]
    return options


def input_file(value: Array | Path, scratch: Path) -> Path:
    """The .npy file of an input for one of our programs; an array gets one in `scratch`."""
    if isinstance(value, Path):
        return value
    path = scratch / f"input_{len(list(scratch.iterdir()))}.npy"
    np.save(path, np.asarray(value, order="C"))
    return path


def parse_report(
    stdout: str, code: int, stderr: str, command: Sequence[str], *, program: str, schema: str
) -> dict[str, Any]:
    """The JSON of one of our programs; raises what its exit code or missing JSON stands for.

    Skips compute-sanitizer's lines.
    """
    text = "\n".join(line for line in stdout.splitlines() if not line.startswith("====="))
    try:
        report = json.loads(text)
    except json.JSONDecodeError:
        died = f"died of {signal.Signals(-code).name}" if code < 0 else f"gave exit code {code}"
        tail = "\n".join((stderr or stdout).splitlines()[-10:])
        raise ProgramError(f"the {program} {died} and printed no JSON: {' '.join(command)}\n{tail}") from None
    if not isinstance(report, dict) or report.get("schema") != schema:
        raise ProgramError(f"the {program} printed something other than {schema}", hint="is it another version?")
    if report["status"] == "error":
        raise _ERRORS.get(report["exit_code"], ProgramError)(report["error"])
    return report


def load_tensor(item: Mapping[str, Any]) -> Array:
    """A tensor that one of our programs wrote; bf16 and fp8 are raw bytes to NumPy, so they get their type here."""
    return load_npy(Path(item["file"]), item["dtype"])
