# SPDX-License-Identifier: Apache-2.0
"""Triton's hash of all of itself, part of its every key: half a second in each process, for files that never change.

So it is kept, by when these files were last changed. On this machine only: elsewhere the same times may be of others.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import triton
from triton.runtime import cache as runtime_cache

from aotfactory.core.cache import Cache, key_of

KIND = "triton-key"


def remember(cache: Cache) -> None:
    """Have Triton take its hash from `cache`, and keep it there if it is new."""
    compute = getattr(runtime_cache, "triton_key", None)  # not all versions have it there
    if compute is None or hasattr(compute, "kept"):
        return

    @functools.cache
    def kept() -> str:
        local, key = Cache(cache.root, warn=cache.warn), key_of(KIND, triton.__version__, _files())
        known: str | None = local.get_as(KIND, key, _text)
        if known is None:
            known = str(compute())
            local.put_json(KIND, key, known)
        return known

    kept.kept = True  # type: ignore[attr-defined]
    runtime_cache.triton_key = kept


def _text(data: Any) -> str:
    if not isinstance(data, str):
        raise TypeError
    return data


def _files() -> list[list[Any]]:
    """Where each file lies, its size, and when it was last changed, which nobody can set."""
    found: list[list[Any]] = []
    for folder, _, names in os.walk(Path(triton.__file__).parent):
        for name in names:
            if name.endswith((".py", ".so")):
                status = os.stat(os.path.join(folder, name))
                found.append([folder, name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino])
    return sorted(found)
