# SPDX-License-Identifier: Apache-2.0
"""Builds the C++ launcher on first use and keeps it in a cache, keyed by its sources and the compiler."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from aotfactory.errors import CheckError, MissingError
from aotfactory.stubs import cache_directory

SOURCES = Path(__file__).resolve().parent.parent / "runtime"
_HINT = (
    "Debian and Ubuntu: apt-get install g++ cmake make nlohmann-json3-dev libcli11-dev "
    "(or set AOTFACTORY_LAUNCHER to a built aotfactory-launcher)"
)


def build_launcher(*, cache: Path | None = None, options: Sequence[str] = ()) -> Path:
    """The path of an `aotfactory-launcher`, built with CMake if the cache has none for these sources and this compiler.

    CMake finds nlohmann/json and CLI11 by itself or through the environment's CMAKE_PREFIX_PATH or CMAKE_INCLUDE_PATH.

    Args:
        cache: Where builds are kept, by default `cache_directory()`.
        options: More arguments for CMake's configuration, as -DCMAKE_PREFIX_PATH=...

    Raises:
        MissingError: No CMake, compiler or headers; or $AOTFACTORY_LAUNCHER names no program.
    """
    if ready := os.environ.get("AOTFACTORY_LAUNCHER"):
        if not os.access(ready, os.X_OK) or Path(ready).is_dir():
            raise MissingError(f"AOTFACTORY_LAUNCHER={ready} is no program")
        return Path(ready)
    cmake, compiler = _tool("cmake"), _tool(os.environ.get("CXX") or "c++", "g++", "clang++")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    if not generator:
        _tool("make")
    home = (cache or cache_directory()) / "launcher"
    target = home / _key(compiler, options)
    program = target / "bin" / "aotfactory-launcher"
    if program.is_file():
        return program
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=home) as scratch:
        build, install = Path(scratch, "build"), Path(scratch, "install")
        settings = [f"-DCMAKE_CXX_COMPILER={compiler}", f"-DCMAKE_INSTALL_PREFIX={install}", *options]
        _cmake([cmake, "-S", str(SOURCES), "-B", str(build), *generator, *settings], "configured")
        _cmake([cmake, "--build", str(build), "--parallel", str(os.cpu_count() or 1)], "built")
        _cmake([cmake, "--install", str(build), "--strip"], "installed")
        try:
            os.replace(install, target)
        except OSError:
            if not program.is_file():  # otherwise another process built it meanwhile
                raise
    return program


def run_command(
    command: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Echoes and runs a command: its exit code, stdout and stderr. Its whole process group ends with this call.

    Raises:
        CheckError: It ran longer than `timeout` seconds.
    """
    print("+", " ".join(command), file=sys.stderr, flush=True)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace", env=env, start_new_session=True,
    )  # fmt: skip
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise CheckError(f"stopped after {timeout:g} s: {' '.join(command)}") from None
    finally:  # the time ran out, or Ctrl-C: compilers and the like must not live on
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode, stdout, stderr


def _tool(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    raise MissingError(f"{names[0]} is needed to build the launcher and is not on the PATH", hint=_HINT)


def _key(compiler: str, options: Sequence[str]) -> str:
    digest = hashlib.sha256()
    _, version, _ = run_command([compiler, "--version"], timeout=60)
    for text in (compiler, version, *options):
        digest.update(text.encode() + b"\0")
    for path in sorted(SOURCES.iterdir()):
        if path.suffix in {".cpp", ".h", ".txt"}:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def _cmake(command: Sequence[str], done: str) -> None:
    code, stdout, stderr = run_command(command, timeout=900)
    if code != 0:
        tail = "\n".join((stdout + stderr).strip().splitlines()[-30:])
        raise MissingError(f"the launcher could not be {done}:\n{tail}", hint=_HINT)
