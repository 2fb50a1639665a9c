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
    **arguments: Any,
) -> Any:
    """Compile a CUDA C++ kernel with NVRTC for the call that is being built, in TensorRT's calling convention.

    Called inside an `aot_impl`. Every parameter of the kernel is given by its name, in any order: a `TensorDesc`
    becomes the pointer to that tensor, whose element type the compiler holds against the declared one (``void``, and
    vectors to move bytes by, fit all); an expression of dimensions is a constant in the kernel where it is constant,
    else an int32 extra argument; numbers, bools and None (nullptr) are constants.

    Args:
        source: CUDA C++, or the path of a file.
        kernel: Name of the ``__global__`` function, with template arguments where it is a template: ``"scale<float>"``.
        named: Arguments too, for parameters whose names this function uses itself, such as `grid` and `block`.
        grid, block: Extents along x, or (x, y, z): integers or `shape_expr` arithmetic.
        shared_mem: Bytes of dynamic shared memory.
        options: NVRTC's, such as ``--use_fast_math``.
        include_paths: Directories of headers; CUDA's own are found.
        unused: Inputs that the kernel does not take, as only their shapes matter.

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
    for name in pointers:
        if "*" not in found.parameters[name] and "<" not in kernel:
            raise KernelArgumentError(f"{kernel} takes {name} as {found.parameters[name]}, but it is given a tensor")
    extra = {n: v for n, v in values.items() if isinstance(v, symbolic_ints.SymInt)}
    entry_pointers = tensors.pointers(kernel, pointers, unused, {*values}, "aot_cuda")
    count = len(tensors.inputs)
    order = [*list(entry_pointers)[:count], *extra, *list(entry_pointers)[count:]]
    by_tensor = {id(tensor): n for n, tensor in entry_pointers.items()}
    entry = f"{re.split('[<:]', kernel)[0].strip()}_aot"
    complete = cuda_source.with_entry(
        text,
        found,
        entry,
        order=order,
        tensors={n: dtypes.of_trt(t.dtype).name for n, t in entry_pointers.items()},
        extra=list(extra),
        constants={n: v for n, v in values.items() if n not in pointers and n not in extra},
        arrives_as={n: by_tensor[id(t)] for n, t in pointers.items()},
        line=line,
        file=file,
    )
    paths = [*include_paths, *([Path(file).parent] if isinstance(source, Path) else []), *nvrtc.include_paths()]
    chosen = [*_architecture(options), "--std=c++17", *options, *(f"--include-path={p}" for p in paths)]
    ptx = nvrtc.compile_ptx(complete, file, chosen)
    launch = trtp.KernelLaunchParams(*_three(grid, "grid"), *_three(block, "block"), symbolic_ints.folded(shared_mem))
    integers = [v if isinstance(v, trtp.SymInt32) else trtp.SymInt32(v) for v in extra.values()]
    return entry, ptx, launch, trtp.SymIntExprs.from_tuple(integers)


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
