# SPDX-License-Identifier: Apache-2.0
"""Modules that ask for a GPU while they are imported: answered for the architecture that is compiled for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from building import MODULES

from aotfactory.plugins import device

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


def test_nvidias_runtime_bindings_answer_for_the_architecture() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    before = runtime.cudaGetDeviceProperties
    with device.answering(87):
        done, number = runtime.cudaGetDevice()
        _, properties = runtime.cudaGetDeviceProperties(number)
        _, minor = runtime.cudaDeviceGetAttribute(runtime.cudaDeviceAttr.cudaDevAttrComputeCapabilityMinor, number)
        assert (done, properties.major, properties.minor, minor) == (runtime.cudaError_t.cudaSuccess, 8, 7, 7)
    assert runtime.cudaGetDeviceProperties is before


def test_nvidias_driver_bindings_answer_where_there_is_no_driver() -> None:
    driver = pytest.importorskip("cuda.bindings.driver")
    major = driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    with device.answering(103):
        done, one = driver.cuDeviceGet(0)
        assert (driver.cuInit(0), done) == ((done,), driver.CUresult.CUDA_SUCCESS)
        assert driver.cuDeviceGetAttribute(major, one) == (done, 10)


def test_nvidias_runtime_bindings_may_be_imported_meanwhile() -> None:
    pytest.importorskip("cuda.bindings.runtime")
    code = """
import sys
from aotfactory.plugins import device
with device.answering(120):
    from aotfactory.plugins.usual_gpu import BINDINGS
    assert not set(BINDINGS) & set(sys.modules)
    from cuda.bindings import runtime
    print(runtime.cudaGetDeviceProperties(0)[1].major)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["12"], done.stderr[-2000:]
