# SPDX-License-Identifier: Apache-2.0
"""Builds of unchanged, touched and moved definitions, each in a process of its own: what is made again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aotfactory.core.cache import Cache

HELPER = """
import triton
import triton.language as tl

@triton.jit
def twice(x):
    return x + x
"""

PLUGIN = """
import json, os
from pathlib import Path
from typing import List, Tuple
import triton
import triton.language as tl
from aotfactory import AotKernel, Input, Recipe, aot_kernel, trtp
from helper import twice

@triton.jit
def twice_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + i, twice(tl.load(x_ptr + i, mask=i < n)), mask=i < n)

@trtp.register("cached::twice")
def twice_desc(inp0: trtp.TensorDesc) -> trtp.TensorDesc:
    return inp0.like()

@trtp.autotune("cached::twice")
def twice_autotune(inp0: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
    return [trtp.AutoTuneCombination("FP32, FP32")]

@trtp.aot_impl("cached::twice")
def twice_aot(inp0: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel:
    n = inp0.shape_expr.numel()
    block = int(os.environ.get("TWICE_BLOCK", "0")) or json.loads(Path(__file__).with_name("block.json").read_text())
    return aot_kernel(twice_kernel, x_ptr=inp0, y_ptr=outputs[0], n=n, BLOCK=block, grid=trtp.cdiv(n, block))

RECIPE = Recipe(name="twice", plugin="cached::twice", summary="", inputs=(Input(name="x", shape=(5, 7)),),
                dtypes=("fp32",), reference=lambda x: x + x)
"""


class Project:
    """Definitions in a folder, and a cache."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, Cache(cache)
        folder.mkdir()
        (folder / "helper.py").write_text(HELPER)
        (folder / "plugin.py").write_text(PLUGIN)
        (folder / "block.json").write_text("64")

    def build(self, *more: str, **variables: str) -> tuple[dict[str, Any], Counter[str]]:
        """The report, and how many entries of each kind came into the cache."""
        before = {entry.path for entry in self.cache.entries()}
        environment = {"AOTFACTORY_CACHE": str(self.cache.root), "AOTFACTORY_NO_CACHE": "", **variables}
        command = ["compile", "twice", "--plugins", "plugin.py", "--arch", "sm_80", "--format", "json", *more]
        done = subprocess.run(
            [sys.executable, "-m", "aotfactory", *command],
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), Counter(e.kind for e in self.cache.entries() if e.path not in before)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was built once."""
    folder = tmp_path_factory.mktemp("built")
    _, new = Project(folder / "project", folder / "cache").build()
    assert new == {"build": 1, "triton": 1, "variant": 1, "interpreter": 1, "triton-key": 1}
    return folder


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Project:
    """A copy of it, cache included, elsewhere."""
    project = Project(tmp_path / "project", tmp_path / "cache")
    shutil.copytree(built / "cache", tmp_path / "cache")
    os.chmod(tmp_path / "cache", 0o700)
    return project


LATE = ("triton", "tensorrt_bindings", "numpy", "aotfactory.plugins.device")
NO_TRITON = f"import sys; sys.modules.update(dict.fromkeys({LATE}))"


def test_unchanged_needs_neither_triton_nor_tensorrt(project: Project, built: Path) -> None:
    (project.folder / "sitecustomize.py").write_text(NO_TRITON)
    report, new = project.build(PYTHONPATH=str(project.folder))
    assert new == {}
    assert report["checks"] == json.loads((built / "project/engines/twice.build.json").read_text())["checks"]
    ours, theirs = (path / "engines/twice.aot/manifest.json" for path in (project.folder, built / "project"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_the_verbs_load_what_they_need_and_no_more() -> None:
    code = "import aotfactory, sys; aotfactory.compile, aotfactory.build; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"triton", "tensorrt_bindings", "numpy", "onnx", "pydantic", "rich"} & set(done.stdout.split())


def test_kernel_that_the_kernel_calls(project: Project) -> None:
    project.edit("helper.py", "x + x", "x * 2")
    assert project.build()[1] == {"triton": 1, "variant": 1, "interpreter": 1}
    assert project.build()[1] == {}


def test_reference_alone(project: Project) -> None:
    project.edit("plugin.py", "lambda x: x + x", "lambda x: x * 2")
    assert project.build()[1] == {"interpreter": 1}


def test_file_that_the_definition_reads(project: Project) -> None:
    (project.folder / "block.json").write_text("128")
    report, new = project.build()
    assert new == {"triton": 1, "variant": 1, "interpreter": 1}
    assert report["variants"][0]["launch"]["grid_x"] == "1"


def test_variable_that_the_definition_reads(project: Project) -> None:
    report, new = project.build(TWICE_BLOCK="16")
    assert (report["variants"][0]["launch"]["grid_x"], new["triton"]) == ("3", 1)
    assert project.build(TWICE_BLOCK="16", SOME_OTHER="1")[1] == {}


def test_checks_that_ran_out_of_time_are_not_run_again_for_as_much(tmp_path: Path) -> None:
    """Or a kernel that takes long would be built anew every night."""
    project = Project(tmp_path / "project", tmp_path / "cache")
    program = """
import sys
from pathlib import Path
from aotfactory.api.build import build_bundle
from aotfactory.compiler.options import Options
from aotfactory.core.arch import parse_archs
from aotfactory.core.cache import Cache
from aotfactory.targets.request import TargetOptions
built = build_bundle("twice", request=TargetOptions(), options=Options(archs=parse_archs("sm_80")), out=Path("engines"),
                     plugins=["plugin.py"], cache=Cache(Path(sys.argv[1])), check_time=float(sys.argv[2]))
print(next(check.status for check in built.checks if check.name == "interpreter"))
"""

    def interpreter(seconds: float) -> tuple[str, int]:
        before = {entry.path: entry.path.read_bytes() for entry in project.cache.entries()}
        command = [sys.executable, "-c", program, str(project.cache.root), str(seconds)]
        done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=True)
        changed = sum(before.get(e.path) != e.path.read_bytes() for e in project.cache.entries() if e.kind == "build")
        return done.stdout.strip(), changed

    assert interpreter(2e-6) == ("skipped", 1)
    assert interpreter(2e-6) == ("skipped", 0)
    assert interpreter(1e-6) == ("skipped", 0)
    assert interpreter(10) == ("passed", 1)
    assert interpreter(2e-6) == ("passed", 0)


def test_flipped_bits_are_rebuilt(project: Project) -> None:
    whole = project.build()[0]
    for entry in project.cache.entries():
        data = bytearray(entry.path.read_bytes())
        data[len(data) // 2] ^= 4
        entry.path.write_bytes(data)
    shutil.rmtree(project.folder / "engines")
    report, _ = project.build()
    assert report == whole
    assert project.cache.verify() == (5, [])


def test_from_a_shared_cache(project: Project) -> None:
    shutil.move(project.cache.root / "entries", project.folder / "shared")
    url = f"file://{project.folder}/shared?readonly"
    report, new = project.build(AOTFACTORY_REMOTE_CACHE=url)
    assert new == {"build": 1}  # all that was needed
    assert [check["status"] for check in report["checks"]] == ["passed"] * 4


def test_another_name_and_place(project: Project) -> None:
    report, new = project.build("-o", "here/mine.aot")
    assert (report["bundle"]["path"], new) == ("here/mine.aot", {})
    assert json.loads((project.folder / "here/mine.aot/manifest.json").read_text())["name"] == "mine"
    assert list(json.loads((project.folder / "here/index.json").read_text())["engines"]) == ["mine"]


@pytest.mark.parametrize("name", ["texts", "id", "kernel"])
def test_an_entry_of_other_types_counts_as_missing(name: str, project: Project) -> None:
    cache = Cache(project.folder.parent / "cache")
    for entry in [e for e in cache.entries() if e.kind == "build"]:
        data = json.loads(cache.get("build", entry.path.name) or b"")
        described = data["manifest"]["variants"][0]
        if name == "texts":
            data["texts"][described["ptx"]] = 7
        else:
            described[name] = 7
        cache.put_json("build", entry.path.name, data)
    report, new = project.build()
    assert new == {}
    assert not [check for check in report["checks"] if check["status"] == "failed"]
