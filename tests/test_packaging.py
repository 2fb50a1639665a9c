# SPDX-License-Identifier: Apache-2.0
"""What gets installed: from a wheel, from an editable install, and by nothing but a clone."""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import aotfactory
from aotfactory.executors.native.launcher import build_launcher

ROOT = Path(__file__).resolve().parent.parent
FIND_KERNELS = (
    "import aotfactory.kernels as k, pkgutil\n"
    "print(*k.__path__)\nprint(*sorted(m.name for m in pkgutil.iter_modules(k.__path__)))"
)


def kernel_names() -> list[str]:
    return sorted(path.stem for path in (ROOT / "kernels").glob("*.py") if path.stem != "__init__")


def python(*arguments: str, cwd: Path, **env: str) -> str:
    command = [sys.executable, *arguments]
    result = subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build_wheel(directory: Path, **env: str) -> Path:
    """Build a wheel from a copy of the sources, so that the checkout stays clean."""
    source = directory / "source"
    ignored = shutil.ignore_patterns(".*", "build", "dist", "engines", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    arguments = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory), str(source)]
    python("-m", "pip", *arguments, cwd=directory, **env)
    (wheel,) = directory.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"), AOTFACTORY_BUILD_LAUNCHER="0")


@pytest.fixture(scope="module")
def wheel_with_launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a launcher that is there, which saves the minute of building it."""
    return build_wheel(tmp_path_factory.mktemp("wheel"), AOTFACTORY_LAUNCHER=str(build_launcher()))


class TestWheel:
    def test_everything_is_under_aotfactory(self, wheel: Path) -> None:
        names = zipfile.ZipFile(wheel).namelist()
        roots = {name.split("/")[0] for name in names}
        assert roots == {"aotfactory", f"aotfactory-{aotfactory.__version__}.dist-info"}

    def test_everything_is_there(self, wheel: Path) -> None:
        names = set(zipfile.ZipFile(wheel).namelist())
        sources = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / "aotfactory").rglob("*")
            if path.is_file() and not {"__pycache__", "build"} & set(path.parts)
        }
        kernels = {f"aotfactory/kernels/{name}.py" for name in kernel_names()}
        assert (sources | kernels) - names == set()

    def test_it_is_for_any_machine(self, wheel: Path) -> None:
        assert wheel.name.endswith("-py3-none-any.whl")

    def test_metadata(self, wheel: Path) -> None:
        archive = zipfile.ZipFile(wheel)
        info = f"aotfactory-{aotfactory.__version__}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
        assert "License-Expression: Apache-2.0\n" in metadata
        assert "Requires-Python: >=3.10\n" in metadata
        required = re.findall(r"^Requires-Dist: ([\w-]+)(?!.*extra ==)", metadata, re.MULTILINE)
        assert {"tensorrt-cu13-bindings", "tensorrt-lean-cu13-libs", "triton", "numpy"} <= set(required)
        assert not {"torch", "tensorrt", "tensorrt-cu13"} & set(required)
        assert "aotfactory = aotfactory.__main__:main" in archive.read(f"{info}/entry_points.txt").decode()
        assert f"{info}/licenses/LICENSE" in archive.namelist()

    def test_installed_elsewhere(self, wheel: Path, tmp_path: Path) -> None:
        site, cache = tmp_path / "site", tmp_path / "cache"
        python("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel), cwd=tmp_path)
        env = {"PYTHONPATH": str(site), "AOTFACTORY_CACHE": str(cache), "AOTFACTORY_TENSORRT": "compile-only"}
        assert python("-c", FIND_KERNELS, cwd=tmp_path, **env).splitlines() == [
            f"{site}/aotfactory/kernels",
            " ".join(kernel_names()),
        ]
        load = "from aotfactory.plugins import tensorrt_api as api\nprint(api.load().kind, api.__file__)"
        out = python("-c", load, cwd=tmp_path, PATH="", **env)
        assert out == f"compile-only {site}/aotfactory/plugins/tensorrt_api.py\n"
        assert not cache.exists()


@pytest.mark.launcher
class TestWheelWithLauncher:
    def test_it_is_for_this_machine(self, wheel_with_launcher: Path) -> None:
        assert re.search(rf"-py3-none-manylinux_2_\d+_{platform.machine()}\.whl$", wheel_with_launcher.name)

    def test_nothing_is_built_on_first_use(self, wheel_with_launcher: Path, tmp_path: Path) -> None:
        site, cache = tmp_path / "site", tmp_path / "cache"
        install = ["install", "--quiet", "--no-deps", "--target", str(site), str(wheel_with_launcher)]
        python("-m", "pip", *install, cwd=tmp_path)
        code = "from aotfactory.executors.native.launcher import build_launcher\nprint(build_launcher())"
        env = {"PYTHONPATH": str(site), "AOTFACTORY_CACHE": str(cache), "AOTFACTORY_LAUNCHER": "", "PATH": ""}
        launcher = Path(python("-c", code, cwd=tmp_path, **env).strip())
        assert launcher == site / "aotfactory" / "runtime" / "bin" / "aotfactory-launcher"
        version = subprocess.run([launcher, "--version"], capture_output=True, text=True, check=True).stdout
        assert version.startswith("aotfactory-launcher ")
        assert not cache.exists()


def test_kernels_are_found_in_a_bare_clone() -> None:
    # -S: nothing is installed as far as this process can see, editable or otherwise.
    assert python("-S", "-c", FIND_KERNELS, cwd=ROOT).splitlines() == [
        f"{ROOT}/kernels",
        " ".join(kernel_names()),
    ]


def test_kernels_are_found_where_this_environment_has_aotfactory(tmp_path: Path) -> None:
    found = python("-c", FIND_KERNELS, cwd=tmp_path, PYTHONPATH=str(Path(aotfactory.__file__).parent.parent))
    assert found.splitlines()[1] == " ".join(kernel_names())


def test_import_is_light() -> None:
    code = "import sys\nbefore = set(sys.modules)\nimport aotfactory\nprint(sorted(set(sys.modules) - before))"
    assert python("-c", code, cwd=ROOT) == "['aotfactory']\n"


def test_nothing_imports_torch_when_it_is_imported() -> None:
    """Only `aotfactory.torch`, and functions, may import torch: it is no dependency."""

    def imports(node: ast.AST) -> set[str]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return set()
        if isinstance(node, ast.Import):
            return {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            return {node.module or ""}
        return set().union(*map(imports, ast.iter_child_nodes(node)))

    sources = [*(ROOT / "aotfactory").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]
    sources = [path for path in sources if (ROOT / "aotfactory" / "torch") not in path.parents]
    found = {path: imports(ast.parse(path.read_text("utf-8"))) for path in sources}
    assert "ctypes" in found[ROOT / "aotfactory" / "plugins" / "tensorrt_api.py"]
    assert [str(path) for path, names in found.items() if any(name.split(".")[0] == "torch" for name in names)] == []


def test_the_citation_is_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {aotfactory.__version__}\n" in citation


def test_declared_pythons_are_those_of_ci() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    declared = re.findall(r"Python :: (3\.\d+)", project)
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    (matrix,) = re.findall(r"^ +python: \[(.*)\]$", workflow, re.MULTILINE)
    assert re.findall(r"3\.\d+", matrix) == declared
    assert f'requires-python = ">={declared[0]}"' in project


def test_ci_runs_the_command_of_the_readme() -> None:
    found = re.search(r"^TEST_COMMAND='(.+)'$", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE)
    assert found
    assert found[1] in (ROOT / "README.md").read_text("utf-8").splitlines()
