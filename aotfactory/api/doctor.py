# SPDX-License-Identifier: Apache-2.0
"""Look at everything on this machine that aotfactory can use, and say what is wrong with it and what to do.

The findings can be pasted into a bug report: paths below the home directory begin with ``~``, and of the environment
only variables that are known to matter are shown.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from aotfactory.compiler.ptxas import identity
from aotfactory.core import cuda
from aotfactory.core.arch import BASE_ISA, cuda_isa, native_arch
from aotfactory.core.cache import cache_directory
from aotfactory.core.errors import AotError
from aotfactory.core.extras import install_command
from aotfactory.core.processes import run_program
from aotfactory.core.settings import SECRET, SETTINGS
from aotfactory.executors.native.cmake import PACKAGES, ready_program
from aotfactory.executors.trtexec.command import find_trtexec
from aotfactory.plan.options import BROKEN, OLDEST
from aotfactory.plugins import tensorrt_api

OLDEST_TRITON = (3, 5)
HEADERS = ("nlohmann/json.hpp", "CLI/CLI.hpp")
LOW_DISK = 2**30
"""Bytes of free space under which a build may run out."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        status: ``warning``: something cannot be done here, and the bundle half works all the same; ``failure``: it
            does not.
        remedy: What to do about a warning or failure.
    """

    name: str
    status: Literal["ok", "warning", "failure"]
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Every finding, in the order in which things are needed. Nothing is changed on the machine."""
    found: list[Finding] = []
    for look in (_python, _environment, _triton, _tensorrt, _gpu, _launcher, _trtexec, _nvrtc, _directories):
        try:
            found += look()
        except Exception as error:  # a machine may be broken in any way, and the other findings still help
            name = look.__name__.strip("_")
            detail, remedy = f"{type(error).__name__}: {error}", "report this with the lines around it"
            found.append(Finding(name=name, status="failure", detail=detail, remedy=remedy))
    return [_without_home(finding) for finding in found]


def _python() -> Iterator[Finding]:
    machine = f"{platform.system()} {platform.machine()}"
    detail = f"{platform.python_version()}, {machine}, aotfactory {_version('aotfactory')}"
    if sys.platform == "linux":
        yield Finding(name="python", status="ok", detail=detail)
    else:
        remedy = "use Linux: NVIDIA's bindings and Triton are there for no other system"
        yield Finding(name="python", status="failure", detail=detail, remedy=remedy)


def _environment() -> Iterator[Finding]:
    given = {name: "(set)" if name in SECRET else os.environ[name] for name in SETTINGS if name in os.environ}
    text = ", ".join(f"{name}={value}" for name, value in given.items()) or "none of the variables that matter is set"
    if given.get("TRITON_INTERPRET", "0") not in ("", "0"):
        remedy = "unset TRITON_INTERPRET: with it, kernels are interpreted instead of compiled"
        yield Finding(name="environment", status="failure", detail=text, remedy=remedy)
    else:
        yield Finding(name="environment", status="ok", detail=text)


def _triton() -> Iterator[Finding]:
    found = _version("triton")
    if not found:
        yield Finding(name="triton", status="failure", detail="not installed", remedy='pip install "triton>=3.5"')
        return
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if numbers < OLDEST_TRITON:
        yield Finding(name="triton", status="failure", detail=f"{found} is too old", remedy='pip install "triton>=3.5"')
        return
    yield Finding(name="triton", status="ok", detail=f"{found}, {', '.join(identity())}")


def _tensorrt() -> Iterator[Finding]:
    full = tensorrt_api.FULL_COMMAND
    try:
        tensorrt = tensorrt_api.load()
    except AotError as error:
        yield Finding(name="tensorrt", status="failure", detail=error.message, remedy=error.hint or full)
        return
    numbers = tuple(int(n) for n in tensorrt.version.split(".")[:2])
    if tensorrt.kind == "compile-only":
        detail = f"{tensorrt.version}, compile-only: bundles can be built, plans cannot ({tensorrt.reason})"
        yield Finding(name="tensorrt", status="warning", detail=detail, remedy=f"for plans: {full}")
    elif numbers == BROKEN or numbers < OLDEST:
        detail = f"{tensorrt.version} has no ahead-of-time plugins that work"
        yield Finding(name="tensorrt", status="failure", detail=detail, remedy=full)
    else:
        yield Finding(name="tensorrt", status="ok", detail=f"{tensorrt.version}, full")


def _gpu() -> Iterator[Finding]:
    driver = cuda.driver_version()
    if driver is None or cuda.cuda_device_count() == 0:
        what = "no CUDA driver" if driver is None else "the CUDA driver sees no GPU"
        detail = f"{what}: kernels are compiled for `portable` by default, PTX ISA {BASE_ISA}, and not run"
        remedy = "to run and time kernels, use a machine with an NVIDIA GPU and its driver"
        yield Finding(name="gpu", status="warning", detail=detail, remedy=remedy)
        return
    cuda_release = f"{driver // 1000}.{driver % 1000 // 10}"
    isa = cuda_isa(driver // 1000, driver % 1000 // 10)
    try:
        arch = native_arch()
    except AotError as error:
        yield Finding(name="gpu", status="warning", detail=error.message, remedy=error.hint or "")
        return
    detail = f"{cuda.gpu_name()} ({arch}), driver for CUDA {cuda_release}, newest PTX ISA {isa}"
    yield Finding(name="gpu", status="ok", detail=detail)


def _launcher() -> Iterator[Finding]:
    try:
        if ready := ready_program("launcher"):
            yield Finding(name="launcher", status="ok", detail=f"built: {ready}")
            return
    except AotError as error:
        remedy = "set AOTFACTORY_LAUNCHER to a built aotfactory-launcher, or unset it"
        yield Finding(name="launcher", status="failure", detail=error.message, remedy=remedy)
        return
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX") or "c++", "g++", "clang++"))), None)
    missing = [name for name in ("cmake",) if not shutil.which(name)]
    missing += [] if shutil.which("ninja") or shutil.which("make") else ["make"]
    missing += [] if compiler else ["a C++ compiler"]
    missing += [header for header in HEADERS if compiler and not _has_header(compiler, header)]
    if missing:
        detail = f"it cannot be built here: {', '.join(missing)} missing"
        yield Finding(name="launcher", status="warning", detail=detail, remedy=PACKAGES)
    else:
        yield Finding(name="launcher", status="ok", detail=f"can be built: {_first_line([str(compiler), '--version'])}")


def _trtexec() -> Iterator[Finding]:
    try:
        yield Finding(name="trtexec", status="ok", detail=str(find_trtexec()))
    except AotError as error:
        yield Finding(name="trtexec", status="warning", detail=error.message, remedy=error.hint or "")


def _nvrtc() -> Iterator[Finding]:
    try:
        from cuda.bindings import nvrtc

        _, major, minor = nvrtc.nvrtcVersion()
        yield Finding(name="nvrtc", status="ok", detail=f"{major}.{minor}")
    except Exception:  # cuda-python has a type of its own for each way of not finding a library
        remedy = f"for plugins in CUDA C++: {install_command('nvrtc')}"
        yield Finding(name="nvrtc", status="warning", detail="not installed", remedy=remedy)


def _directories() -> Iterator[Finding]:
    places: list[tuple[str, Callable[[], Path], str]] = [
        ("cache", cache_directory, "set AOTFACTORY_CACHE to a directory that can be written"),
        ("triton cache", _triton_cache, "set TRITON_CACHE_DIR to a directory that can be written"),
        ("working directory", Path.cwd, "change to a directory that can be written, or give --out"),
    ]
    for name, place, remedy in places:
        try:
            path = place()
            existing = next(p for p in (path, *path.parents) if p.exists())
            with tempfile.TemporaryFile(dir=existing):
                pass
            free = shutil.disk_usage(existing).free
        except (OSError, RuntimeError) as error:
            yield Finding(name=name, status="failure", detail=f"cannot be written: {error}", remedy=remedy)
            continue
        detail = f"{path}, {free / 2**30:.1f} GiB free"
        low = free < LOW_DISK
        yield Finding(
            name=name, status="warning" if low else "ok", detail=detail, remedy="free some space" if low else ""
        )


def _triton_cache() -> Path:
    return Path(os.environ.get("TRITON_CACHE_DIR") or Path.home() / ".triton" / "cache")


def _has_header(compiler: str, header: str) -> bool:
    command = [compiler, "-x", "c++", "-E", "-o", os.devnull, "-"]
    source = f"#if !__has_include(<{header}>)\n#error missing\n#endif\n"
    return run_program(command, timeout=60, text=source).code == 0


def _first_line(command: list[str], index: int = 0) -> str:
    lines = run_program(command, timeout=60).stdout.strip().splitlines()
    return lines[index] if lines else "it says nothing of itself"


def _version(package: str) -> str:
    try:
        return version(package) if importlib.util.find_spec(package) else ""
    except PackageNotFoundError:
        return "(not installed as a package)"


def _without_home(finding: Finding) -> Finding:
    home = os.path.expanduser("~")
    if home in ("", "/"):
        return finding
    return Finding(
        name=finding.name,
        status=finding.status,
        detail=finding.detail.replace(home, "~"),
        remedy=finding.remedy.replace(home, "~"),
    )
