# SPDX-License-Identifier: Apache-2.0
"""scripts/attacks.py sees what does not stand; CI runs all of it, here only a part."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import attacks  # noqa: E402
from attacks import Attack, attempt  # noqa: E402

from aotfactory.core.errors import UsageError  # noqa: E402


def refuse(folder: Path) -> None:
    raise UsageError("no")


def escape(folder: Path) -> None:
    (folder.parent / "outside").write_text("x")
    refuse(folder)


def litter(folder: Path) -> None:
    Path(tempfile.mkdtemp(dir=tempfile.tempdir), "x").write_text("x")
    refuse(folder)


def orphan(folder: Path) -> None:
    processes.append(subprocess.Popen(["sleep", "60"]))
    refuse(folder)


processes: list[subprocess.Popen[bytes]] = []


@pytest.mark.parametrize(
    ("run", "wrong"),
    [
        (refuse, ""),
        (lambda folder: None, "was not refused"),
        (lambda folder: 1 // 0, "ZeroDivisionError"),
        (lambda folder: time.sleep(60), "took longer"),
        (escape, "escaped: ['outside']"),
        (litter, "left temporary files"),
        (orphan, "left processes: ['sleep 60"),
    ],
)
def test_each_way_to_fall_is_seen(run: object, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    try:
        found = attempt(Attack("kind", "name", run, seconds=1), tmp_path)[1]  # type: ignore[arg-type]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        processes.clear()
    assert found.startswith(wrong)
    assert bool(found) == bool(wrong)


def test_the_table_is_of_these_attacks() -> None:
    rows = (ROOT / "docs" / "attacks.md").read_text()
    assert int(rows.split("--write`: ")[1].split()[0]) >= 250
    assert "broke" not in rows
    assert "hung" not in rows


def test_all_that_end_soon_stand() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "attacks.py", "-k", "trtexec"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_there_are_enough() -> None:
    assert attacks.SECONDS <= 10
