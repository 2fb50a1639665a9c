# SPDX-License-Identifier: Apache-2.0
"""A cache that several machines share: a directory behind any URL that fsspec knows (``s3://bucket/prefix``)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from aotfactory.core.cache import LARGEST
from aotfactory.core.errors import NoPackageError, SettingError, UnusablePlaceError
from aotfactory.core.extras import install_command

COMMAND = install_command("remote")


class RemoteCache:
    """Entries behind a URL, packed as in the local cache, which verifies what it gets from here.

    A store that does not answer costs speed, and is not an error: after the first failure it is left alone.

    Args:
        url: As fsspec takes it. A ``?readonly`` at its end is for machines that only use what others made.
        warn: Told of the first failure.

    Raises:
        MissingError: fsspec, or the package behind the URL's protocol, is not installed.
        UsageError: fsspec does not know the protocol.
    """

    def __init__(self, url: str, *, warn: Callable[[str], None] = lambda text: None) -> None:
        address, _, query = url.partition("?")
        if query not in ("", "readonly") or "://" not in address:
            raise SettingError(
                f"AOTFACTORY_REMOTE_CACHE is {url!r}", hint="write a URL: s3://bucket/prefix, or s3://bucket?readonly"
            )
        self.readonly = query == "readonly"
        self._address, self._warn, self._down, self._process = address.rstrip("/"), warn, False, -1
        self._connect()

    def _connect(self) -> None:
        """Open the file system, once in each process: a connection does not survive a fork."""
        if self._process == os.getpid():
            return
        try:
            import fsspec
        except ImportError as error:
            raise NoPackageError("a shared cache takes fsspec, which is not installed", hint=COMMAND) from error
        try:
            options = {"auto_mkdir": True} if self._address.startswith("file:") else {}
            self._files, self._root = fsspec.url_to_fs(self._address, **options)
        except ImportError as error:
            raise UnusablePlaceError(f"{self._address} cannot be reached: {error}", hint=COMMAND) from error
        except ValueError as error:
            raise SettingError(f"AOTFACTORY_REMOTE_CACHE is {self._address!r}: {error}") from error
        self._process = os.getpid()

    def get(self, name: str) -> bytes | None:
        def read() -> Any:
            try:
                return self._files.cat_file(self._path(name), start=0, end=LARGEST + 1)
            except FileNotFoundError:
                return None

        content: bytes | None = self._try(read)
        return content

    def put(self, name: str, packed: bytes) -> None:
        if not self.readonly:
            self._try(lambda: self._files.pipe_file(self._path(name), packed))

    def _path(self, name: str) -> str:
        kind, _, key = name.partition("/")
        return f"{self._root}/{kind}/{key[:2]}/{key}"

    def _try(self, action: Callable[[], Any]) -> Any:
        if self._down:
            return None
        try:
            self._connect()
            return action()
        except Exception as error:  # each protocol has errors of its own
            self._down = True
            self._warn(f"the shared cache is left out: {type(error).__name__}: {error}")
            return None
