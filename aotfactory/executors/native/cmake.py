# SPDX-License-Identifier: Apache-2.0
"""Our C++ programs: from the wheel, or built on first use and kept in a cache, keyed by sources and compiler."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aotfactory.core.cache import cache_directory
from aotfactory.core.errors import NoToolchainError, SettingMissingError, UnusablePlaceError
from aotfactory.core.files import require_own
from aotfactory.executors.native.process import run_command

SOURCES = Path(__file__).resolve().parents[2] / "runtime"
LIMITS = SOURCES.parent / "core" / "limits.json"
"""Compiled into the programs."""

SHIPPED = SOURCES / "bin"
"""Programs that came built with the wheel."""

PACKAGES = "Debian and Ubuntu: apt-get install g++ cmake make nlohmann-json3-dev libcli11-dev"


def ready_program(name: str) -> Path | None:
    """The ``aotfactory-NAME`` that needs no building: $AOTFACTORY_NAME, else the wheel's; None where there is neither.

    Raises:
        MissingError: $AOTFACTORY_NAME names no program.
    """
    variable = f"AOTFACTORY_{name.upper()}"
    if named := os.environ.get(variable):
        if not _is_executable(Path(named)):
            raise SettingMissingError(f"{variable}={named} is not an executable")
        return Path(named)
    shipped = SHIPPED / f"aotfactory-{name}"
    return shipped if _is_executable(shipped) else None


def _is_executable(path: Path) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


class ProgramBuild:
    """A build of ``aotfactory-NAME`` with CMake, whose result is kept in the cache.

    Args:
        directory: Of its CMakeLists.txt, in the sources.
        cache: Where builds are kept, by default `cache_directory()`.
        settings: Arguments for CMake's configuration.
        key: What else the build depends on.
        hint: What to install where something is missing.
        product: What is installed, relative to the prefix; by default the program.

    Raises:
        MissingError: No CMake or compiler.
    """

    def __init__(
        self,
        name: str,
        directory: str = "",
        *,
        cache: Path | None = None,
        settings: Sequence[str] = (),
        key: str = "",
        hint: str = PACKAGES,
        product: str = "",
    ) -> None:
        self.name, self.directory, self.settings = name, directory, settings
        self.hint = f"{hint} (or set AOTFACTORY_{name.upper()} to a built aotfactory-{name})"
        self.cmake, self.compiler = self._tool("cmake"), self._tool(os.environ.get("CXX") or "c++", "g++", "clang++")
        self.generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        if not self.generator:
            self._tool("make")
        self.cache = cache or cache_directory()
        self.home = self.cache / name
        self.target = self.home / cache_key(self.compiler, *settings, key)
        self.product = Path(product or f"bin/aotfactory-{name}")
        self.program = self.target / self.product

    @property
    def done(self) -> bool:
        return self.program.is_file()

    def run(self) -> Path:
        """The program's path, after building it if the cache has none for these sources and this compiler.

        Raises:
            MissingError: Headers are missing, or it does not compile, with CMake's own words; or the cache cannot be
                written, or is not this user's alone.
        """
        try:
            if not self.done:
                self._build()
            require_own(self.program, self.cache)
        except OSError as error:
            raise UnusablePlaceError(
                f"the {self.name} cannot be kept in the cache: {error.filename or self.home}: {error.strerror}",
                hint="set AOTFACTORY_CACHE to a directory of your own (chmod 700)",
            ) from error
        return self.program

    def _build(self) -> None:
        self.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home.mkdir(mode=0o700, exist_ok=True)
        with self._alone():
            if not self.done:
                self._build_alone()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process builds, and the others wait for it, instead of all of them for as long as all builds take."""
        handle = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another process, which builds aotfactory-{self.name}", file=sys.stderr, flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError:  # some network file systems have no locks for directories: then each builds its own
                pass
            yield
        finally:
            os.close(handle)

    def _build_alone(self) -> None:
        print(f"building aotfactory-{self.name}: once only, about a minute", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=self.home) as scratch:
            build, install = f"{scratch}/build", f"{scratch}/install"
            where = [f"-DCMAKE_CXX_COMPILER={self.compiler}", f"-DCMAKE_INSTALL_PREFIX={install}"]
            if not self.directory:
                # Somebody waits for it. The sources of a library in one piece: the headers are read once for it. And
                # nothing in it is worth what -O3 takes. So it takes 27 s of a processor, not 44.
                where += ["-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=0"]
                where.append("-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG")
            source = ["-S", str(SOURCES / self.directory), "-B", build]
            self._step("configured", *source, *self.generator, *where, *self.settings)
            jobs = str(os.cpu_count() or 1)
            self._step("built", "--build", build, "--parallel", jobs, "--target", f"aotfactory-{self.name}")
            self._step("installed", "--install", build, "--strip")
            for path in (Path(install), Path(install, self.product.parent), Path(install, self.product)):
                path.chmod(0o700)  # whatever the umask is
            try:
                os.replace(install, self.target)
            except OSError:
                if not self.done:  # otherwise another process, which could not be waited for, built it meanwhile
                    raise

    def _tool(self, *names: str) -> str:
        if found := next(filter(None, map(shutil.which, names)), None):
            return found
        raise NoToolchainError(f"{names[0]} is needed to build the {self.name} and is not on the PATH", hint=self.hint)

    def _step(self, done: str, *arguments: str) -> None:
        code, stdout, stderr = run_command([self.cmake, *arguments], timeout=900, on_line=_show_progress, family=True)
        if code != 0:
            # Configuring tells what is wrong on stderr alone; of a build, either may.
            said = (stderr if done == "configured" else "") or stdout + stderr
            tail = "\n".join(said.strip().splitlines()[-30:])
            raise NoToolchainError(f"the {self.name} could not be {done}:\n{tail}", hint=self.hint)


def _show_progress(line: str) -> None:
    """Show how far Ninja ([3/29]) or make ([ 10%]) is, in one line of a terminal."""
    if (found := re.match(r"\[ *(\d+/\d+|\d+%)\]", line)) and sys.stderr.isatty():
        finished = found[1] == "100%" or len(set(found[1].split("/"))) == 1
        print(f"\r{found[1]:>9}", end="\n" if finished else "", file=sys.stderr, flush=True)


def cache_key(compiler: str, *others: str) -> str:
    """A key that tells one build from another: the compiler and its version, the sources, and `others`."""
    digest = hashlib.sha256()
    _, version, _ = run_command([compiler, "--version"], timeout=60, echo=False)
    for text in (compiler, version, *others):
        digest.update(text.encode() + b"\0")
    sources = [path for path in sorted(SOURCES.rglob("*")) if path.suffix in {".cpp", ".h", ".txt", ".cmake"}]
    for name, path in [(p.relative_to(SOURCES).as_posix(), p) for p in sources] + [(LIMITS.name, LIMITS)]:
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]
