# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of a result's makers: aotfactory's source, and the versions of the packages that do the work."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent

PINNED = {
    "triton": ("triton",),
    "numpy": ("numpy",),
    "ml_dtypes": ("ml_dtypes",),
    "onnx": ("onnx",),
    "onnx-graphsurgeon": ("onnx_graphsurgeon",),
    "tensorrt": ("tensorrt",),
    "tensorrt-cu13": ("tensorrt",),
    "tensorrt-cu13-bindings": ("tensorrt_bindings",),
    "tensorrt-cu13-libs": ("tensorrt_libs",),
    "tensorrt-lean-cu13-libs": ("tensorrt_lean_libs",),
    "cuda-bindings": ("cuda",),
}
"""Distributions whose version is in every key, and the packages that need not be looked at for that reason."""

PREFIXES = ("TRITON_", "LLVM_", "MLIR_", "NVPTX_", "DISABLE_", "AOTFACTORY_TENSORRT")
"""Prefixes of variables that switch Triton and its compiler; those that a definition reads are recorded as it does."""

PLACES = ("TRITON_CACHE_DIR", "TRITON_HOME", "TRITON_DUMP_DIR", "TRITON_OVERRIDE_DIR", "TRITON_CACHE_MANAGER")
"""Variables that say where, not what."""


def fingerprint() -> dict[str, str]:
    """By name, as JSON values; differs wherever the same definitions may give another result."""
    found = _versions() | {"aotfactory": source_hash(), "python": sys.version.split()[0]}
    switches = sorted(name for name in os.environ if name.startswith(PREFIXES) and name not in PLACES)
    return found | {name: _value(os.environ[name]) for name in switches}


def _value(text: str) -> str:
    """A variable's value; a program (TRITON_PTXAS_PATH) is not the same after it was replaced."""
    try:
        status = os.stat(text)
    except (OSError, ValueError):
        return text
    return f"{text}:{status.st_size}:{status.st_mtime_ns}"


@functools.cache
def _versions() -> dict[str, str]:
    """By the names of their folders: importlib.metadata takes longer than all else that is done with a cached build."""
    names = "|".join(name.replace("-", "[-_.]") for name in PINNED)
    pattern = re.compile(rf"({names})-([^-]+)\.dist-info", re.IGNORECASE)
    found: dict[str, str] = {}
    for folder in filter(os.path.isdir, sys.path):
        for match in filter(None, map(pattern.fullmatch, os.listdir(folder))):
            found.setdefault(re.sub("[-_.]+", "-", match[1]).lower(), match[2])  # the first on the path is imported
    return found


@functools.cache
def source_hash() -> str:
    """A hash of aotfactory's own modules, without the kernels: a version alone stands still while it is worked on."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        if inside.parts[0] not in ("kernels", "cli"):
            digest.update(f"{inside}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
