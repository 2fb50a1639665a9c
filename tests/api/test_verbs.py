# SPDX-License-Identifier: Apache-2.0
"""The Python API: the verbs as functions of the package, and what authors import from it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

import aotfactory


def test_build_gives_what_the_json_has(tmp_path: Path) -> None:
    built = aotfactory.build("circ_pad", shape=(1, 3, 16, 16), dtype="fp16", arch="sm_90", out=tmp_path)
    manifest = json.loads((tmp_path / "circ_pad.aot" / "manifest.json").read_bytes())
    assert built.path == tmp_path / "circ_pad.aot"
    assert [v.id for v in built.bundle.variants] == [v["id"] for v in manifest["variants"]]
    assert manifest["tensors"][0]["dtype"] == "fp16"
    assert built.checks
    assert not built.failed
    assert built.baked is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        built.path = None  # type: ignore[misc]


@pytest.mark.parametrize("shape", ["1x3x16x16", (1, 3, 16, 16), {"x": "1x3x16x16"}, {"x": [1, 3, 16, 16]}])
def test_a_shape_may_be_text_or_numbers_by_name_or_bare(shape: object, tmp_path: Path) -> None:
    built = aotfactory.compile("circ_pad", shape=shape, tactic=1, arch="sm_80", out=str(tmp_path))  # type: ignore[arg-type]
    assert [int(str(d)) for d in built.bundle.network.tensor("x").shape] == [1, 3, 16, 16]


def test_validate(tmp_path: Path) -> None:
    path = aotfactory.compile("circ_pad", shape="1x2x3x5", tactic=1, arch="sm_80", out=tmp_path).path
    assert path is not None
    result = aotfactory.validate(path, executors=["interpreter"])
    assert {check.status for check in result.checks} == {"passed"}
    assert not result.failed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda out: aotfactory.build("circ_pad", shape="1x-3", out=out), "'1x-3' is not a shape"),
        (lambda out: aotfactory.build("circ_pad", shape=(1, 3, -16, 16), out=out), "'1x3x-16x16' is not a shape"),
        (lambda out: aotfactory.compile("circ_pad", arch="sm_1", out=out), "unknown architecture 'sm_1'"),
        (lambda out: aotfactory.bake(out / "no.aot"), "is not a bundle"),
        (lambda out: aotfactory.validate(out / "no.plan"), "no such plan"),
        (lambda out: aotfactory.run(out / "no.aot"), "is not a bundle"),
    ],
)
def test_errors_are_of_one_family(call: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(aotfactory.AotError, match=message):
        call(tmp_path)  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []


def test_every_public_name_is_there() -> None:
    assert {"build", "compile", "bake", "validate", "run", "tune", "aot_kernel", "Recipe", "trtp"} <= set(
        aotfactory.__all__
    )
    for name in aotfactory.__all__:
        assert getattr(aotfactory, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'buidl'"):
        _ = aotfactory.buidl


def test_python_m() -> None:
    done = subprocess.run([sys.executable, "-m", "aotfactory", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: ")
    assert "build" in done.stdout
