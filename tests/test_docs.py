# SPDX-License-Identifier: Apache-2.0
"""The pages of the documentation site: their commands run in order, and the site builds without a broken link."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aotfactory.core.settings import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [
    "first-hour.md",
    *(f"how-to/{name}.md" for name in ("dynamic-shapes", "tactics", "in-place", "data-dependent", "architectures")),
    *(f"how-to/{name}.md" for name in ("cuda", "onnx-node")),
    "pytorch.md",
]
NEEDS = {
    "how-to/cuda.md": ("nvidia.cu13", 'NVRTC is not installed: pip install ".[nvrtc]"'),
    "pytorch.md": ("torch", "PyTorch is not installed"),
}
NEEDS_GPU = ("bake", "run", "bench", "validate", "tune")


def commands(page: str) -> list[str]:
    """The commands in a page's code blocks that any machine can run: aotfactory's, and programs of the page itself."""
    text = (DOCS / page).read_text("utf-8")
    found = re.findall(r"^    (aotfactory .*|python \w+\.py.*|python -m pytest .*)$", text, re.MULTILINE)
    lines = [line.partition(" # ")[0].strip() for line in found]
    return [command for command in lines if command.split()[1] not in NEEDS_GPU]


def files(page: str) -> dict[str, str]:
    """The files that a page shows whole: code blocks with a title."""
    text = (DOCS / page).read_text("utf-8")
    return dict(re.findall(r'^```python title="([\w.]+)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work_in_order(page: str, tmp_path: Path, as_a_user: dict[str, str]) -> None:
    module, reason = NEEDS.get(page, ("sys", ""))
    if importlib.util.find_spec(module) is None:
        pytest.skip(reason)
    for name, content in files(page).items():
        (tmp_path / name).write_text(content)
    assert commands(page)
    for command in commands(page):
        program, *words = shlex.split(command)
        call = [sys.executable, *(["-m", "aotfactory"] if program == "aotfactory" else []), *words]
        done = subprocess.run(call, cwd=tmp_path, env=as_a_user, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "FAILED" not in done.stdout, command


def reference() -> Any:
    spec = importlib.util.spec_from_file_location("docs_reference", ROOT / "scripts" / "docs_reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["environment.md"])
def test_a_written_page_is_what_would_be_written(name: str) -> None:
    page = (DOCS / "reference" / name).read_text("utf-8")
    assert page == reference().WRITTEN[name](), "run python scripts/docs_reference.py"


def test_every_variable_and_every_schema_is_described() -> None:
    sources = [p for folder in ("aotfactory", "setup.py") for p in (ROOT / folder).rglob("*.*") or [ROOT / folder]]
    text = "".join(p.read_text("utf-8") for p in sources if p.suffix in (".py", ".cpp", ".h"))
    variables = set(re.findall(r"environ(?:\.get\(|\[)\"(AOTFACTORY_\w+)", text))
    assert variables
    assert variables - set(SETTINGS) == set()
    schemas = set(re.findall(r"\"aotfactory\.(\w+)/1\"", text))
    assert len(schemas) > 10
    assert schemas - set(reference().JSON) == set()


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
