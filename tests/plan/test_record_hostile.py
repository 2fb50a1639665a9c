# SPDX-License-Identifier: Apache-2.0
"""Records and rankings made to do harm: each is refused with its place, before anything is done for it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aotfactory.api import tune
from aotfactory.core.errors import AotError, CheckError, DefinitionError, UsageError
from aotfactory.plan import record as provenance
from aotfactory.plan.plan_file import PlanFile

Json = dict[str, Any]
PLAN = b"a plan"
DIGEST = hashlib.sha256(PLAN).hexdigest()


def network() -> Json:
    return {
        "symbols": {},
        "tensors": [
            {"name": "x", "role": "input", "dtype": "fp32", "shape": [2], "aliases": None},
            {"name": "y", "role": "output", "dtype": "fp32", "shape": [2], "aliases": None},
        ],
        "calls": [{"name": "c", "plugin": "n::c", "attributes": {}, "inputs": ["x"], "outputs": ["y"]}],
    }


def record() -> Json:
    return {
        "schema": "aotfactory.plan/1",
        "name": "c",
        "target": "n::c",
        "plan": {"path": "c.plan", "sha256": DIGEST, "bytes": len(PLAN)},
        "bundle": {"path": "/nowhere/c.aot", "sha256": DIGEST},
        "versions": {"tensorrt": "11.4.0.106", "bundle": {}},
        "gpu": {"name": None, "arch": "sm_90", "kernels_for": "sm_90"},
        "options": {"jit": False, "version_compatible": False, "exclude_lean_runtime": False},
        "model": None,
        "flags": [],
        "inputs": {"x": {"min": [2], "opt": [2], "max": [2]}},
        "outputs": ["y"],
        "network": network(),
        "kernels": [{"id": "c.t1", "call": "c", "tactic": 1, "kernel": "c", "sha256": DIGEST, "in_plan": True}],
        "messages": [],
        "checks": [{"name": "runner", "subject": "c", "status": "passed", "detail": ""}],
    }


def written(folder: Path, content: Json | bytes) -> Path:
    plan = folder / "c.plan"
    plan.write_bytes(PLAN)
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    provenance.record_path(plan).write_bytes(text)
    return plan


def put(value: Any, *path: str | int) -> Callable[[Json], None]:
    def change(data: Any) -> None:
        for step in path[:-1]:
            data = data[step]
        data[path[-1]] = value

    return change


RECORDS: dict[str, tuple[Callable[[Json], None], str]] = {
    "a check that is a text": (put(["passed"], "checks"), r"checks\[0\]"),
    "a check of another status": (put("[bold]", "checks", 0, "status"), r"checks\[0\]\.status"),
    "a version of no numbers": (put("eleven", "versions", "tensorrt"), r"versions\.tensorrt"),
    "a version of one number": (put("11", "versions", "tensorrt"), r"versions\.tensorrt"),
    "a version of 5000 digits": (put("9" * 5000 + ".1", "versions", "tensorrt"), r"versions\.tensorrt"),
    "a path of 10,000 characters": (put("x" * 10_000, "bundle", "path"), r"bundle\.path"),
    "a path with a NUL": (put("a\0b", "bundle", "path"), r"bundle\.path"),
    "half of a pair": (put("\ud800", "target"), "half of a surrogate pair"),
    "a name that leaves": (put("../../c", "name"), r"json\.name"),
    "a shape of texts": (put({"min": "2", "opt": "2", "max": "2"}, "inputs", "x"), "inputs.x"),
    "a shape of rank 9": (put([1] * 9, "inputs", "x", "opt"), "limit rank"),
    "a profile of other points": (put({"min": [1], "opt": [1], "max": [1], "most": [1]}, "inputs", "x"), "inputs.x"),
    "options of texts": (put("no", "options", "jit"), r"options\.jit"),
    "a network that is none": (put([], "network"), "network"),
    "a network that contradicts itself": (
        put(["q"], "network", "calls", 0, "inputs"),
        "'q' is used by c before a call makes it",
    ),
    "an attribute of two gigabytes": (
        put({"a": {"type": "S2000000000[]", "value": [1]}}, "network", "calls", 0, "attributes"),
        "an attribute has a type",
    ),
    "kernels that are numbers": (put([1], "kernels"), r"kernels\[0\]"),
    "a digest that is none": (put("0" * 63, "plan", "sha256"), r"plan\.sha256"),
    "a size below zero": (put(-1, "plan", "bytes"), r"plan\.bytes"),
    "messages that are lists": (put([[]], "messages"), r"messages\[0\]"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_record_is_refused_with_its_place(case: str, tmp_path: Path) -> None:
    change, message = RECORDS[case]
    data = record()
    change(data)
    plan = written(tmp_path, data)
    for use in (provenance.verified, PlanFile.read):
        with pytest.raises(DefinitionError, match=message) as caught:
            use(plan)
        assert str(plan) in str(caught.value.where)


@pytest.mark.parametrize(
    "content", [b"", b"[" * 100_000, b"\xff\xfe", b'{"a": NaN}', b'{"a": ' + b"9" * 5000 + b"}", b"null", b'"x"']
)
def test_a_record_that_is_no_json(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"c\.plan\.json"):
        provenance.read(written(tmp_path, content))


def test_a_good_record_is_read(tmp_path: Path) -> None:
    plan = written(tmp_path, record())
    assert provenance.verified(plan) == record()
    assert PlanFile.read(plan).version == (11, 4)


@pytest.mark.parametrize("which", ["c.plan", "c.plan.json"])
@pytest.mark.parametrize("kind", ["pipe", "device", "sparse"])
def test_pipes_devices_and_sparse_files(kind: str, which: str, tmp_path: Path) -> None:
    written(tmp_path, record())
    path = tmp_path / which
    if kind == "sparse":
        os.truncate(path, 2**40)
    else:
        path.unlink()
        os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(AotError, match=r"regular file|larger than|no such plan"):
        provenance.verified(tmp_path / "c.plan")


def test_a_bundle_path_that_is_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "b.aot").mkdir()
    os.mkfifo(tmp_path / "b.aot" / "manifest.json")
    data = record()
    put(str(tmp_path / "b.aot"), "bundle", "path")(data)
    with pytest.raises(DefinitionError, match="not a regular file"):
        provenance.verified(written(tmp_path, data))


def test_a_plan_of_other_bytes(tmp_path: Path) -> None:
    plan = written(tmp_path, record())
    for content in (b"another plan", b"short", b"b plan"):
        plan.write_bytes(content)
        with pytest.raises(CheckError, match="is not the plan of this record"):
            provenance.verified(plan)


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"c\.plan\.json\.bundle\.path"):
        provenance._text({**record(), "bundle": {"path": "x" * 5000, "sha256": DIGEST}}, tmp_path / "c.plan")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"schema": "aotfactory.tuning/1"}', "lacks 'rankings'"),
        (b'{"schema": "aotfactory.tuning/1", "rankings": 5}', "rankings: 5"),
        (b'{"schema": "aotfactory.tuning/1", "rankings": [{"name": "c"}]}', r"rankings\[0\]: lacks"),
        (
            json.dumps(
                {
                    "schema": "aotfactory.tuning/1",
                    "rankings": [{"name": "c", "gpu": "g", "network": network(), "shapes": {}, "tactics": []}],
                }
            ).encode(),
            "tactics: must contain at least 1",
        ),
    ],
)
def test_rankings(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.tuning.json").write_bytes(content)
    with pytest.raises(DefinitionError, match=message):
        tune.read(tmp_path / "c.tuning.json")


def test_rankings_that_are_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.tuning.json")
    with pytest.raises((DefinitionError, UsageError), match="not a regular file"):
        tune.read(tmp_path / "c.tuning.json")
