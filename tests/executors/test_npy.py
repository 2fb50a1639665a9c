# SPDX-License-Identifier: Apache-2.0
"""Files of inputs: what is none is refused, by Python and by the launcher alike."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from launcher_bundles import manifest, write

from aotfactory.core.dtypes import DTYPES
from aotfactory.core.errors import UsageError
from aotfactory.executors.native.launcher import build_launcher
from aotfactory.executors.npy import load_npy


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    """A file with this header; its length is what it is."""
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode() + data


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.zeros(4, np.float32))
    return file.getvalue()


GOOD = saved(np.arange(6, dtype=np.float32).reshape(2, 3))
HEAD = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }"
HOSTILE = {
    "empty": b"",
    "cut in the magic": GOOD[:5],
    "cut in the header": GOOD[:40],
    "cut in the data": GOOD[:-1],
    "too long": GOOD + b"\0",
    "a zip file": zipped(),
    "not an array": b"raw bytes, no array at all",
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00.",
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"\x80\x04N."),
    "structured": npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", bytes(4)),
    "another type": saved(np.zeros((2, 3), np.float64)),
    "big-endian": saved(np.zeros((2, 3), ">f4")),
    "Fortran order": saved(np.asfortranarray(np.zeros((2, 3), np.float32))),
    "four tebibytes": npy(HEAD % "(1099511627776,)"),
    "2^62 elements of nothing": npy(HEAD % "(2147483647, 2147483647, 0)", b"x"),
    "a negative shape": npy(HEAD % "(-1,)"),
    "a shape of 5000 digits": npy(HEAD % f"({'9' * 3000},)"),
    "a deep header": npy(HEAD % ("(" * 2000 + ")" * 2000)),
    "a header of code": npy("__import__('os').system('touch /tmp/attacked')"),
    "a header of another key": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", bytes(4)),
    "a key twice": npy("{'descr': '<f4', 'descr': '<f4', 'shape': (1,), }", bytes(4)),
    "nine dimensions": npy(HEAD % "(1, 1, 1, 1, 1, 1, 1, 1, 1)", bytes(4)),
    "a header of 4 GB": b"\x93NUMPY\x03\x00" + struct.pack("<I", 2**32 - 1),
    "version 9": b"\x93NUMPY\x09\x00" + GOOD[8:],
    "text that is not Latin": npy("{'descr': '<f4\xff', 'fortran_order': False, 'shape': (1,), }", bytes(4)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(case: str, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(HOSTILE[case])
    with pytest.raises(UsageError, match=r"x\.npy"):
        load_npy(tmp_path / "x.npy", "fp32")


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "sparse", "missing"])
def test_only_regular_files(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        path.write_bytes(GOOD)
        os.truncate(path, 2**42)
    with pytest.raises(UsageError, match=r"regular file|larger than|No such file"):
        load_npy(path, "fp32")


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_every_type_come_back(dtype: str, tmp_path: Path) -> None:
    for shape in ((), (0,), (3,), (2, 1, 3)):
        array = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape).astype(DTYPES[dtype].array)
        np.save(tmp_path / "x.npy", array)
        np.testing.assert_array_equal(load_npy(tmp_path / "x.npy", dtype), array, strict=True)


def test_raw_bf16(tmp_path: Path) -> None:
    array = np.array([1, 2.5], ml_dtypes.bfloat16)
    np.save(tmp_path / "x.npy", array.view(np.uint16))
    np.testing.assert_array_equal(load_npy(tmp_path / "x.npy", "bf16"), array, strict=True)


@pytest.mark.launcher
def test_the_launcher_refuses_the_same(tmp_path: Path) -> None:
    bundle = write(tmp_path / "copy.aot", manifest())
    for case, content in HOSTILE.items():
        path = tmp_path / "x.npy"
        path.write_bytes(content)
        command = [build_launcher(), bundle, "--dry-run", "--input", f"x={path}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2, (case, done.stdout, done.stderr)


def test_a_zip_is_what_savez_makes() -> None:
    assert zipfile.is_zipfile(io.BytesIO(zipped()))
