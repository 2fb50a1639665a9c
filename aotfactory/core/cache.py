# SPDX-License-Identifier: Apache-2.0
"""The cache: results by the hash of everything that they depend on, in a directory that many processes share.

An entry is one file, named by its kind and key, written under a temporary name and renamed. Its first line is the
SHA-256 of what follows, and is compared at every read: whatever happened to the file, a wrong entry counts as missing
and is removed. So nothing is locked and nothing needs to reach the disk at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from aotfactory.core.errors import AotError, SettingError
from aotfactory.core.files import read_file, require_own

DEFAULT_LIMIT = 10 * 2**30
"""Bytes that the entries may take; AOTFACTORY_CACHE_SIZE overrides it."""

KEPT = 0.8
"""Share of the limit that is left when entries are dropped, so that it does not happen at every build."""

ABANDONED = 3600
"""Seconds after which a temporary file belongs to a process that was killed."""

LARGEST = 64 * 2**20
"""Bytes of an entry, packed and unpacked; a larger one is not kept."""

TRIES = 3
"""How often an entry is written while other processes clean the cache."""

_NAME = re.compile(r"[0-9a-f]{64}", re.ASCII)

Value = TypeVar("Value")


def cache_directory() -> Path:
    """aotfactory's cache: ``$AOTFACTORY_CACHE``, else ``$XDG_CACHE_HOME/aotfactory``, else ``~/.cache/aotfactory``."""
    if named := os.environ.get("AOTFACTORY_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "aotfactory"


def key_of(*parts: Any) -> str:
    """The key of what depends on these values and nothing else; they are JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry on disk: its file, bytes, and when it was last used."""

    kind: str
    path: Path
    size: int
    used: float


class Cache:
    """A local cache, in front of a shared one if there is one.

    Args:
        root: Its directory, made with the first entry, for its owner alone.
        limit: Bytes that `trim` leaves at most.
        shared: The same entries for several machines.
        warn: Told once if entries cannot be written.
    """

    def __init__(
        self,
        root: Path,
        *,
        limit: int = DEFAULT_LIMIT,
        shared: Any = None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.root, self.limit, self.shared, self.warn = root, limit, shared, warn
        self._written = 0
        self._warned = False

    def get(self, kind: str, key: str) -> bytes | None:
        """The entry, or None; a damaged one is removed."""
        path = self._path(kind, key)
        data = self._read(path)
        if data is None and self.shared is not None and (packed := self.shared.get(f"{kind}/{key}")) is not None:
            data = unpack(packed)
            if data is not None:
                self._write(path, packed)
        return data

    def put(self, kind: str, key: str, data: bytes) -> None:
        """Add an entry. Where the cache cannot be written, nothing is kept, which is not an error."""
        packed = pack(data)
        if max(len(data), len(packed)) > LARGEST:
            return
        self._write(self._path(kind, key), packed)
        if self.shared is not None:
            self.shared.put(f"{kind}/{key}", packed)

    def get_as(self, kind: str, key: str, read: Callable[[Any], Value]) -> Value | None:
        """The value that `read` makes of an entry's JSON; None where there is no entry, or one that it cannot use.

        A whole entry may still be none of ours: of a shared cache, or of a disk that somebody else wrote to.
        """
        data = self.get(kind, key)
        if data is None:
            return None
        try:
            value = json.loads(data)
            if b"\\u" in data:  # half of a surrogate pair could not be written anywhere
                json.dumps(value, ensure_ascii=False).encode()
            return read(value)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, AotError):
            return None

    def put_json(self, kind: str, key: str, value: Any) -> None:
        self.put(kind, key, json.dumps(value, separators=(",", ":")).encode())

    def entries(self) -> Iterator[Entry]:
        """All entries, in no order."""
        for path, status in self._files():
            if _NAME.fullmatch(path.name):
                used = min(status.st_mtime, time.time())  # one from the future would never be the oldest
                yield Entry(kind=path.parent.parent.name, path=path, size=status.st_size, used=used)

    def trim(self, *, always: bool = False) -> int:
        """Drop the least recently used entries if there are more than the limit allows; returns how many.

        Args:
            always: Even if this process has written nothing.
        """
        if not (self._written or always):
            return 0
        self._written = 0
        for path, status in self._files():
            if path.name.endswith(".tmp") and abs(time.time() - status.st_mtime) > ABANDONED:
                path.unlink(missing_ok=True)
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        total, dropped = sum(entry.size for entry in entries), 0
        if total <= self.limit:
            return 0
        for entry in entries:
            if total <= self.limit * KEPT:
                break
            entry.path.unlink(missing_ok=True)
            total -= entry.size
            dropped += 1
        return dropped

    def clean(self) -> int:
        """Drop all entries; returns how many."""
        count = 0
        for path, _ in self._files():
            path.unlink(missing_ok=True)
            count += bool(_NAME.fullmatch(path.name))
        return count

    def verify(self) -> tuple[int, list[Path]]:
        """Read every entry; how many are whole, and the damaged ones, which are removed."""
        whole, damaged = 0, []
        for entry in self.entries():
            try:
                require_own(entry.path, self.root)
                data = unpack(read_file(entry.path, limit=LARGEST))  # which is no use of it: the oldest stays so
            except OSError:  # another process dropped it, or it is not ours to judge
                continue
            if data is not None:
                whole += 1
            else:
                entry.path.unlink(missing_ok=True)
                damaged.append(entry.path)
        return whole, damaged

    def _path(self, kind: str, key: str) -> Path:
        return self.root / "entries" / kind / key[:2] / key

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for folder, _, names in os.walk(self.root / "entries"):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(OSError):  # another process dropped it
                    yield path, path.lstat()

    def _read(self, path: Path) -> bytes | None:
        try:
            require_own(path, self.root)
            data = unpack(read_file(path, limit=LARGEST))
            if data is None:
                path.unlink(missing_ok=True)
            else:
                with contextlib.suppress(OSError):  # a cache that can only be read is of use all the same
                    os.utime(path)  # when it was last used
        except PermissionError as error:
            self._warn(f"what is in the cache is not used: {error}")
            return None
        except OSError:
            return None
        return data

    def _write(self, path: Path, packed: bytes) -> None:
        for left in reversed(range(TRIES)):
            try:
                _private(self.root, path.parent)
                _replace(path, packed)
            except OSError as error:
                if isinstance(error, FileNotFoundError) and left:  # the cache was cleaned or removed meanwhile
                    continue
                self._warn(f"not everything is kept in the cache: {error}")
            else:
                self._written += len(packed)
            return

    def _warn(self, warning: str) -> None:
        if not self._warned:
            self._warned = True
            self.warn(warning)


def _replace(path: Path, packed: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:8]}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(packed)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def pack(data: bytes) -> bytes:
    """An entry's file: the SHA-256 of the rest, a line feed, and the compressed content."""
    body = zlib.compress(data, 1)
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unpack(packed: bytes) -> bytes | None:
    """The content of an entry's file, or None where it is damaged."""
    digest, _, body = packed.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(body, LARGEST)
    except zlib.error:
        return None
    return data if unpacker.eof else None


def _private(root: Path, folder: Path) -> None:
    """Make the cache's directory and one in it, for their owner alone: who can write to them decides what is built."""
    with contextlib.suppress(FileExistsError):
        root.mkdir(mode=0o700, parents=True)
    for path in (*reversed(folder.relative_to(root).parents[:-1]), folder.relative_to(root)):
        with contextlib.suppress(FileExistsError):
            (root / path).mkdir(mode=0o700)
    require_own(folder, root)


def open_cache(warn: Callable[[str], None] = lambda text: None) -> Cache | None:
    """The cache that the environment asks for.

    ``AOTFACTORY_CACHE`` names the directory, ``AOTFACTORY_CACHE_SIZE`` its limit (``500M``, ``10G``),
    ``AOTFACTORY_REMOTE_CACHE`` the URL of a shared one, and ``AOTFACTORY_NO_CACHE=1`` is to have none.

    Raises:
        UsageError: A variable makes no sense.
        MissingError: There is a URL, but not the package to reach it with.
    """
    if os.environ.get("AOTFACTORY_NO_CACHE", "") not in ("", "0"):
        return None
    shared = None
    if url := os.environ.get("AOTFACTORY_REMOTE_CACHE"):
        from aotfactory.core.remote_cache import RemoteCache

        shared = RemoteCache(url, warn=warn)
    return Cache(cache_directory(), limit=_limit(os.environ.get("AOTFACTORY_CACHE_SIZE")), shared=shared, warn=warn)


def _limit(text: str | None) -> int:
    if not text:
        return DEFAULT_LIMIT
    found = re.fullmatch(r"(\d{1,12})([KMGT]?)", text, re.ASCII)
    if not found:
        raise SettingError(f"AOTFACTORY_CACHE_SIZE is {text!r}", hint="write bytes, or 500M, or 10G")
    return int(found[1]) << 10 * " KMGT".index(found[2] or " ")
