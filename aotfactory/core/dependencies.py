# SPDX-License-Identifier: Apache-2.0
"""The dependencies of definitions beside themselves: the modules they import, the files and variables that they read.

A result may be used again where all of these are as they were. Python tells which files are opened (an audit hook) and
which variables are read; both are recorded only where a definition asks, itself or through a library: what Triton and
aotfactory read for themselves is covered by their versions and keys.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from aotfactory.core.files import file_sha256
from aotfactory.core.fingerprint import PACKAGE, PINNED, PLACES
from aotfactory.core.limits import LIMITS

IGNORED = {
    *(package for packages in PINNED.values() for package in packages),
    *(
        "typer",
        "click",
        "rich",
        "pygments",
        "shellingham",
        "markdown_it",
        "mdurl",
        "annotated_doc",
        "typing_extensions",
    ),
    *(
        "typing_extensions",
        "fastjsonschema",
        "pydantic",
        "pydantic_core",
        "annotated_types",
        "typing_inspection",
        "fsspec",
        "s3fs",
        "polygraphy",
        "ray",
    ),
}
"""Packages whose version is in every key, or that have nothing to do with a kernel."""

INCIDENTAL = {*PLACES, "HOME", "PATH", "TMPDIR", "TEMP", "TMP", "COLUMNS", "LINES", "TERM", "PYTHONPATH"}
INCIDENTAL |= {"AOTFACTORY_CACHE", "XDG_CACHE_HOME", "AOTFACTORY_CACHE_SIZE", "AOTFACTORY_REMOTE_CACHE"}
"""Variables that say where something is: what is found there is looked at instead."""

_STDLIB = os.path.dirname(os.__file__) + os.sep
_OURS = f"{PACKAGE}{os.sep}"
_NOWHERE = ("/proc/", "/sys/", "/dev/")


@dataclass
class Dependencies:
    """Files and variables, each with the SHA-256 of its content; None: there is none."""

    files: dict[str, str | None] = field(default_factory=dict)
    variables: dict[str, str | None] = field(default_factory=dict)

    def to_json(self) -> Any:
        return {"files": sorted(self.files.items()), "variables": sorted(self.variables.items())}

    @classmethod
    def from_json(cls, data: Any) -> Dependencies:
        read = cls(files=dict(data["files"]), variables=dict(data["variables"]))
        if not all(isinstance(name, str) for name in (*read.files, *read.variables)):
            raise ValueError("the name of a file or variable is not text")
        return read

    def unchanged(self) -> bool:
        """Whether all of it is as it was recorded."""
        return self.changed() is None

    def changed(self) -> str | None:
        """The first file or variable that is not as it was recorded."""
        files = (path for path, digest in self.files.items() if _file(_absolute(path)) != digest)
        variables = (name for name, digest in self.variables.items() if _variable(name) != digest)
        return next(itertools.chain(map(_absolute, files), variables), None)

    @property
    def contents(self) -> list[list[str | None]]:
        """The same without where files lie, for keys that hold on other machines too."""
        files = [[os.path.basename(path), digest] for path, digest in self.files.items()]
        return sorted([*files, *([name, digest] for name, digest in self.variables.items())], key=str)


_opened: set[str] = set()
_asked: set[str] = set()
_depth = 0
_hooked = False


@contextmanager
def recording() -> Iterator[None]:
    """Record what is opened and asked for meanwhile, by whatever runs in this process."""
    global _depth, _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        os.environ.__class__ = _Environment
        _hooked = True
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


def observed() -> Dependencies:
    """Everything recorded in this process so far, and every module that is loaded."""
    files, variables = recorded()
    return digests(filter(_counts, files), variables)


def digests(paths: Iterable[str], variables: Iterable[str] = ()) -> Dependencies:
    """These files and variables as they are now."""
    return Dependencies(
        files={_portable(path): _file(path) for path in paths},
        variables={name: _variable(name) for name in variables if name not in INCIDENTAL},
    )


def recorded() -> tuple[set[str], set[str]]:
    """Files and variables recorded so far, modules included that count: for another process to `add`."""
    modules = [module for name, module in list(sys.modules.items()) if name != "__main__"]
    files = (getattr(module, "__file__", None) for module in modules)
    return _opened | {path for path in files if isinstance(path, str) and _counts(path)}, set(_asked)


def add(files: set[str], variables: set[str]) -> None:
    """Take over what another process recorded."""
    _opened.update(files)
    _asked.update(variables)


class _Environment(os._Environ):  # type: ignore[type-arg]
    """`os.environ`, whose every reading comes through here: os.getenv, get, in, copying."""

    def __getitem__(self, name: str) -> str:
        if _depth and isinstance(name, str) and _for_definition():
            _asked.add(name)
        value: str = super().__getitem__(name)
        return value


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _depth or event != "open":
        return
    path, mode, flags = arguments
    reading = (flags & os.O_ACCMODE) == os.O_RDONLY if mode is None else not set(mode) & set("wax+")
    if reading and isinstance(path, str | bytes | os.PathLike) and _for_definition():
        _opened.add(os.path.abspath(os.fsdecode(path)))


def _for_definition() -> bool:
    """Whether a definition, or a model, is what is being read for: the innermost caller that can be told decides."""
    frame: FrameType | None = sys._getframe(2)
    while frame:
        kind = _kind(frame.f_code.co_filename)
        if kind is not None:
            return kind
        frame = frame.f_back
    return False


@functools.cache
def _kind(path: str) -> bool | None:
    """True: a definition; False: works for itself; None: a library, which works for its caller."""
    if path.startswith(_OURS):
        return _counts(path) or path.endswith("onnx_model.py")
    if "/site-packages/triton/" in path:
        return False
    return None if path.startswith("<") or not _counts(path) else True


@functools.cache
def _counts(path: str) -> bool:
    """Whether a file's content is looked at: not Python's own, and not what `fingerprint` covers."""
    path = os.path.abspath(path)
    if path.endswith((".pyc", ".pth")) or path.startswith(_NOWHERE) or ".dist-info/" in path:
        return False
    if path.startswith(_OURS):
        return path.startswith(f"{_OURS}kernels{os.sep}")
    for home in ("site-packages", "dist-packages"):
        if (found := path.rpartition(f"/{home}/"))[1]:
            return found[2].partition("/")[0].partition(".")[0] not in IGNORED
    return not path.startswith(_STDLIB)


def _roots() -> tuple[tuple[str, str], ...]:
    return (("<package>", str(PACKAGE)), ("<checkout>", str(PACKAGE.parent)), ("<here>", os.getcwd()))


def _portable(path: str) -> str:
    """A path that also holds in another checkout."""
    path = os.path.abspath(path)
    for token, root in _roots():
        if path.startswith(root + os.sep):
            return token + path[len(root) :]
    return path


def _absolute(path: str) -> str:
    for token, root in _roots():
        if path.startswith(token + os.sep):
            return root + path[len(token) :]
    return path


SETTLED = 2 * 10**9
"""Nanoseconds after which a change shows in a file's times: before, two may fall into one tick of the file system."""

_known: dict[str, tuple[tuple[int, ...], str]] = {}


def _file(path: str) -> str | None:
    """SHA-256 of a file's content; read again only if it was touched since."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        if path in _known and _known[path][0] == stamp:
            return _known[path][1]
        digest = file_sha256(Path(path), limit=LIMITS["plan_bytes"])[0]
    except (OSError, ValueError):
        return None
    if time.time_ns() - status.st_ctime_ns > SETTLED:
        _known[path] = stamp, digest
    return digest


def _variable(name: str) -> str | None:
    """Hashed, as it may be a secret."""
    value = os.environ.get(name)
    return None if value is None else hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()
