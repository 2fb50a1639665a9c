# SPDX-License-Identifier: Apache-2.0
"""Files: written whole or not at all, and read only where they are regular and no larger than they may be."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path


def read_file(path: Path, *, limit: int) -> bytes:
    """The content of a regular file, or of one that a link leads to: the same rule as the C++ programs have.

    A pipe would block, a device may have no end, and a sparse file of a gigabyte takes no more than a name to make: so
    kind and size are looked at, on the open file, before anything is read.

    Args:
        limit: Bytes that it may have.

    Raises:
        OSError: It cannot be read; `strerror` says why, for all of these reasons.
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
            raise OSError(errno.EFBIG, f"is larger than {limit} bytes", str(path))
        with open(handle, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(handle)
    if len(content) > limit:  # it grew meanwhile
        raise OSError(errno.EFBIG, f"is larger than {limit} bytes", str(path))
    return content


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
