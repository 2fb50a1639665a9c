# SPDX-License-Identifier: Apache-2.0
"""Link-time stubs of TensorRT's libraries: shipped in the wheel, or compiled once into a cache.

setup.py imports this module too, so it needs nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from aotfactory.core.cache import cache_directory
from aotfactory.core.errors import MissingError

LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
"""The libraries that TensorRT's Python bindings are linked against."""

PACKAGED_MAJOR = 11
"""The major version in the SONAMEs of the stubs that the wheel carries."""

_HERE = Path(__file__).resolve().parent
_SOURCE = _HERE / "stubs.c"


def soname(library: str, major: int) -> str:
    """The file name, and SONAME, of one TensorRT library: ``libnvinfer.so.11``."""
    return f"lib{library}.so.{major}"


def find_compiler() -> list[str] | None:
    """The C compiler as a command: ``$CC``, else the first of cc, gcc and clang on the PATH; None if there is none."""
    named = shlex.split(os.environ.get("CC", ""))
    if named and shutil.which(named[0]):
        return named
    return next(([path] for path in map(shutil.which, ("cc", "gcc", "clang")) if path), None)


def compile_stubs(directory: Path, major: int) -> None:
    """Compile the stubs into a directory.

    Args:
        directory: Where the libraries go; it must exist.
        major: TensorRT's major version, part of the SONAMEs.

    Raises:
        MissingError: There is no C compiler, or it does not work.
    """
    hint = 'sudo apt install gcc (or set CC), or install a wheel of aotfactory, or pip install "aotfactory[tensorrt]"'
    compiler = find_compiler()
    if compiler is None:
        raise MissingError("no C compiler to build the link-time stubs of TensorRT with", hint=hint)
    for library in LIBRARIES:
        name = soname(library, major)
        options = ["-shared", "-fPIC", "-O1", "-nostdlib", f"-DSTUB_{library.upper()}", f"-Wl,-soname,{name}"]
        command = [*compiler, *options, "-o", str(directory / name), str(_SOURCE)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            said = (result.stderr or result.stdout).strip()
            raise MissingError(f"the C compiler failed: {shlex.join(command)}\n{said}", hint=hint)


def _complete(directory: Path, major: int) -> bool:
    return all((directory / soname(library, major)).is_file() for library in LIBRARIES)


def stub_directory(major: int) -> Path:
    """The directory of the stubs for one major version of TensorRT, compiled now if they are nowhere yet.

    Any number of processes may call this at once: each compiles into a directory of its own and renames it; the
    first one to do so wins.

    Raises:
        MissingError: The wheel brought no stubs for this version, and they can't be compiled or stored.
    """
    if _complete(_HERE, major):
        return _HERE
    key = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    final = cache_directory() / "stubs" / f"{platform.machine()}-{major}-{key}"
    if _complete(final, major):
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=".new-") as temporary:
            built = Path(temporary) / "stubs"
            built.mkdir()
            compile_stubs(built, major)
            try:
                os.replace(built, final)
            except OSError:
                # A directory can't replace one with files in it: another process was first. Else it is an error.
                if not _complete(final, major):
                    raise
    except OSError as error:
        hint = "set AOTFACTORY_CACHE to a directory that can be written"
        raise MissingError(f"can't write the link-time stubs of TensorRT: {error}", hint=hint) from error
    return final
