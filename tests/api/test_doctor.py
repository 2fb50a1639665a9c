# SPDX-License-Identifier: Apache-2.0
"""`aotfactory doctor`: what it says of this machine, and of machines that are broken in some way."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from commands import Run

from aotfactory.api import doctor
from aotfactory.core import cuda
from aotfactory.core.errors import MissingError
from aotfactory.plugins import tensorrt_api


def found(name: str) -> doctor.Finding:
    return next(finding for finding in doctor.examine() if finding.name == name)


def test_everything_is_looked_at_and_what_is_wrong_has_a_remedy() -> None:
    findings = doctor.examine()
    assert [f.name for f in findings] == [
        *("python", "environment", "triton", "tensorrt", "gpu", "launcher", "trtexec", "nvrtc"),
        *("cache", "triton cache", "working directory"),
    ]
    for finding in findings:
        assert finding.status == "ok" or finding.remedy, finding


def test_json_and_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("doctor", "--format", "json")
    report = json.loads(done.out)
    assert report["schema"] == "aotfactory.doctor/1"
    assert set(report["findings"][0]) == {"name", "status", "detail", "remedy"}
    assert done.code == 0
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = run("doctor")
    assert done.code == 3
    assert "unset TRITON_INTERPRET" in done.out


def test_nothing_private_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AOTFACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AOTFACTORY_REMOTE_CACHE", "s3://someone:hunter2@bucket")
    text = "\n".join(f"{f.detail} {f.remedy}" for f in doctor.examine())
    assert str(tmp_path) not in text
    assert "AOTFACTORY_CACHE=~/cache" in text
    assert "hunter2" not in text


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/1").exists(), reason="no directory that refuses root")
@pytest.mark.parametrize(("variable", "name"), [("AOTFACTORY_CACHE", "cache"), ("TRITON_CACHE_DIR", "triton cache")])
def test_a_directory_that_cannot_be_written(variable: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "/proc/1/cache")
    finding = found(name)
    assert (finding.status, finding.remedy) == ("failure", f"set {variable} to a directory that can be written")


def test_a_full_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOW_DISK", 2**62)
    assert found("cache").status == "warning"


@pytest.mark.parametrize(
    ("version", "kind", "status"),
    [("11.4.0", "full", "ok"), ("10.14.1", "full", "failure"), ("10.8.0", "full", "failure")],
)
def test_versions_of_tensorrt(version: str, kind: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tensorrt_api.TensorRT(kind=kind, version=version, trt=None, trtp=None)  # type: ignore[arg-type]
    monkeypatch.setattr(tensorrt_api, "load", lambda: loaded)
    assert found("tensorrt").status == status


def test_no_tensorrt_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise MissingError("none here", hint="get one")

    monkeypatch.setattr(tensorrt_api, "load", load)
    finding = found("tensorrt")
    assert (finding.status, finding.detail, finding.remedy) == ("failure", "none here", "get one")


def test_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "driver_version", lambda: 13000)
    monkeypatch.setattr(cuda, "cuda_device_count", lambda: 1)
    monkeypatch.setattr(cuda, "compute_capability", lambda: (9, 0))
    monkeypatch.setattr(cuda, "gpu_name", lambda: "NVIDIA H100")
    assert found("gpu").detail == "NVIDIA H100 (sm_90), driver for CUDA 13.0, newest PTX ISA 9.0"


def test_tools_of_the_launcher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("AOTFACTORY_LAUNCHER", raising=False)
    finding = found("launcher")
    assert (finding.status, finding.detail) == (
        "warning",
        "it cannot be built here: cmake, make, a C++ compiler missing",
    )
    monkeypatch.setenv("AOTFACTORY_LAUNCHER", str(tmp_path))
    assert found("launcher").status == "failure"


def test_one_broken_part_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("odd machine")

    monkeypatch.setattr(cuda, "driver_version", broken)
    findings = {f.name: f for f in doctor.examine()}
    assert findings["gpu"].detail == "RuntimeError: odd machine"
    assert "cache" in findings
