# SPDX-License-Identifier: Apache-2.0
"""A kernel in CUDA C++ with its arguments, compiled in the calling convention of the call that is being built."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotfactory.core import dtypes
from aotfactory.core.errors import CudaSourceError, KernelArgumentError, LaunchError
from aotfactory.plugins import cuda_source, nvrtc, symbolic_ints, tensorrt_api
from aotfactory.plugins.call_tensors import CallTensors
from aotfactory.plugins.for_library import (
    LibraryLaunch,
    LibraryName,
    SymbolicQuotient,
    Workspace,
    kind_of,
    require_library,
    workspaces_among,
)

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402


@dataclass(frozen=True, kw_only=True)
class CudaLaunch:
    """A kernel in CUDA C++ with its arguments, to be launched alone or in a row with others.

    Attributes:
        text, file, line: The source, and where it begins.
    """

    text: str
    file: str
    line: int
    kernel: str
    arguments: Mapping[str, Any]
    grid: Any
    block: Any
    shared_mem: Any
    options: Sequence[str]
    include_paths: Sequence[str | Path]
    unused: Sequence[Any]
    cluster: Sequence[int] | None

    @classmethod
    def of(cls, caller: str, source: str | Path, kernel: str, arguments: Mapping[str, Any], **own: Any) -> CudaLaunch:
        """As `caller`, a file, writes it."""
        text, file, line = _located(source, caller)
        beside = [Path(file).parent] if isinstance(source, Path) else []
        own["include_paths"] = [*own["include_paths"], *beside]
        return cls(text=text, file=file, line=line, kernel=kernel, arguments=arguments, **own)

    @property
    def workspaces(self) -> tuple[Workspace, ...]:
        """Those among the arguments, each once."""
        return workspaces_among(self.arguments.values())

    def compile(self, tensors: CallTensors, workspaces: Sequence[Workspace]) -> Any:
        """The result for an `aot_impl` to return; all of these workspaces are passed, whether it takes them or not."""
        kernel, values = self.kernel, {n: symbolic_ints.folded(v) for n, v in self.arguments.items()}
        found = cuda_source.declared(self.text, kernel, f"{self.file}:{self.line}")
        _require_arguments(found, values)
        pointers = {n: v for n, v in values.items() if isinstance(v, trtp.TensorDesc)}
        own = {n: v for n, v in values.items() if isinstance(v, Workspace)}
        for name in (*pointers, *own):
            if "*" not in found.parameters[name] and "<" not in kernel:
                raise KernelArgumentError(
                    f"{kernel} takes {name} as {found.parameters[name]}, but it is given a tensor"
                )
        extra = {n: v for n, v in values.items() if isinstance(v, symbolic_ints.SymInt | SymbolicQuotient)}
        numbers = {
            n: v if isinstance(v, trtp.SymInt32 | SymbolicQuotient) else trtp.SymInt32(v) for n, v in extra.items()
        }
        entry_pointers = tensors.pointers(kernel, pointers, self.unused, {*values}, "aot_cuda")
        count = len(tensors.inputs)
        names = {id(w): n for n, w in reversed(own.items())}  # one that is given twice arrives once
        shared = {names.get(id(w), f"unused_workspace_{i}"): w for i, w in enumerate(workspaces)}
        order = [*list(entry_pointers)[:count], *extra, *list(entry_pointers)[count:], *shared]
        by_tensor = {id(tensor): n for n, tensor in (entry_pointers | shared).items()}
        entry = f"{re.split('[<:]', kernel)[0].strip()}_aot"
        complete = cuda_source.with_entry(
            self.text,
            found,
            entry,
            order=order,
            tensors={n: dtypes.of_trt(t.dtype).name for n, t in (entry_pointers | shared).items()},
            extra={n: kind_of(v) for n, v in numbers.items()},
            constants={n: v for n, v in values.items() if n not in (*pointers, *own, *extra)},
            arrives_as={n: by_tensor[id(t)] for n, t in (pointers | own).items()},
            line=self.line,
            file=self.file,
        )
        paths = [*self.include_paths, *nvrtc.include_paths()]
        chosen = [*_architecture(self.options), "--std=c++17", *self.options, *(f"--include-path={p}" for p in paths)]
        ptx = nvrtc.compile_ptx(complete, self.file, chosen)
        extents = *_three(self.grid, "grid"), *_three(self.block, "block")
        launched = trtp.KernelLaunchParams(*extents, symbolic_ints.folded(self.shared_mem))
        integers = [v for v in numbers.values() if not isinstance(v, SymbolicQuotient)]
        entry_name: str = entry
        if shared or self.cluster is not None or len(integers) < len(numbers):
            more = LibraryLaunch(
                extra_args=list(numbers.values()), cluster=_cluster(self.cluster), workspaces=list(shared.values())
            )
            entry_name = LibraryName.of(entry, more)
        return entry_name, ptx, launched, trtp.SymIntExprs.from_tuple(integers)


def _require_arguments(found: cuda_source.CudaKernel, values: Mapping[str, Any]) -> None:
    missing = [n for n in found.parameters if n not in values]
    left_over = [n for n in values if n not in found.parameters]
    if missing or left_over:
        wrong = [f"is not given {', '.join(missing)}"] if missing else []
        wrong += [f"has no parameter {', '.join(left_over)}"] if left_over else []
        raise KernelArgumentError(f"{found.name} {' and '.join(wrong)}", hint=f"it takes {', '.join(found.parameters)}")


def _cluster(extents: Sequence[int] | None) -> tuple[int, int, int] | None:
    if extents is None:
        return None
    require_library("a cluster that the launch states")
    x, y, z = _three(extents, "cluster")
    if not all(isinstance(blocks, int) and blocks >= 1 for blocks in (x, y, z)):
        raise LaunchError(f"a cluster of {extents} blocks", hint="give constant numbers of blocks, from 1 on")
    return x, y, z


def _located(source: str | Path, caller: str) -> tuple[str, str, int]:
    """The text, the file that it stands in, and its first line there."""
    if isinstance(source, Path) or ("\n" not in source and source.endswith((".cu", ".cuh"))):
        path = Path(source)
        if not os.path.isfile(path):
            raise CudaSourceError(f"no such file: {path}", hint="give the text, or the path of a .cu file")
        return path.read_text(encoding="utf-8"), str(path), 1
    try:
        at = Path(caller).read_text(encoding="utf-8").partition(source)
    except (OSError, UnicodeDecodeError):
        at = ("", "", "")
    return (source, caller, at[0].count("\n") + 1) if at[1] else (source, "kernel.cu", 1)


def _architecture(options: Sequence[str]) -> list[str]:
    if any(re.match(r"(--gpu-architecture|-arch)\b", option) for option in options):
        return []
    import triton

    return [f"--gpu-architecture=compute_{triton.runtime.driver.active.get_current_target().arch}"]


def _three(extents: Any, what: str) -> list[Any]:
    given = [symbolic_ints.folded(e) for e in (extents if isinstance(extents, Sequence) else [extents])]
    if not 1 <= len(given) <= 3:
        raise LaunchError(f"the {what} has {len(given)} extents", hint="give x, or (x, y), or (x, y, z)")
    return [*given, *[1] * (3 - len(given))]
