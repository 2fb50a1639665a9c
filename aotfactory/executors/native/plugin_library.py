# SPDX-License-Identifier: Apache-2.0
"""A plugin library: the archive of ``runtime/plugin``, compiled once for each TensorRT, and a document linked to it."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path

from aotfactory.core.errors import NoToolchainError
from aotfactory.core.files import replace_file
from aotfactory.executors.native.cmake import PACKAGES, ProgramBuild
from aotfactory.executors.native.process import run_command

_ASSEMBLY = """\
.section .rodata
.global aotfactory_library_begin
.global aotfactory_library_end
.balign 16
aotfactory_library_begin:
.incbin "library.json"
aotfactory_library_end:
.byte 0
.section .note.GNU-stack,"",%progbits
"""

_EXPORTS = "{ global: getCreators; setLoggerFinder; local: *; };\n"


def build_plugin_archive(*, tensorrt_root: Path | None = None, cache: Path | None = None) -> ProgramBuild:
    """Everything in a plugin library but its document, compiled for this TensorRT and kept in the cache.

    Args:
        tensorrt_root: Where TensorRT's ``include`` is; by default $TENSORRT_ROOT, else the system's.

    Raises:
        MissingError: No CMake, compiler, or headers of TensorRT and CUDA.
    """
    root = str(tensorrt_root or os.environ.get("TENSORRT_ROOT", ""))
    header = Path(root, "include", "NvInferVersion.h")
    build = ProgramBuild(
        "plugin",
        "plugin",
        cache=cache,
        settings=[f"-DTENSORRT_ROOT={root}", f"-DCUDA_HEADERS={_cuda_headers()}"],
        key=header.read_text() if header.is_file() else "",
        hint=f"{PACKAGES}, and set TENSORRT_ROOT to TensorRT's directory",
        product="lib/aotfactory-plugin.a",
    )
    build.run()
    return build


def link_library(document: bytes, output: Path, *, tensorrt_root: Path | None = None) -> None:
    """Write a plugin library that carries the document.

    Raises:
        MissingError: As `build_plugin_archive`, or it cannot be linked.
        OSError: `output` cannot be written.
    """
    build = build_plugin_archive(tensorrt_root=tensorrt_root)
    with tempfile.TemporaryDirectory(prefix="aotfactory-") as scratch:
        folder = Path(scratch)
        (folder / "library.json").write_bytes(document)
        (folder / "library.s").write_text(_ASSEMBLY)
        (folder / "exports.map").write_text(_EXPORTS)
        command = [build.compiler, "-shared", "-s", "-o", f"{folder}/library.so", f"{folder}/library.s"]
        command += [
            f"-Wa,-I,{folder}",
            f"-Wl,--version-script={folder}/exports.map",
            "-Wl,-z,defs",
            "-Wl,--gc-sections",
        ]
        command += ["-Wl,--whole-archive", str(build.program), "-Wl,--no-whole-archive"]
        # A host may have an older libstdc++ than this machine, and its own symbols of it.
        command += ["-static-libstdc++", "-static-libgcc", "-ldl", "-lpthread"]
        code, stdout, stderr = run_command(command, timeout=300)
        if code != 0:
            tail = "\n".join((stdout + stderr).strip().splitlines()[-10:])
            raise NoToolchainError(f"the library could not be linked:\n{tail}", hint=build.hint)
        replace_file(output, (folder / "library.so").read_bytes())


def _cuda_headers() -> str:
    """Triton's copy of CUDA's headers, for machines without the toolkit; empty if there is none."""
    found = importlib.util.find_spec("triton")
    folders = list(found.submodule_search_locations or []) if found else []
    paths = [Path(folder, "backends", "nvidia", "include") for folder in folders]
    return next((str(p) for p in paths if (p / "cuda_runtime_api.h").is_file()), "")
