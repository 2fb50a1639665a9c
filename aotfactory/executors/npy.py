# SPDX-License-Identifier: Apache-2.0
"""Reads .npy files by the rules of the C++ programs (runtime/common/npy.cpp), so that every executor refuses the same.

NumPy's own reader evaluates the header as Python, takes object arrays and zip files for such, and allocates what the
header asks for. Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aotfactory.core import dtypes
from aotfactory.core.errors import InputError, UsageError
from aotfactory.core.files import open_regular
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Shape
from aotfactory.executors.inputs import Array

MAGIC = b"\x93NUMPY"
DESCRS = {
    "fp32": ("<f4",),
    "fp16": ("<f2",),
    # NumPy has neither: ml_dtypes saves them as void of their size, others as raw unsigned integers.
    "bf16": ("<V2", "|V2", "<u2"),
    "fp8": ("<V1", "|V1", "|u1"),
    "int8": ("|i1",),
    "uint8": ("|u1",),
    "int32": ("<i4",),
    "int64": ("<i8",),
    "bool": ("|b1",),
}
"""NumPy's names for our data types, little-endian."""

_ITEM = r"'(?:descr'\s*:\s*'[^']*'|fortran_order'\s*:\s*(?:True|False)|shape'\s*:\s*\([0-9, ]*\))"
_HEADER = re.compile(rf"\s*\{{\s*{_ITEM}\s*,\s*{_ITEM}\s*,\s*{_ITEM}\s*,?\s*\}}[ \n]*", re.ASCII)
_SHAPE = re.compile(r" *(?:\d+ *(?:, *\d+ *)*,? *)?", re.ASCII)


def load_npy(path: Path, dtype: str) -> Array:
    """The array of a file.

    Args:
        dtype: What its elements must be.

    Raises:
        UsageError: It is not a .npy file of this type, is cut off, or larger than a tensor may be.
    """
    element = dtypes.find(dtype).array
    try:
        with open_regular(path, limit=LIMITS["tensor_bytes"] + LIMITS["npy_header_bytes"] + 12) as file:
            descr, fortran, shape = _header(file, path)
            if descr not in DESCRS[dtype]:
                raise _refused(path, f"of NumPy type {descr!r:.40}, the input is {dtype} ({DESCRS[dtype][0]!r})")
            if fortran and len(shape) > 1:
                raise _refused(path, "in Fortran order; save numpy.ascontiguousarray(array)")
            size = element.itemsize
            for extent in shape:
                size *= extent
            start = file.tell()
            if file.seek(0, 2) - start != size:
                raise _refused(path, "the file's size does not fit its header: cut off or damaged")
            file.seek(start)
            data = file.read(size)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) != size:
        raise _refused(path, "it became shorter while it was read")
    return np.frombuffer(bytearray(data), element).reshape(shape)


def _header(file: BinaryIO, path: Path) -> tuple[str, bool, Shape]:
    start = file.read(12)
    if len(start) < 12 or start[:6] != MAGIC or not 1 <= start[6] <= 3:
        raise _refused(path, "not a .npy file")
    prefix = 10 if start[6] == 1 else 12
    length = int.from_bytes(start[8:prefix], "little")
    file.seek(prefix)
    text = file.read(length) if length <= LIMITS["npy_header_bytes"] else b""
    if len(text) < length:
        raise _refused(path, f"a header of {length} bytes, or cut off")
    header = text.decode("latin-1")
    items = dict(re.findall(r"'(descr|fortran_order|shape)'\s*:\s*('[^']*'|True|False|\([0-9, ]*\))", header))
    if not _HEADER.fullmatch(header) or len(items) != 3:
        raise _refused(path, "not the header of a plain NumPy array")
    inside = items["shape"][1:-1]
    extents = [int(n[:11]) for n in re.findall(r"\d+", inside)]
    if not _SHAPE.fullmatch(inside) or len(extents) > LIMITS["rank"] or max(extents, default=0) > LIMITS["extent"]:
        raise _refused(path, f"a shape that is not at most {LIMITS['rank']} dimensions below 2^31")
    return items["descr"].strip("'"), items["fortran_order"] == "True", tuple(extents)


def _refused(path: Path, why: str) -> UsageError:
    return InputError(f"{path}: {why}", hint="save it with numpy.save, in the input's data type")
