# SPDX-License-Identifier: Apache-2.0
"""CUDA C++ to PTX with NVRTC, for the architecture that is compiled for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aotfactory.core.errors import CudaSourceError, DefinitionError, NoPackageError
from aotfactory.core.extras import install_command


def compile_ptx(source: str, name: str, options: Sequence[str]) -> str:
    """The PTX of a CUDA C++ source.

    Args:
        name: What messages and `__FILE__` call it.
        options: NVRTC's, ``--gpu-architecture`` included.

    Raises:
        DefinitionError: NVRTC refuses the source: its first error, with the line and the caret under it.
        MissingError: NVRTC is not installed.
    """
    nvrtc = _library()
    program = _call(nvrtc, nvrtc.nvrtcCreateProgram(source.encode(), name.encode(), 0, [], []))
    given = [option.encode() for option in options]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(given), given)
    log = bytearray(_call(nvrtc, nvrtc.nvrtcGetProgramLogSize(program)))
    _call(nvrtc, nvrtc.nvrtcGetProgramLog(program, log))
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise _refusal(log.decode(errors="replace").rstrip("\0\n"), str(status), options)
    text = bytearray(_call(nvrtc, nvrtc.nvrtcGetPTXSize(program)))
    _call(nvrtc, nvrtc.nvrtcGetPTX(program, text))
    _call(nvrtc, nvrtc.nvrtcDestroyProgram(program))
    return text.decode().rstrip("\0")


def include_paths() -> list[str]:
    """Where CUDA's own headers (cuda_fp16.h, ...) are: a toolkit's, else those that ship with Triton."""
    import os

    import triton

    toolkits = (os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH"))
    found = [Path(root, "include") for root in (*toolkits, "/usr/local/cuda") if root]
    found.append(Path(triton.__file__).parent / "backends" / "nvidia" / "include")
    return [str(path) for path in found if (path / "cuda_fp16.h").is_file()][:1]


def _library() -> Any:
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except Exception as error:  # cuda-python has a type of its own for each way of not finding a library
        raise NoPackageError(
            f"NVRTC, which compiles CUDA C++, is not installed: {str(error).splitlines()[0]}",
            hint=install_command("nvrtc"),
        ) from error
    return nvrtc


def _call(nvrtc: Any, answer: tuple[Any, ...]) -> Any:
    status, *values = answer
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise CudaSourceError(f"NVRTC fails: {status}")
    return values[0] if values else None


def _refusal(log: str, status: str, options: Sequence[str]) -> DefinitionError:
    """The first error of a log, whose lines are ``file(line): error: text``, the source and a caret."""
    found = re.search(r"^(.*)\((\d+)\): (?:catastrophic )?error: ?(.*(?:\n(?!\S.*\(\d+\): ).*)*)", log, re.MULTILINE)
    if found is None:
        return CudaSourceError(
            f"NVRTC refuses the options {' '.join(options)}: {log or status}", hint="see NVRTC's documentation"
        )
    file, line, text = found.groups()
    text = text.split("\n\n")[0].rstrip()
    count = len(re.findall(r"\): (?:catastrophic )?error:", log))
    more = f"\n({count - 1} more)" if count > 1 else ""
    # A check of aotfactory's own, put into the source.
    own = re.search(r'static assertion failed with "([^"]*)"', text)
    if own:
        return CudaSourceError(own[1], hint="give a tensor of the type that the kernel declares, or change the kernel")
    hint = None
    if "could not open source file" in text or "cannot open source file" in text:
        hint = "give aot_cuda include_paths=[...]"
    return CudaSourceError(f"NVRTC: {text}{more}", where=f"{file}:{line}", hint=hint)
