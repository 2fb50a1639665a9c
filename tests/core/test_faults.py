# SPDX-License-Identifier: Apache-2.0
"""A full disk, a limit, no memory: the machine's faults are told as such, wherever they come up."""

from __future__ import annotations

import errno
import os

import pytest

from aotfactory.cli import main as cli
from aotfactory.core.errors import MissingError, NoMemoryError
from aotfactory.core.faults import fault
from aotfactory.core.workers import completed


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.EIO])
def test_what_a_machine_does(number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    error = OSError(number, os.strerror(number), "/a/place")
    known = fault(error)
    assert isinstance(known, MissingError)
    assert known.message == f"/a/place: {os.strerror(number)}"

    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert (ended.value.code, "Traceback" in said, "/a/place" in said) == (3, False, True)
    for _, outcome in completed([fail], 2, isolated=True):
        assert str(outcome.error) == str(known)


def test_no_memory() -> None:
    for error in (MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")):
        assert isinstance(fault(error), NoMemoryError)


def test_no_place_for_temporary_files() -> None:
    known = fault(FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"))
    assert known is not None
    assert known.hint == "set TMPDIR to one that can"


def test_other_errors_are_our_own() -> None:
    for error in (ValueError("x"), OSError(errno.ENOENT, "No such file"), KeyError("x")):
        assert fault(error) is None
