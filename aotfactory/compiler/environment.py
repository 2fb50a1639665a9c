# SPDX-License-Identifier: Apache-2.0
"""Effects of the environment on Triton, found before a definition is blamed for it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from aotfactory.core.cache import Cache
from aotfactory.core.errors import SettingMissingError, UnusablePlaceError


def require_usable_triton(cache: Cache | None) -> None:
    """Raise unless Triton can compile here; to be called before a kernel is imported.

    Args:
        cache: Where compiled kernels are kept; None: in Triton's own cache.

    Raises:
        MissingError: With what to do about it.
    """
    switch = os.environ.get("TRITON_INTERPRET", "")
    if switch.lower() in ("1", "on", "true", "y", "yes"):
        raise SettingMissingError(
            f"TRITON_INTERPRET={switch} is set: Triton would interpret kernels, not compile them",
            hint="unset TRITON_INTERPRET; the interpreter check sets it for itself",
        )
    if cache is None or "TRITON_CACHE_MANAGER" in os.environ:
        home = os.environ.get("TRITON_HOME") or os.path.expanduser("~")
        folder = Path(os.environ.get("TRITON_CACHE_DIR") or os.path.join(home, ".triton", "cache"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise UnusablePlaceError(
                f"Triton cannot write to its cache {folder}: {error.strerror}",
                hint="set TRITON_CACHE_DIR to a directory that can be written",
            ) from error
