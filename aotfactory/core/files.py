# SPDX-License-Identifier: Apache-2.0
"""Files: written whole or not at all, and read only where they are regular and no larger than they may be."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

ENGINE_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
"""Names that an engine may have: they become those of files."""


def read_file(path: Path, *, limit: int) -> bytes:
    """The content of a regular file.

    Args:
        limit: Bytes that it may have.

    Raises:
        OSError: It cannot be read; `strerror` says why, for all of these reasons.
    """
    with open_regular(path, limit=limit) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1)
    if len(content) != size:
        raise OSError(errno.EBUSY, "changed while it was read", str(path))
    return content


def file_sha256(path: Path, *, limit: int) -> tuple[str, int]:
    """The SHA-256 of a regular file, and its bytes; it need not fit into memory.

    Raises:
        OSError: As `read_file`.
    """
    digest, size = hashlib.sha256(), 0
    with open_regular(path, limit=limit) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
            if size > limit:
                raise _too_large(path, limit)
    return digest.hexdigest(), size


@contextmanager
def open_regular(path: Path, *, limit: int) -> Iterator[BinaryIO]:
    """Open a file that is regular and has at most `limit` bytes; the same rule as the C++ programs have.

    A pipe would block, a device may have no end, and a sparse file of a gigabyte takes no more than a name to make: so
    kind and size are looked at, on the open file, before anything is read. Symbolic links are followed to such a file.

    Raises:
        OSError: It is not one, or cannot be opened.
    """
    try:
        # O_NONBLOCK: opening a pipe must not wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        if status.st_size > limit:
            raise _too_large(path, limit)
        with open(handle, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(handle)


def require_own(path: Path, root: Path) -> None:
    """Before a cached program is run: nobody else can have put it there, or can change it.

    Args:
        root: The cache's directory, above `path`; what is above that is the user's affair.

    Raises:
        PermissionError: The file or a directory on the way to it belongs to another user, or others may write to it.
    """
    for item in (path, *path.parents):
        status = item.lstat()
        if status.st_uid not in (0, os.geteuid()) or (status.st_mode & 0o022 and not stat.S_ISLNK(status.st_mode)):
            raise PermissionError(errno.EPERM, "is not this user's alone: others may write to it", str(item))
        if item == root:
            return


def _too_large(path: Path, limit: int) -> OSError:
    return OSError(errno.EFBIG, f"is larger than {limit} bytes", str(path))


def replace_file(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it, so that its name never stands for half of it.

    The directory is made if needed. Any number of processes may do this at once: the last one to finish wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
