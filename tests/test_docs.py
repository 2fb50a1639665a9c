# SPDX-License-Identifier: Apache-2.0
"""The pages of the documentation site: their commands run in order, and the site builds without a broken link."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [
    "first-hour.md",
    *(f"how-to/{name}.md" for name in ("dynamic-shapes", "tactics", "in-place", "data-dependent", "architectures")),
]
NEEDS_GPU = ("bake", "run", "bench", "validate", "tune")


def commands(page: str) -> list[str]:
    """The aotfactory commands in a page's code blocks that any machine can run."""
    text = (DOCS / page).read_text("utf-8")
    found = [line.partition(" # ")[0].strip() for line in re.findall(r"^    (aotfactory .*)$", text, re.MULTILINE)]
    return [command for command in found if command.split()[1] not in NEEDS_GPU]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work_in_order(page: str, tmp_path: Path) -> None:
    assert commands(page)
    for command in commands(page):
        words = [sys.executable, "-m", "aotfactory", *shlex.split(command)[1:]]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "FAILED" not in done.stdout, command


def test_pages_are_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "results" not in path.parts}
    assert [page for page in sorted(pages) if page not in navigation] == []


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason='mkdocs is not installed: pip install ".[docs]"')
def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    reference = (tmp_path / "reference" / "cli" / "index.html").read_text("utf-8")
    for command in ("build", "cache info", "doctor", "new"):
        assert f"aotfactory {command}" in reference
    assert "aotfactory.api.verbs.build" in (tmp_path / "reference" / "api" / "index.html").read_text("utf-8")
