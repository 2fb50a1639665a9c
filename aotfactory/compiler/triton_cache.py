# SPDX-License-Identifier: Apache-2.0
"""Triton's own cache kept in aotfactory's, through the door that Triton has for that: a cache manager.

Triton's key covers its compiler, the kernel with all that it calls, signature, constants, options, ptxas and switches.
What is added is that entries are verified, limited in size, and may be shared between machines.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import make_backend
from triton.runtime import cache as runtime_cache
from triton.runtime.cache import CacheManager, FileCacheManager

from aotfactory.compiler import triton_key
from aotfactory.core.cache import Cache, key_of

KIND = "triton"


def prepare(capabilities: Iterable[int], cache: Cache | None) -> None:
    """Do what Triton does once in each process, a hash of all of itself above all: before processes are forked."""
    if cache is not None:
        triton_key.remember(cache)
    getattr(runtime_cache, "triton_key", lambda: None)()  # not all versions have it there, and none needs it called
    for capability in capabilities:
        make_backend(GPUTarget("cuda", capability, 32)).hash()


@contextmanager
def triton_in(cache: Cache | None) -> Iterator[None]:
    """Have `triton.compile` keep its results in `cache`, unless that is None or the user chose a manager."""
    if cache is None or knobs.cache.manager_class is not None:
        yield
        return
    triton_key.remember(cache)
    with tempfile.TemporaryDirectory(prefix="aotfactory-triton-") as folder, knobs.cache.scope():
        knobs.cache.manager_class = _manager(cache, Path(folder))
        yield


def _entry(files: Mapping[str, bytes]) -> dict[str, dict[str, str]]:
    """Files by name, as JSON values. Nearly all are text."""
    entry: dict[str, dict[str, str]] = {"text": {}, "base64": {}}
    for name, content in files.items():
        try:
            entry["text"][name] = content.decode()
        except UnicodeDecodeError:
            entry["base64"][name] = base64.b64encode(content).decode()
    return entry


def _contents(entry: Any) -> dict[str, bytes]:
    """The files of an entry by name; a name that leads elsewhere is left out."""
    files = {name: text.encode() for name, text in entry["text"].items()}
    files |= {name: base64.b64decode(text, validate=True) for name, text in entry["base64"].items()}
    if strange := [name for name in files if not re.fullmatch(r"\w[\w.-]*", name)]:
        raise ValueError(f"{strange[0]!r} is not the name of a file of Triton's")
    return files


def _manager(cache: Cache, folder: Path) -> Any:
    """A class, as Triton makes an object of it for each kernel."""

    class Manager(CacheManager):  # type: ignore[misc]  # Triton has no types
        """Triton reads files, so those of a kernel are laid out in a folder for as long as it works."""

        def __init__(self, key: str, override: bool = False, dump: bool = False) -> None:
            self._key = key_of(KIND, key)
            # Dumps and overrides are for people, who look for them where Triton says.
            self._plain = FileCacheManager(key, override=override, dump=dump) if override or dump else None
            self._folder = folder / key
            self._folder.mkdir(exist_ok=True)

        def get_file(self, filename: str) -> str | None:
            if self._plain:
                found: str | None = self._plain.get_file(filename)
                return found
            path = self._folder / filename
            return str(path) if path.exists() else None

        def put(self, data: Any, filename: str, binary: bool = True) -> str:
            if self._plain:
                return str(self._plain.put(data, filename, binary))
            path = self._folder / filename
            path.write_bytes(data if isinstance(data, bytes) else str(data).encode())
            return str(path)

        def get_group(self, filename: str) -> dict[str, str] | None:
            if self._plain:
                group: dict[str, str] | None = self._plain.get_group(filename)
                return group
            files = cache.get_as(KIND, self._key, _contents)
            return None if files is None else {name: self.put(content, name) for name, content in files.items()}

        def put_group(self, filename: str, group: dict[str, str]) -> str:
            if self._plain:
                return str(self._plain.put_group(filename, group))
            files = {name: Path(path).read_bytes() for name, path in group.items()}
            cache.put_json(KIND, self._key, _entry(files))
            return os.fspath(self._folder)

    return Manager
