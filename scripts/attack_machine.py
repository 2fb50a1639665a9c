# SPDX-License-Identifier: Apache-2.0
"""What a machine does to whoever works on it, for scripts/attacks.py: disks that are full or can only be read, limits
of memory and of files, clocks that jump, files that change while they are read."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attack_faults import aotfactory
from attacks import Attack

SKIPPED = ("--skip-check", "interpreter", "--because", "a fault is tried")
LARGE = "add.s32 %r1, %r1, 1;\n" * 8000


@contextlib.contextmanager
def disk(place: Path, size: str) -> Iterator[Callable[[], None]]:
    """A disk of this size at `place`, with a function that makes it one that can only be read.

    Raises:
        PermissionError: Only root may mount one.
    """
    place.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True).returncode:
        raise PermissionError("mount is refused")
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path, left: int) -> None:
    """Leave this many bytes of a disk."""
    free = shutil.disk_usage(place).free - left
    (place / "full").write_bytes(bytes(max(free, 0)))


def build(folder: Path, *more: str | Path, code: int, said: str, env: Mapping[str, str] | None = None) -> None:
    """Compile a small module of `folder` there, which must end so."""
    done = aotfactory("compile", "bench::copy", *MODULE, *more, *SKIPPED, cwd=folder, env=env)
    if done.returncode != code or said not in done.stderr:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-300:]}")


MODULE = ("--plugins", "small.py", "--attr", "scale=1", "--arch", "sm_80", "--shape", "1x64")


def module(folder: Path, change: Callable[[str], str] = lambda text: text) -> None:
    from small_definitions import SOURCE

    (folder / "small.py").write_text(change(SOURCE.replace("NS::", "bench::")))


def on_disk(act: Callable[[Path, Path, Callable[[], None]], str], folder: Path) -> str:
    try:
        with disk(folder / "disk", "1m") as freeze:
            return act(folder, folder / "disk", freeze)
    except PermissionError as error:
        return f"not tried: {error}"


def full_output(folder: Path, place: Path, freeze: Callable[[], None]) -> str:
    """The old bundle stays whole, and nothing half-written is left."""
    module(folder)
    build(folder, "--out", "disk/out", code=0, said="")
    before = contents(place / "out")
    module(folder, lambda text: text.replace("done:\n", f"done:\n{LARGE}"))
    fill(place, 16_384)
    build(folder, "--out", "disk/out", code=2, said="No space left on device")
    if contents(place / "out") != before:
        raise RuntimeError("the old bundle is damaged, or something half-written is left")
    return "refused, exit code 2; the old bundle is whole"


def full_cache(folder: Path, place: Path, freeze: Callable[[], None]) -> str:
    """A cache that cannot be written costs no build, and leaves no temporary file."""
    module(folder)
    (place / "cache").mkdir(mode=0o700)
    fill(place, 0)
    cache = {"AOTFACTORY_CACHE": str(place / "cache"), "AOTFACTORY_NO_CACHE": ""}
    build(folder, "--out", "out", code=0, said="not everything is kept in the cache", env=cache)
    if left := [p.name for p in (place / "cache").rglob("*") if p.is_file()]:
        raise RuntimeError(f"left {left}")
    return "built, with a warning"


def read_only(folder: Path, place: Path, freeze: Callable[[], None]) -> str:
    module(folder)
    for name in ("home", "cache", "out"):
        (place / name).mkdir(mode=0o700)
    cache = {"AOTFACTORY_CACHE": str(place / "cache"), "AOTFACTORY_NO_CACHE": "", "HOME": str(place / "home")}
    build(folder, "--out", "before", code=0, said="", env=cache)
    freeze()
    build(folder, "--out", "disk/out", code=2, said="Read-only file system", env=cache)
    build(folder, "--out", "after", code=0, said="", env=cache)
    build(folder, "--out", "after", "--name", "b", code=0, said="", env={**cache, "AOTFACTORY_CACHE": ""})
    if contents(folder / "before" / "copy.aot") != contents(folder / "after" / "copy.aot"):
        raise RuntimeError("another bundle")
    return "refused as --out, exit code 2; as HOME and cache, built"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def file_limit(folder: Path) -> str:
    """A limit on the size of files, for a whole build."""
    module(folder, lambda text: text.replace("done:\n", f"done:\n{LARGE}"))
    limits = [sys.executable, "-c", FILE_LIMIT, "compile", "bench::copy", *MODULE, *SKIPPED, "--out", "out"]
    done = subprocess.run(limits, cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode not in (1, 2, 3) or "Traceback" in done.stderr:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-300:]}")
    if any((folder / "out").rglob("*.ptx")):
        raise RuntimeError("something half-written is left")
    return f"refused, exit code {done.returncode}"


FILE_LIMIT = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
from aotfactory.cli.main import main
main()
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


def worker_memory(folder: Path) -> str:
    """A definition that needs more memory than there is, in one of several processes."""
    limit = "    import resource; resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32)); bytearray(2**33)\n"
    module(folder, lambda text: text.replace("    n = inp0.shape_expr.numel()\n", f"{limit}    n = inp0\n"))
    (folder / "farm.toml").write_text(
        '[[engine]]\ntarget = "bench::copy"\nplugins = ["small.py"]\nattr = { scale = 1 }\narch = "sm_80"\n'
        'shape = ["1x64", "2x64"]\n'
    )
    done = aotfactory("farm", "farm.toml", "--jobs", "2", "--engine", "bundle", "-k", cwd=folder)
    if done.returncode != 3 or done.stderr.count("there is not enough memory") != 2:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-400:]}")
    if list((folder / "engines").glob("*.aot")):
        raise RuntimeError("something half-written is left")
    return "refused, exit code 3, for each engine"


def clock(jump: float, folder: Path) -> str:
    """Entries and locks from before or after a jump of the clock; what is dropped is what was used least recently."""
    from aotfactory.core.cache import Cache, key_of

    cache, keys = Cache(folder / "cache", limit=20_000), [key_of("clock", n) for n in range(8)]
    for number, key in enumerate(keys):
        cache.put("a", key, os.urandom(5000))
        when = time.time() + (jump if number < 4 else 0) + number - 100
        os.utime(cache._path("a", key), (when, when))
    abandoned = cache._path("a", keys[0]).with_name(".x.tmp")
    abandoned.write_bytes(b"x")
    os.utime(abandoned, (time.time() + jump, time.time() + jump))
    if cache.trim() < 4 or abandoned.exists():
        raise RuntimeError("the cache stays too large, or keeps a temporary file")
    if cache.get("a", keys[-1]) is None and jump < 0:
        raise RuntimeError("the newest is gone")
    return "the cache is trimmed as ever"


def clock_of_sources(jump: float, folder: Path) -> str:
    """A definition that is written with the clock set back is another one, whatever its time says."""
    from aotfactory.core import dependencies

    path = folder / "x.py"
    path.write_text("a = 1")
    read = dependencies.digests([str(path)])
    path.write_text("a = 2")
    os.utime(path, (time.time() + jump, time.time() + jump))
    if read.unchanged():
        raise RuntimeError("the change was not seen")
    path.write_text("a = 1")
    os.utime(path, (time.time() + jump, time.time() + jump + 1))
    if not read.unchanged():
        raise RuntimeError("the same content is taken for another")
    return "seen by its content"


def changing(folder: Path) -> str:
    """A manifest that others write, cut and grow while it is read: whole, or refused."""
    from test_bundle import made

    from aotfactory.compiler import bundle as bundles
    from aotfactory.core.errors import AotError

    bundles.write(made(), folder / "copy.aot")
    path = folder / "copy.aot" / bundles.MANIFEST
    text, done, read, refused = path.read_bytes(), threading.Event(), 0, 0

    def write() -> None:
        while not done.is_set():
            for size in (len(text) // 2, len(text) + 5000, len(text)):
                path.write_bytes(text[:size] + b" " * (size - len(text)))

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        for _ in range(300):
            try:
                if bundles.read(folder / "copy.aot") != made():
                    raise RuntimeError("another bundle was read")
                read += 1
            except AotError:
                refused += 1
    finally:
        done.set()
        writer.join()
    return "whole or refused, each time"


def machine() -> Iterator[Attack]:
    for name, act in {
        "a full disk while an engine is replaced": full_output,
        "a full disk under the cache": full_cache,
        "a disk that can only be read: --out, HOME, cache": read_only,
    }.items():
        yield Attack("machine", name, functools.partial(on_disk, act), refused=False, seconds=120)
    yield Attack("machine", "a limit on the size of files (RLIMIT_FSIZE)", file_limit, refused=False, seconds=60)
    yield Attack("machine", "a limit of memory in a worker (RLIMIT_AS)", worker_memory, refused=False, seconds=60)
    yield Attack("machine", "a manifest that changes while it is read", changing, refused=False, seconds=60)
    for words, jump in {"ten years ahead": 3.2e8, "ten years back": -3.2e8, "to 1970": -time.time()}.items():
        for name, run in {"the cache's clock": clock, "the clock of a definition": clock_of_sources}.items():
            yield Attack("machine", f"{name} jumps {words}", functools.partial(run, jump), refused=False)
