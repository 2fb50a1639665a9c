# SPDX-License-Identifier: Apache-2.0
"""`aotfactory new`: what it writes passes its own test at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Run
from cuda.bindings import nvrtc


def pytest_of(user: dict[str, str], folder: Path, *options: str, path: str = "") -> str:
    """What a user's pytest prints; they have a cache, if it were only for Triton's hash of itself."""
    paths = os.pathsep.join([user["PYTHONPATH"], *filter(None, [path])])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder)],
        cwd=folder,
        env={**user, "PYTHONPATH": paths, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_test_passes_at_once(run: Run, tmp_path: Path, as_a_user: dict[str, str]) -> None:
    done = run("new", "swell", "--out", str(tmp_path))
    assert done.code == 0
    assert f"pytest {tmp_path}/test_swell.py" in done.out
    assert "3 passed" in pytest_of(as_a_user, tmp_path)


def test_cuda_passes_at_once_and_can_fail_to_compile(run: Run, tmp_path: Path, as_a_user: dict[str, str]) -> None:
    try:
        nvrtc.nvrtcVersion()
    except Exception:
        pytest.skip("NVRTC is not installed")
    run("new", "swell", "--cuda", "--out", str(tmp_path))
    kernel = tmp_path / "swell.py"
    assert "3 passed" in pytest_of(as_a_user, tmp_path)
    kernel.write_text(kernel.read_text().replace("slope * value)", "slope * valeu)"))
    with pytest.raises(AssertionError, match="valeu"):
        pytest_of(as_a_user, tmp_path, "-k", "fp32")


def test_what_to_do_next_works_where_pytest_is_not_installed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "pip install pytest" not in run("new", "one", "--out", str(tmp_path)).out
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "next:\n  python -m pip install pytest\n  python -m pytest " in run("new", "two", "--out", str(tmp_path)).out


def test_the_test_can_fail(run: Run, tmp_path: Path, as_a_user: dict[str, str]) -> None:
    run("new", "swell", "--out", str(tmp_path))
    kernel = tmp_path / "swell.py"
    kernel.write_text(kernel.read_text().replace("x > 0, x, x * slope", "x > 0, x, x + slope"))
    with pytest.raises(AssertionError, match="1 failed"):
        pytest_of(as_a_user, tmp_path, "-k", "fp32")


def test_a_package(run: Run, tmp_path: Path, as_a_user: dict[str, str]) -> None:
    done = run("new", "swell", "--package", "--namespace", "acme", "--out", str(tmp_path), "--format", "json")
    files = [Path(path).relative_to(tmp_path).as_posix() for path in json.loads(done.out)["files"]]
    expected = ("pyproject.toml", "swell/__init__.py", "swell/kernel.py", "tests/test_swell.py")
    assert files == [f"swell/{name}" for name in expected]
    project = (tmp_path / "swell" / "pyproject.toml").read_text()
    assert '[project.entry-points."aotfactory.recipes"]\nswell = "swell.kernel"\n' in project
    assert '@trtp.register("acme::swell")' in (tmp_path / "swell" / "swell" / "kernel.py").read_text()
    assert "1 passed" in pytest_of(
        as_a_user, tmp_path / "swell" / "tests", "-k", "dynamic", path=str(tmp_path / "swell")
    )


@pytest.mark.parametrize(
    "name", ["", "Swell", "2fast", "a-b", "class", "../x", "a/b", "s\u00fc", "random", "numpy", "pytest"]
)
def test_names_that_cannot_be(run: Run, name: str, tmp_path: Path) -> None:
    done = run("new", name, "--out", str(tmp_path))
    assert done.code == 2
    assert "cannot be the name of a plugin" in done.err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "test_swell.py").write_text("mine")
    done = run("new", "swell", "--out", str(tmp_path))
    assert done.code == 2
    assert "test_swell.py is there already" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["test_swell.py"]
