# SPDX-License-Identifier: Apache-2.0
"""`aotfactory cache`, and options that must be refused before anything is built."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import Run
from small_definitions import Definitions

from aotfactory.core import cuda


@pytest.fixture
def kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a cache that holds one build."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AOTFACTORY_NO_CACHE")
    monkeypatch.delenv("AOTFACTORY_REMOTE_CACHE", raising=False)
    monkeypatch.setenv("AOTFACTORY_CACHE", str(tmp_path / "cache"))
    copy = Definitions(tmp_path)
    done = run("compile", copy.id, "--plugins", str(copy.path), "--attr", "scale=1", "--shape", "4x64")
    assert done.code == 0, done.err
    return tmp_path / "cache"


def test_info(run: Run, kept: Path) -> None:
    done = run("cache", "info", "--format", "json")
    found = json.loads(done.out)
    assert (done.code, found["schema"], found["shared"]) == (0, "aotfactory.cache/1", None)
    assert Path(found["path"]).is_relative_to(kept)
    assert found["kinds"]
    assert found["bytes"] == sum(kind["bytes"] for kind in found["kinds"].values()) > 0
    lines = run("cache", "info").out.splitlines()
    assert re.fullmatch(rf"{re.escape(found['path'])}: \d+ (bytes|KiB|MiB) of [\d.]+ GiB", lines[0])
    assert lines[1:] == [line for line in lines[1:] if re.fullmatch(r"  \w+: \d+ entries, \d+ (bytes|KiB|MiB)", line)]
    assert len(lines) == 1 + len(found["kinds"])


def test_a_shared_one_is_named(run: Run, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOTFACTORY_REMOTE_CACHE", "s3://bucket/builds")
    assert run("cache", "info").out.endswith("\nshared: s3://bucket/builds\n")
    assert json.loads(run("cache", "info", "--format", "json").out)["shared"] == "s3://bucket/builds"


def test_verify_finds_damage_and_removes_it(run: Run, kept: Path) -> None:
    whole = run("cache", "verify")
    assert whole.code == 0
    count = int(re.match(r"(\d+) entries of .* are whole\n", whole.err)[1])  # type: ignore[index]
    entries = [path for path in kept.rglob("*") if path.is_file() and path.stat().st_size > 100]
    victim = max(entries, key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    damaged = run("cache", "verify")
    assert damaged.code == 1
    assert f"damaged, and removed: {victim}\n" in damaged.err
    assert f"{count - 1} entries of " in damaged.err
    assert not victim.exists()
    assert run("cache", "verify").code == 0


def test_clean(run: Run, kept: Path) -> None:
    assert re.match(r"removed [1-9]\d* entries from ", run("cache", "clean").err)
    assert json.loads(run("cache", "info", "--format", "json").out)["kinds"] == {}


@pytest.mark.parametrize("command", ["info", "clean", "verify"])
def test_where_there_is_none(run: Run, command: str) -> None:
    done = run("cache", command)  # the tests have none
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: AOTFACTORY_NO_CACHE is set: there is no cache\n  hint: unset it")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--skip-check", "abi", "--because", "so"], "--skip-check 'abi' cannot be skipped"),
        (["--skip-check", "ptxas"], "--skip-check ptxas without a reason"),
        (["--skip-check", "ptxas", "--because", " "], "--skip-check ptxas without a reason"),
        (["--because", "so"], "1 --because for 0 --skip-check"),
        (
            ["--skip-check", "ptxas", "--skip-check", "bounds", "--because", "a", "--because", "b", "--because", "c"],
            "3 --because for 2 --skip-check",
        ),
        (["--check-time", "0"], "--check-time"),
        (["--tactic", "x"], "--tactic"),
    ],
)
def test_options_of_checks_are_refused(run: Run, options: list[str], message: str) -> None:
    done = run("compile", "circ_pad", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["tune", "circ_pad"], 3, "tactics are timed on a GPU, and this machine has none"),
        (["library", "engines/nothing.aot", "-o", "lib.so"], 2, "engines/nothing.aot is not a bundle"),
        (["validate", "engines/nothing.aot", "--require", "gpu"], 2, "--require 'gpu' is not an executor"),
        (["validate", "engines/nothing.aot", "--save-inputs", "x"], 2, "go with --model"),
        (["validate", "a.plan", "--model", "m.onnx"], 2, "--model is for bundles"),
    ],
)
def test_ends_before_anything_is_done(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cuda, "cuda_device_count", lambda: 0)
    done = run(*words)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert list(tmp_path.iterdir()) == []
