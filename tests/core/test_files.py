# SPDX-License-Identifier: Apache-2.0
"""Files: read only where they are regular and small enough, and run only where they are our own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aotfactory.core.files import file_sha256, read_file, replace_file, require_own
from aotfactory.executors.native.cmake import ProgramBuild


def test_links_lead_to_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link", limit=7) == b"content"
    assert file_sha256(tmp_path / "link", limit=7)[1] == 7
    with pytest.raises(OSError, match="is larger than 6 bytes"):
        read_file(tmp_path / "link", limit=6)


@pytest.mark.parametrize("content", ["pipe", "device", "folder", "socket", "loop", "nul"])
def test_nothing_else_is_read(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if content == "pipe":
        os.mkfifo(path)
    elif content == "device":
        path.symlink_to("/dev/zero")
    elif content == "folder":
        path.mkdir()
    elif content == "socket":
        import socket

        socket.socket(socket.AF_UNIX).bind(str(path))
    elif content == "loop":
        path.symlink_to("x")
    else:
        path = tmp_path / "a\0b"
    for read in (read_file, file_sha256):
        with pytest.raises(OSError) as caught:  # noqa: PT011
            read(path, limit=100)
        assert caught.value.strerror


@pytest.mark.parametrize("content", [b"123456789", b"12"])
def test_a_file_that_changes_while_it_is_read(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1234")
    real = os.fstat
    calls: list[int] = []

    def changing(handle: int) -> os.stat_result:
        found = real(handle)
        calls.append(handle)
        if len(calls) == 2:  # the size is known, nothing is read yet
            path.write_bytes(content)
        return found

    monkeypatch.setattr(os, "fstat", changing)
    with pytest.raises(OSError, match="changed while it was read"):
        read_file(path, limit=100)


@pytest.mark.parametrize("mode", [0o702, 0o720, 0o777])
def test_a_program_that_others_may_write(mode: int, tmp_path: Path) -> None:
    program = tmp_path / "cache" / "launcher" / "key" / "bin" / "aotfactory-launcher"
    replace_file(program, b"#!/bin/sh\n")
    for item in (program, *list(program.parents)[:4]):
        item.chmod(0o700)
    require_own(program, tmp_path / "cache")
    for item in (program, *list(program.parents)[:5]):
        before = item.stat().st_mode
        item.chmod(mode)
        if item == tmp_path:  # above the cache: the user's affair
            require_own(program, tmp_path / "cache")
        else:
            with pytest.raises(PermissionError, match="others may write to it"):
                require_own(program, tmp_path / "cache")
        item.chmod(before)


def test_a_planted_launcher_is_not_run(tmp_path: Path) -> None:
    from aotfactory.core.errors import MissingError

    planted = ProgramBuild("launcher", cache=tmp_path / "cache")
    replace_file(planted.program, b"#!/bin/sh\n")
    for item in (planted.program, *list(planted.program.parents)[:4]):
        item.chmod(0o777)
    with pytest.raises(MissingError, match="others may write to it"):
        planted.run()


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    from aotfactory.core.errors import MissingError

    (tmp_path / "cache").write_text("a file")
    with pytest.raises(MissingError, match="cannot be kept in the cache"):
        ProgramBuild("launcher", cache=tmp_path / "cache").run()
