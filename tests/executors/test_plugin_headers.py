# SPDX-License-Identifier: Apache-2.0
"""The plugin library's sources against TensorRT's public headers of several versions, all warnings on.

$AOTFACTORY_TENSORRT_HEADERS names a directory in which each version's headers lie somewhere, such as the ``include`` of
the tags ``release/10.0`` and so on of https://github.com/NVIDIA/TensorRT. A version that is not there is skipped.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aotfactory.executors.native.cmake import SOURCES
from aotfactory.executors.native.plugin_library import _cuda_headers

pytestmark = pytest.mark.slow

VERSIONS = ("10.0", "10.3", "10.9", "10.13", "10.16", "11.1")
VARIABLE = "AOTFACTORY_TENSORRT_HEADERS"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")


def compiler() -> str:
    return os.environ.get("CXX", "c++")


def includes() -> list[str]:
    cuda = [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "include"), Path(_cuda_headers() or "/nowhere")]
    return [word for path in cuda if path.is_dir() for word in ("-isystem", str(path))]


@functools.cache
def headers() -> dict[str, Path]:
    """Each version that is there, as the header itself says it."""
    root = os.environ.get(VARIABLE)
    found = {}
    for header in sorted(Path(root).rglob("NvInferVersion.h")) if root else ():
        text = f'#include "{header}"\nNV_TENSORRT_MAJOR.NV_TENSORRT_MINOR\n'
        command = [compiler(), "-E", "-P", "-x", "c++", "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        found["".join(done.stdout.splitlines()[-1].split())] = header.parent
    return found


def sources() -> Iterator[Path]:
    yield from sorted((SOURCES / "plugin").glob("*.cpp"))


@pytest.mark.parametrize("version", VERSIONS)
def test_compiles_without_a_warning(version: str, tmp_path: Path) -> None:
    if VARIABLE not in os.environ:
        pytest.skip(f"${VARIABLE} names no directory of headers")
    if version not in headers():
        there = ", ".join(headers()) or "none"
        pytest.skip(f"no headers of TensorRT {version} below ${VARIABLE}; there: {there}")
    script = [f"-DJSON={SOURCES.parent / 'core' / 'limits.json'}", f"-DHEADER={tmp_path / 'common' / 'limits.h'}"]
    subprocess.run(["cmake", *script, "-P", str(SOURCES / "limits.cmake")], check=True)
    command = [compiler(), "-std=c++17", "-fsyntax-only", *WARNINGS, "-I", str(SOURCES), "-I", str(tmp_path)]
    command += ["-isystem", str(headers()[version]), *includes()]
    for source in sources():
        done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{source.name}: {done.stderr[-2000:]}"
