# SPDX-License-Identifier: Apache-2.0
"""Builds our C++ programs on first use and keeps them in a cache, keyed by their sources and the compiler."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from aotfactory.core.cache import cache_directory
from aotfactory.core.errors import MissingError
from aotfactory.executors.native.process import run_command

SOURCES = Path(__file__).resolve().parents[2] / "runtime"
LIMITS = SOURCES.parent / "core" / "limits.json"
"""Compiled into the programs."""

PACKAGES = "Debian and Ubuntu: apt-get install g++ cmake make nlohmann-json3-dev libcli11-dev"


def build_program(
    name: str,
    directory: str,
    *,
    cache: Path | None = None,
    settings: Sequence[str] = (),
    key: str = "",
    hint: str = PACKAGES,
) -> Path:
    """The path of ``aotfactory-NAME``, built with CMake if the cache has none for these sources and this compiler.

    Args:
        directory: Of its CMakeLists.txt, in the sources.
        cache: Where builds are kept, by default `cache_directory()`.
        settings: Arguments for CMake's configuration.
        key: What else the build depends on.
        hint: What to install where something is missing.

    Raises:
        MissingError: No CMake, compiler or headers, with CMake's own words; or $AOTFACTORY_NAME names no program.
    """
    variable = f"AOTFACTORY_{name.upper()}"
    if ready := os.environ.get(variable):
        if not os.access(ready, os.X_OK) or Path(ready).is_dir():
            raise MissingError(f"{variable}={ready} is not an executable")
        return Path(ready)
    hint = f"{hint} (or set {variable} to a built aotfactory-{name})"

    def tool(*names: str) -> str:
        if found := next(filter(None, map(shutil.which, names)), None):
            return found
        raise MissingError(f"{names[0]} is needed to build the {name} and is not on the PATH", hint=hint)

    def cmake(done: str, *arguments: str) -> None:
        code, stdout, stderr = run_command([program, *arguments], timeout=900)
        if code != 0:
            # Configuring tells what is wrong on stderr alone; of a build, either may.
            said = (stderr if done == "configured" else "") or stdout + stderr
            tail = "\n".join(said.strip().splitlines()[-30:])
            raise MissingError(f"the {name} could not be {done}:\n{tail}", hint=hint)

    program, compiler = tool("cmake"), tool(os.environ.get("CXX") or "c++", "g++", "clang++")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    if not generator:
        tool("make")
    home = (cache or cache_directory()) / name
    target = home / cache_key(compiler, *settings, key)
    built = target / "bin" / f"aotfactory-{name}"
    if built.is_file():
        return built
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=home) as scratch:
        build, install = f"{scratch}/build", f"{scratch}/install"
        where = [f"-DCMAKE_CXX_COMPILER={compiler}", f"-DCMAKE_INSTALL_PREFIX={install}"]
        cmake("configured", "-S", str(SOURCES / directory), "-B", build, *generator, *where, *settings)
        cmake("built", "--build", build, "--parallel", str(os.cpu_count() or 1), "--target", built.name)
        cmake("installed", "--install", build, "--strip")
        try:
            os.replace(install, target)
        except OSError:
            if not built.is_file():  # otherwise another process built it meanwhile
                raise
    return built


def cache_key(compiler: str, *others: str) -> str:
    """A key that tells one build from another: the compiler and its version, the sources, and `others`."""
    digest = hashlib.sha256()
    _, version, _ = run_command([compiler, "--version"], timeout=60)
    for text in (compiler, version, *others):
        digest.update(text.encode() + b"\0")
    sources = [path for path in sorted(SOURCES.rglob("*")) if path.suffix in {".cpp", ".h", ".txt", ".cmake"}]
    for name, path in [(p.relative_to(SOURCES).as_posix(), p) for p in sources] + [(LIMITS.name, LIMITS)]:
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]
