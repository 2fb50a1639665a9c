# SPDX-License-Identifier: Apache-2.0
"""Faults of the machine that may come up wherever files are written: told as what they are, not as our mistakes."""

from __future__ import annotations

import errno

from aotfactory.core.errors import AotError, NoMemoryError, UnusablePlaceError

_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LIMITS = (errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EAGAIN)


def fault(error: BaseException) -> AotError | None:
    """The error to show for full or read-only disks, limits and a lack of memory; None for anything else."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return NoMemoryError("there is not enough memory", hint="smaller shapes, or fewer --jobs, take less")
    if not isinstance(error, OSError):
        return None
    if "No usable temporary directory" in str(error):
        return UnusablePlaceError("no directory for temporary files can be written", hint="set TMPDIR to one that can")
    if error.errno not in (*_SPACE, *_LIMITS):
        return None
    place = f"{error.filename}: " if error.filename else "a file cannot be written or opened: "
    hint = "free some space, or set TMPDIR to a place that has some" if error.errno in _SPACE else None
    return UnusablePlaceError(f"{place}{error.strerror}", hint=hint)
