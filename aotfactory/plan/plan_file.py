# SPDX-License-Identifier: Apache-2.0
"""A plan on disk with its record, and how it is run: with the runner, or with trtexec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aotfactory.core.errors import ExecutorError, InputError
from aotfactory.core.network import Network, Profile, Shape
from aotfactory.core.recipe import Tolerance
from aotfactory.executors.inputs import Array, make_input
from aotfactory.executors.native.runner import RunnerOptions, RunnerResult, run_runner
from aotfactory.executors.npy import load_npy
from aotfactory.executors.trtexec.command import TrtexecOptions, TrtexecResult, run_trtexec
from aotfactory.plan import record as provenance


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """A plan that agrees with its record.

    Attributes:
        network: Of the bundle that the plan was built from.
        inputs: The profile of each of the plan's own inputs.
        whole: Whether the bundle's network is all of the plan: an ONNX model may have other nodes and inputs.
        needs_python: Why it takes Python to run; empty if it does not.
        version: Of the TensorRT that built it, major and minor.
        brings_runtime: Whether it has host code inside: a lean runtime, or a plugin library.
        plugin_library: The plugin library that it was built with and does not carry; None: it takes none.
    """

    path: Path
    network: Network
    inputs: Mapping[str, Profile]
    whole: bool
    needs_python: str
    version: tuple[int, int]
    brings_runtime: bool
    plugin_library: Path | None = None

    @classmethod
    def read(cls, path: Path) -> PlanFile:
        """Read the record and compare it with the plan.

        Raises:
            CheckError: Plan, record and bundle disagree.
            UsageError: There is no plan, or no record.
            DefinitionError: The record is damaged.
        """
        record = provenance.verified(path)
        return cls._of(path, record)

    @classmethod
    def _of(cls, path: Path, record: Mapping[str, Any]) -> PlanFile:
        network, options = provenance.network(record), record["options"]
        tensors = {role: {t.name for t in network.tensors if t.role == role} for role in ("input", "output")}
        major, minor = (int(n) for n in re.findall(r"\d+", record["versions"]["tensorrt"])[:2])
        return cls(
            path=path,
            network=network,
            inputs={n: Profile(**{k: tuple(v) for k, v in p.items()}) for n, p in record["inputs"].items()},
            whole=tensors == {"input": set(record["inputs"]), "output": set(record["outputs"])},
            needs_python="it was built with --jit: its plugins run in Python" if options["jit"] else "",
            version=(major, minor),
            brings_runtime=options["version_compatible"]
            and (not options["exclude_lean_runtime"] or bool(options.get("library"))),
            plugin_library=_library(path, options),
        )

    def shapes(self, point: str) -> dict[str, Shape]:
        """Shapes of its inputs, at the profile's ``min``, ``opt`` or ``max``."""
        return {name: getattr(profile, point) for name, profile in self.inputs.items()}

    def make_inputs(self, files: Mapping[str, Path], shapes: Mapping[str, Shape], *, seed: int = 0) -> dict[str, Array]:
        """Data for each input: of its .npy file, else random of the given shape or the profile's opt.

        Raises:
            UsageError: There is no such input, or a file is not an array.
        """
        self._require_whole()
        tensors = {t.name: t for t in self.network.inputs}
        if unknown := [name for name in files if name not in tensors]:
            raise InputError(f"{self.path} has no input {unknown[0]!r}", hint=f"its inputs: {', '.join(tensors)}")
        shapes = {**self.shapes("opt"), **shapes}
        return {
            name: load_npy(files[name], tensor.dtype)
            if name in files
            else make_input(name, tensor.dtype, shapes[name], seed=seed)
            for name, tensor in tensors.items()
        }

    def in_runner(self, options: RunnerOptions, **arguments: Any) -> RunnerResult:
        """Run it with the runner; see `run_runner`.

        Raises:
            UsageError: It takes Python; or as `run_runner`.
        """
        self._require_no_python()
        # TensorRT asks for consent to the machine code that such a plan brings. Its record says that it was asked for.
        host_code = options.host_code or self.brings_runtime
        changed = [name for name in self.inputs if any(t.aliases == name for t in self.network.tensors)]
        libraries = [*options.plugin_libraries, *([self.plugin_library] if self.plugin_library else [])]
        own = replace(options, host_code=host_code, in_place=changed, plugin_libraries=libraries)
        return run_runner(self.path, options=own, **arguments)

    def in_trtexec(
        self,
        options: TrtexecOptions,
        *,
        inputs: Mapping[str, Array],
        references: Mapping[str, Array] | None = None,
        tolerance: Tolerance | None = None,
    ) -> TrtexecResult:
        """Run it with trtexec; see `run_trtexec`.

        Raises:
            UsageError: It takes Python, or has inputs that the bundle does not know; or as `run_trtexec`.
        """
        self._require_no_python()
        self._require_whole()
        consent = ["--versionCompatible"] if self.brings_runtime else []
        consent += [f"--dynamicPlugins={self.plugin_library}"] if self.plugin_library else []
        return run_trtexec(
            self.path,
            self.network,
            inputs=inputs,
            references=references,
            tolerance=tolerance,
            version=self.version,
            options=replace(options, extra=[*options.extra, *consent]),
        )

    def _require_no_python(self) -> None:
        if self.needs_python:
            raise ExecutorError(f"{self.path}: {self.needs_python}", hint="bake it without --jit")

    def _require_whole(self) -> None:
        if not self.whole:
            raise ExecutorError(
                f"{self.path} has inputs or outputs of other nodes than the plugins', which trtexec is not given here",
                hint="use --executor runner, or call trtexec yourself",
            )


def _library(plan: Path, options: Mapping[str, Any]) -> Path | None:
    """The plugin library of a plan: where it was, else beside the plan."""
    if not options.get("library") or options["version_compatible"]:
        return None
    known = Path(options["library"])
    return known if known.is_file() else plan.with_name(known.name)
