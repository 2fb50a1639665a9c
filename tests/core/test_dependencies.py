# SPDX-License-Identifier: Apache-2.0
"""What a build depends on, and whether it is as it was."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from aotfactory.core import dependencies, files
from aotfactory.core.dependencies import digests


def test_a_file_changed_twice_within_a_tick_is_another(tmp_path: Path) -> None:
    path = tmp_path / "helper.py"
    path.write_text("a = 1")
    read, times = digests([str(path)]), path.stat()
    assert read.unchanged()
    path.write_text("a = 2")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not read.unchanged()


def test_one_that_nobody_touches_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = tmp_path / "helper.py", []
    path.write_text("a = 1")
    sha256 = files.file_sha256
    monkeypatch.setattr(dependencies, "file_sha256", lambda p, limit: opened.append(p) or sha256(p, limit=limit))
    now = time.time_ns() + 2 * dependencies.SETTLED
    monkeypatch.setattr(time, "time_ns", lambda: now)
    read = digests([str(path)])
    assert all(read.unchanged() for _ in range(3))
    assert opened == [path]
