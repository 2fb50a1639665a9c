# SPDX-License-Identifier: Apache-2.0
"""For authors of plugins: the body of an `aot_impl` from a kernel in CUDA C++."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aotfactory.plugins.call_tensors import tensors_of_call
from aotfactory.plugins.cuda_launch import CudaLaunch


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
            ``__cluster_dims__``, at most 16; takes a plugin library.

    Returns:
        What an `aot_impl` has to return.

    Raises:
        DefinitionError: The source, the arguments or their types do not fit; with the line of the source.
        MissingError: NVRTC is not installed.
    """
    tensors = tensors_of_call("aot_cuda")
    own = {"grid": grid, "block": block, "shared_mem": shared_mem, "options": options, "include_paths": include_paths}
    called = CudaLaunch.of(
        sys._getframe(1).f_code.co_filename,
        source,
        kernel,
        {**arguments, **(named or {})},
        **own,
        unused=unused,
        cluster=cluster,
    )
    return called.compile(tensors, called.workspaces)


def launch_cuda(
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
) -> CudaLaunch:
    """One of the kernels of `aot_kernels`, in CUDA C++; takes what `aot_cuda` takes."""
    own = {"grid": grid, "block": block, "shared_mem": shared_mem, "options": options, "include_paths": include_paths}
    return CudaLaunch.of(
        sys._getframe(1).f_code.co_filename,
        source,
        kernel,
        {**arguments, **(named or {})},
        **own,
        unused=unused,
        cluster=cluster,
    )
