# SPDX-License-Identifier: Apache-2.0
"""For authors of plugins: the body of an `aot_impl` from a kernel in CUDA C++."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aotfactory.core import dtypes
from aotfactory.core.errors import CudaSourceError, KernelArgumentError, LaunchError
from aotfactory.plugins import cuda_source, nvrtc, symbolic_ints, tensorrt_api
from aotfactory.plugins.call_tensors import tensors_of_call
from aotfactory.plugins.for_library import (
    LibraryLaunch,
    LibraryName,
    SymbolicQuotient,
    Workspace,
    kind_of,
    require_library,
)

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402


def aot_cuda(
    source: str | Path,
    kernel: str,
    named: Mapping[str, Any] | None = None,
    /,
    *,
    grid: Any,
    block: Any,
    shared_mem: Any = 0,
    options: Sequence[str] = (),
    include_paths: Sequence[str | Path] = (),
    unused: Sequence[Any] = (),
    cluster: Sequence[int] | None = None,
    **arguments: Any,
) -> Any:
    """Compile a CUDA C++ kernel with NVRTC for the call that is being built, in TensorRT's calling convention.

    Called inside an `aot_impl`. Every parameter of the kernel is given by its name, in any order: a `TensorDesc`
    becomes the pointer to that tensor, whose element type the compiler holds against the declared one (``void``, and
    vectors to move bytes by, fit all); an expression of dimensions is a constant in the kernel where it is constant,
    else an int32 extra argument; numbers, bools and None (nullptr) are constants. For a plugin library (``--road
    library``) also what `aot_kernel` takes there: int64 arguments, a `quotient`, a `workspace`.

    Args:
        source: CUDA C++, or the path of a file.
        kernel: Name of the ``__global__`` function, with template arguments where it is a template: ``"scale<float>"``.
        named: Arguments too, for parameters whose names this function uses itself, such as `grid` and `block`.
        grid, block: Extents along x, or (x, y, z): integers or `shape_expr` arithmetic.
        shared_mem: Bytes of dynamic shared memory.
        options: NVRTC's, such as ``--use_fast_math``.
        include_paths: Directories of headers; CUDA's own are found.
        unused: Inputs that the kernel does not take, as only their shapes matter.
        cluster: Blocks of a cluster along x, or (x, y, z), that the launch states, for a kernel without
            ``__cluster_dims__``; takes a plugin library.

    Returns:
        What an `aot_impl` has to return.

    Raises:
        DefinitionError: The source, the arguments or their types do not fit; with the line of the source.
        MissingError: NVRTC is not installed.
    """
    tensors = tensors_of_call("aot_cuda")
    text, file, line = _located(source, sys._getframe(1).f_code.co_filename)
    found = cuda_source.declared(text, kernel, f"{file}:{line}")
    values = {n: symbolic_ints.folded(v) for n, v in {**arguments, **(named or {})}.items()}
    missing = [n for n in found.parameters if n not in values]
    left_over = [n for n in values if n not in found.parameters]
    if missing or left_over:
        wrong = [f"is not given {', '.join(missing)}"] if missing else []
        wrong += [f"has no parameter {', '.join(left_over)}"] if left_over else []
        raise KernelArgumentError(f"{kernel} {' and '.join(wrong)}", hint=f"it takes {', '.join(found.parameters)}")
    pointers = {n: v for n, v in values.items() if isinstance(v, trtp.TensorDesc)}
    workspaces = {n: v for n, v in values.items() if isinstance(v, Workspace)}
    for name in (*pointers, *workspaces):
        if "*" not in found.parameters[name] and "<" not in kernel:
            raise KernelArgumentError(f"{kernel} takes {name} as {found.parameters[name]}, but it is given a tensor")
    extra = {n: v for n, v in values.items() if isinstance(v, symbolic_ints.SymInt | SymbolicQuotient)}
    numbers = {n: v if isinstance(v, trtp.SymInt32 | SymbolicQuotient) else trtp.SymInt32(v) for n, v in extra.items()}
    entry_pointers = tensors.pointers(kernel, pointers, unused, {*values}, "aot_cuda")
    count = len(tensors.inputs)
    shared = {id(w): n for n, w in reversed(workspaces.items())}  # one that is given twice arrives once
    order = [*list(entry_pointers)[:count], *extra, *list(entry_pointers)[count:], *reversed(shared.values())]
    by_tensor = {id(tensor): n for n, tensor in entry_pointers.items()} | shared
    tensors_of_entry = entry_pointers | {n: workspaces[n] for n in shared.values()}
    entry = f"{re.split('[<:]', kernel)[0].strip()}_aot"
    complete = cuda_source.with_entry(
        text,
        found,
        entry,
        order=order,
        tensors={n: dtypes.of_trt(t.dtype).name for n, t in tensors_of_entry.items()},
        extra={n: kind_of(v) for n, v in numbers.items()},
        constants={n: v for n, v in values.items() if n not in (*pointers, *workspaces, *extra)},
        arrives_as={n: by_tensor[id(t)] for n, t in (pointers | workspaces).items()},
        line=line,
        file=file,
    )
    paths = [*include_paths, *([Path(file).parent] if isinstance(source, Path) else []), *nvrtc.include_paths()]
    chosen = [*_architecture(options), "--std=c++17", *options, *(f"--include-path={p}" for p in paths)]
    ptx = nvrtc.compile_ptx(complete, file, chosen)
    launch = trtp.KernelLaunchParams(*_three(grid, "grid"), *_three(block, "block"), symbolic_ints.folded(shared_mem))
    integers = [v for v in numbers.values() if not isinstance(v, SymbolicQuotient)]
    entry_name: str = entry
    if workspaces or cluster is not None or len(integers) < len(numbers):
        more = LibraryLaunch(
            extra_args=list(numbers.values()),
            cluster=_cluster(cluster),
            workspaces=[workspaces[n] for n in reversed(shared.values())],
        )
        entry_name = LibraryName.of(entry, more)
    return entry_name, ptx, launch, trtp.SymIntExprs.from_tuple(integers)


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
