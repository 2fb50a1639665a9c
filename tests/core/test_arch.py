# SPDX-License-Identifier: Apache-2.0
"""Architectures, and the PTX ISA tables against what the installed ptxas says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aotfactory.compiler import ptxas
from aotfactory.core import arch
from aotfactory.core import cuda as driver
from aotfactory.core.arch import (
    BASE_ISA,
    KNOWN,
    PORTABLE,
    TARGET_ISA,
    Arch,
    PtxIsa,
    PtxTarget,
    default_isa,
    parse_archs,
)
from aotfactory.core.errors import CheckError, DefinitionError, MissingError, UsageError

SM_90 = Arch(name="sm_90", capability=90)


class FakeCuda:
    """As much of libcuda as arch.py asks for."""

    def __init__(
        self, *, capability: tuple[int, int] = (9, 0), devices: int = 1, init: int = 0, driver: int = 13000
    ) -> None:
        self.answers = {75: capability[0], 76: capability[1]}
        self.devices, self.init, self.driver = devices, init, driver

    def cuInit(self, flags: int) -> int:
        return self.init

    def cuDeviceGetCount(self, count: object) -> int:
        count._obj.value = self.devices
        return 0

    def cuDeviceGet(self, device: object, ordinal: int) -> int:
        device._obj.value = ordinal
        return 0

    def cuDeviceGetAttribute(self, value: object, attribute: int, device: object) -> int:
        value._obj.value = self.answers[attribute]
        return 0

    def cuDriverGetVersion(self, version: object) -> int:
        version._obj.value = self.driver
        return 0


@pytest.fixture
def cuda(monkeypatch):
    """Puts a FakeCuda, or None for no driver, in the place of libcuda."""
    return lambda fake: monkeypatch.setattr(driver, "open_driver", lambda: fake)


def test_parse_keeps_order_and_drops_duplicates():
    assert parse_archs("sm_90, sm_80,sm_90a,portable,") == (SM_90, Arch(name="sm_80", capability=80), PORTABLE)


def test_portable_is_not_sm_80():
    assert PORTABLE.capability == 80
    assert PORTABLE.target == "sm_80"
    assert parse_archs("portable") != parse_archs("sm_80")


@pytest.mark.parametrize("text", ["sm_70", "sm_91", "sm_80a", "ampere", "sm_80,hopper"])
def test_unknown_names_list_what_is_known(text):
    with pytest.raises(UsageError, match=r"unknown architecture .*\n.*sm_75, sm_80, .*sm_121, portable, native"):
        parse_archs(text)


@pytest.mark.parametrize("text", ["", " , "])
def test_no_name_at_all(text):
    with pytest.raises(UsageError, match="no architecture was given"):
        parse_archs(text)


def test_native_is_the_gpu_here(cuda):
    cuda(FakeCuda(capability=(12, 1)))
    assert parse_archs("native,sm_121") == (Arch(name="sm_121", capability=121),)
    assert arch.default_arch().name == "sm_121"


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (None, "no CUDA driver"),
        (FakeCuda(devices=0), "no usable GPU"),
        (FakeCuda(init=100), "no usable GPU"),  # CUDA_ERROR_NO_DEVICE
        (FakeCuda(capability=(7, 0)), r"sm_70, which is not known here\n.*supported are sm_75"),
        (FakeCuda(capability=(15, 0)), r"sm_150, which is not known here\n.*--arch portable"),
    ],
)
def test_native_without_a_usable_gpu(cuda, fake, message):
    cuda(fake)
    with pytest.raises(MissingError, match=message):
        parse_archs("native")
    assert arch.default_arch() == PORTABLE


def test_driver_version(cuda):
    cuda(FakeCuda(driver=12080))
    assert driver.driver_version() == 12080
    cuda(None)
    assert driver.driver_version() is None
    cuda(FakeCuda(driver=0))
    assert driver.driver_version() is None


@pytest.mark.gpu
def test_the_real_gpu_is_known():
    assert arch.native_arch().name in KNOWN
    assert driver.driver_version() >= 12000


def test_isa_reads_and_writes():
    assert PtxIsa.parse("8.0") == (8, 0)
    assert PtxIsa.parse("9.4").number == 94
    assert str(PtxIsa(8, 7)) == "8.7"
    assert PtxIsa(8, 8) < PtxIsa(9, 0)
    for text in ("8", "80", "8.10", "v8.0", ""):
        with pytest.raises(UsageError, match="not a PTX ISA version"):
            PtxIsa.parse(text)


def test_target_reads():
    assert PtxTarget.parse("sm_100f") == (100, "f")
    with pytest.raises(DefinitionError, match="not a PTX target"):
        PtxTarget.parse("compute_90")


@pytest.mark.parametrize(
    ("release", "isa"),
    [((11, 8), "7.8"), ((12, 0), "8.0"), ((12, 5), "8.5"), ((12, 6), "8.5"), ((12, 8), "8.7"), ((12, 9), "8.8"),
     ((13, 0), "9.0"), ((13, 4), "9.4"), ((14, 7), "9.5")],
)  # fmt: skip
def test_cuda_releases(release, isa):
    assert str(arch.cuda_isa(*release)) == isa


def test_cuda_too_old():
    with pytest.raises(MissingError, match=r"CUDA 10\.2 is too old"):
        arch.cuda_isa(10, 2)


def test_table_agrees_with_cuda_bindings():
    utils = pytest.importorskip("cuda.bindings.utils")
    minimal = getattr(utils, "get_minimal_required_cuda_ver_from_ptx_ver", None)
    if minimal is None:
        pytest.skip("this cuda-bindings has no such table")
    for release, isa in arch.CUDA_ISA.items():
        try:
            needed = minimal(str(isa))
        except ValueError:  # newer than these bindings
            continue
        assert needed <= release[0] * 1000 + release[1] * 10


@pytest.mark.parametrize(
    ("name", "driver", "isa"),
    [("sm_75", None, "8.0"), ("sm_90", None, "8.0"), ("portable", None, "8.0"), ("sm_100", None, "8.6"),
     ("sm_120", None, "8.7"), ("sm_121", None, "8.8"), ("sm_90", 13000, "9.0"), ("sm_90", 12060, "8.5"),
     ("sm_120", 12000, "8.7"), ("sm_80", 11080, "7.8"), ("sm_90", 11080, "8.0")],
)  # fmt: skip
def test_default_isa(name, driver, isa):
    assert str(default_isa(parse_archs(name)[0], driver)) == isa


def test_which_targets_run_where():
    def runs(name, target):
        return parse_archs(name)[0].runs(target)

    assert runs("sm_90", "sm_80")
    assert runs("sm_90", "sm_90a")
    assert not runs("sm_80", "sm_90")
    assert not runs("sm_100", "sm_90a")
    assert runs("sm_103", "sm_100f")
    assert not runs("sm_103", "sm_100a")
    assert not runs("sm_120", "sm_100f")
    assert not runs("sm_100", "sm_103f")
    assert runs("portable", "sm_75")
    assert not runs("portable", "sm_86")
    assert not runs("portable", "sm_80a")


@pytest.mark.parametrize("target", TARGET_ISA)
def test_oldest_isa_is_what_ptxas_says(target):
    """ptxas takes each target at the table's ISA, and at none older."""
    known = max(isa for isa, _, _ in ptxas._assemblers())
    oldest = TARGET_ISA[target]
    if oldest > known:
        pytest.skip(f"needs a ptxas that knows PTX {oldest}, Triton's knows {known}")
    name = parse_archs(target)[0]
    text = ".version {}\n.target {}\n.address_size 64\n.visible .entry k() {{ ret; }}\n"
    ptxas.assemble(text.format(oldest, target), name)
    older = max(isa for isa in {*arch.CUDA_ISA.values(), PtxIsa(6, 0)} if isa < oldest)
    with pytest.raises(CheckError, match=r"\.target sm_|requires PTX ISA|not supported"):
        ptxas.assemble(text.format(older, target), name)


def test_known_are_plain_and_sorted():
    assert KNOWN[0] == "sm_75"
    assert KNOWN[-1] == "sm_121"
    assert all(PtxTarget.parse(name).suffix == "" for name in KNOWN)
    assert TARGET_ISA["sm_90a"] <= BASE_ISA


def test_import_is_light():
    heavy = "{'triton', 'tensorrt', 'numpy'} & set(sys.modules)"
    code = f"import sys, aotfactory.core.arch, aotfactory.compiler.ptx; print(sorted({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
