# SPDX-License-Identifier: Apache-2.0
"""Modules that ask for a GPU while they are imported: answered for the architecture that is compiled for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from building import MODULES

WITHOUT_TORCH = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec
PathFinder.find_spec = classmethod(lambda cls, name, *rest: None if name == "torch" else find(name, *rest))
"""
BUILD = """
from pathlib import Path
from aotfactory.api.build import build_bundle
from aotfactory.compiler.compile import Options
from aotfactory.core.arch import parse_archs
from aotfactory.targets.request import TargetOptions

options = Options(archs=parse_archs("{arch}"))
built = build_bundle("double", request=TargetOptions(), options=options, out=Path("{out}"), plugins=["{module}"])
assert not built.failed, built.failed
print(built.bundle.variants[0].launch["grid_x"])
"""


@pytest.mark.parametrize(("arch", "grid", "torch"), [("sm_90", "2", True), ("sm_80", "3", False)])
def test_a_module_that_asks_for_a_gpu(tmp_path: Path, arch: str, grid: str, torch: bool) -> None:
    """In the process that compiles and in the interpreter's; where torch is missing, too."""
    if torch:
        pytest.importorskip("torch")
    script = BUILD.format(arch=arch, out=tmp_path, module=MODULES / "asks_for_gpu.py")
    done = subprocess.run(
        [sys.executable, "-c", script if torch else WITHOUT_TORCH + script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [grid]
