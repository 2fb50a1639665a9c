# SPDX-License-Identifier: Apache-2.0
"""The bundle on disk: the same bytes everywhere, the old one or the new one at any moment, and no damage unseen."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launcher_bundles import entry

from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.manifest import Bundle
from aotfactory.compiler.variant import Variant
from aotfactory.core import files
from aotfactory.core.errors import DamagedBundleError, DefinitionError, UsageError
from aotfactory.core.expressions import Constant, SizeTensor, Symbol, parse
from aotfactory.core.network import Call, Network, Range, Tensor

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = {
    **dict.fromkeys(("grid_y", "grid_z", "block_y", "block_z"), Constant(1)),
    "grid_x": parse("cdiv(N*8, 64)"),
    "block_x": Constant(64),
    "shared_mem": Constant(0),
}
PARAMETERS = ["ptr", "i32", "ptr", "ptr", "ptr"]
VALUES = (
    3,
    -0.5,
    True,
    "text",
    b"\x00\xff",
    np.array([1, -2]),
    np.array([0.5, math.inf], np.float16),
    np.array([True]),
)


def variant(tactic: int = 1, comment: str = "") -> Variant:
    return Variant(
        id=f"copy.sm_80.fp32-fp32.t{tactic}",
        call="copy",
        plugin="ns::copy",
        arch="sm_80",
        dtypes=("fp32", "fp32", "int32", "fp32"),
        formats=("linear",) * 4,
        tactic=tactic,
        kernel=f"copy_{tactic}",
        text=f"// {comment}\n{entry(f'copy_{tactic}', PARAMETERS)}",
        ptx_isa="7.0",
        ptx_target="sm_80",
        parameters=tuple(PARAMETERS),
        launch=LAUNCH,
        extra_args=(parse("N*8"),),
        registers=12,
        spills=0,
    )


def made(comment: str = "old", tactics: int = 3, attributes: dict[str, Any] | None = None) -> Bundle:
    upper = parse("N*8")
    tensors = (
        Tensor(name="x", role="input", dtype="fp32", shape=(Symbol("N"), Constant(8))),
        Tensor(name="y", role="output", dtype="fp32", shape=(SizeTensor(1, upper, upper), Constant(8))),
        Tensor(name="n", role="output", dtype="int32", shape=()),
        Tensor(name="z", role="output", dtype="fp32", shape=(Symbol("N"), Constant(8)), aliases="x"),
    )
    call = Call(name="copy", plugin="ns::copy", attributes=attributes or {}, inputs=("x",), outputs=("y", "n", "z"))
    ranges = {"N": Range(min=1, opt=2, max=8)}
    network = Network(name="copy", target="copy", ranges=ranges, tensors=tensors, calls=(call,))
    variants = tuple(variant(tactic, comment) for tactic in range(1, tactics + 1))
    return Bundle(network=network, variants=variants, versions={"triton": "3.9.0"})


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A bundle on disk."""
    bundles.write(made(), tmp_path / "copy.aot")
    return tmp_path / "copy.aot"


class TestRoundTrip:
    def test_what_is_read_is_what_was_written(self, there: Path) -> None:
        assert bundles.read(there) == made()

    @pytest.mark.parametrize("value", VALUES)
    def test_attributes(self, tmp_path: Path, value: Any) -> None:
        bundles.write(made(attributes={"a": value}), tmp_path)
        found = bundles.read(tmp_path).network.calls[0].attributes["a"]
        np.testing.assert_array_equal(found, value, strict=True)
        assert type(found) is type(value)

    @pytest.mark.parametrize("value", [math.nan, math.inf, np.array([math.nan], np.float32)])
    def test_the_manifest_is_json_whatever_the_attributes(self, tmp_path: Path, value: Any) -> None:
        bundles.write(made(attributes={"a": value}), tmp_path)
        json.loads((tmp_path / "manifest.json").read_text(), parse_constant=pytest.fail)
        np.testing.assert_array_equal(bundles.read(tmp_path).network.calls[0].attributes["a"], value)

    def test_a_new_bundle_leaves_nothing_of_the_old(self, there: Path) -> None:
        (there / ".manifest.json.1a2b3c4d.tmp").write_text("left by a process that was killed")
        bundles.write(made("new", tactics=1), there)
        assert bundles.read(there) == made("new", tactics=1)
        assert len(list(there.iterdir())) == 2

    def test_the_hash_is_that_of_the_manifest(self, tmp_path: Path) -> None:
        import hashlib

        digest = bundles.write(made(), tmp_path)
        assert digest == hashlib.sha256((tmp_path / "manifest.json").read_bytes()).hexdigest()

    def test_files_can_be_read_by_others(self, there: Path) -> None:
        umask = os.umask(0)
        os.umask(umask)
        assert {path.stat().st_mode & 0o777 for path in there.iterdir()} == {0o666 & ~umask}


def manifest_with(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        data = json.loads((directory / "manifest.json").read_text())
        change(data)
        (directory / "manifest.json").write_text(json.dumps(data))

    return damage


def ptx(change: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda directory: change(min(directory.glob("*.ptx"))) and None


def text(content: str) -> Callable[[Path], None]:
    return lambda directory: (directory / "manifest.json").write_text(content) and None


def escape(data: dict[str, Any]) -> None:
    data["variants"][0]["ptx"] = "../copy.aot/" + data["variants"][0]["ptx"]


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "an empty manifest": (text(""), "damaged bundle: Expecting value"),
    "half a manifest": (text('{"schema": "aotfactory.bundle/1", "na'), "damaged bundle: Unterminated string"),
    "a list": (text("[]"), 'type "object"'),
    "another schema": (text('{"schema": "aotfactory.bundle/2"}'), "schema 'aotfactory.bundle/2' is not"),
    "no tensors": (manifest_with(lambda d: d.pop("tensors")), "lacks 'tensors'"),
    "a tensor without a shape": (manifest_with(lambda d: d["tensors"][0].pop("shape")), r"tensors\[0\]: lacks 'shape'"),
    "variants of another kind": (manifest_with(lambda d: d.update(variants=5)), "variants: 5 is not what belongs here"),
    "an expression that is none": (
        manifest_with(lambda d: d["variants"][0]["extra_args"].append({})),
        r"extra_args\[1\]: \{\} is not what belongs here: an int64, a symbol",
    ),
    "a deep expression": (text('{"schema": "aotfactory.bundle/1", "tensors": ' + "[" * 100_000), "nested too deeply"),
    "a PTX file that is gone": (ptx(lambda p: p.unlink()), "No such file or directory"),
    "a PTX file that is longer": (
        ptx(lambda p: p.write_text(p.read_text() + " ")),
        "is not the file that was compiled",
    ),
    "a PTX file with other line ends": (
        ptx(lambda p: p.write_bytes(p.read_bytes().replace(b"\n", b"\r\n"))),
        "is not the file that was compiled",
    ),
    "a PTX file that is no text": (ptx(lambda p: p.write_bytes(b"\xff")), "is not the file that was compiled"),
    "a path out of the bundle": (manifest_with(escape), "the name of a file inside the bundle"),
    "a link to nothing": (
        ptx(lambda p: (p.unlink(), p.symlink_to("../elsewhere.ptx"))),
        "No such file or directory",
    ),
    "a symbolic link to something else": (
        ptx(lambda p: (p.unlink(), p.symlink_to("/dev/null"))),
        "is not a regular file",
    ),
    "a variant under another id": (
        manifest_with(lambda d: d["variants"][0].update(id="copy.sm_80.fp32-fp32.t9")),
        "is not the name of its content",
    ),
}


def test_links_to_regular_files_are_followed(there: Path) -> None:
    """As a store that names files by content lays out a folder: digests say whether the content is right."""
    before = bundles.read(there)
    for path in list(there.iterdir()):
        path.rename(there.parent / f"elsewhere.{path.name}")
        path.symlink_to(there.parent / f"elsewhere.{path.name}")
    assert bundles.read(there) == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen(damage: str, there: Path) -> None:
    do, message = DAMAGES[damage]
    do(there)
    with pytest.raises(DefinitionError, match=message) as caught:
        bundles.read(there)
    assert str(there) in str(caught.value.where)
    assert caught.value.hint == "compile it again"


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_what_is_no_bundle(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(
        UsageError,
        match=f"{name} is not a bundle: {'no such file' if name == 'nowhere' else 'it has no manifest.json'}",
    ):
        bundles.read(tmp_path / name)


class TestWhatIsNotOurs:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("notes.txt", "mine"),
            ("kernel.ptx", "mine"),
            ("copy.sm_80.fp32-fp32.t1.ptx", "mine"),
            ("work.tmp", "mine"),
            ("manifest.json", '{"name": "of a web page"}'),
            ("manifest.json", "[]"),
            ("manifest.json", ""),
            ("folder.t1.01234567.ptx/file", "mine"),
        ],
    )
    def test_is_not_touched(self, tmp_path: Path, name: str, content: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        with pytest.raises(UsageError, match="is not a bundle: it holds"):
            bundles.write(made(), tmp_path)
        assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]
        assert path.read_text() == content

    def test_a_file_in_the_bundles_place(self, tmp_path: Path) -> None:
        (tmp_path / "copy.aot").write_text("mine")
        with pytest.raises(UsageError, match=r"cannot write .*: File exists"):
            bundles.write(made(), tmp_path / "copy.aot")
        assert (tmp_path / "copy.aot").read_text() == "mine"

    def test_a_directory_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(UsageError, match=r"cannot write .*: Not a directory"):
            bundles.write(made(), tmp_path / "file" / "copy.aot")


class Stop(BaseException):
    """As sudden as a signal."""


def interrupted_writes(directory: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Write a new bundle over the old one, stopped before its k-th step, for every k; how many steps there are."""
    old, new = made(), made("new", tactics=2)
    for k in range(1, 1000):
        bundles.write(old, directory)
        steps = 0

        def counted(original: Callable[..., Any], stop_at: int = k) -> Callable[..., Any]:
            def step(*args: Any, **kwargs: Any) -> Any:
                nonlocal steps
                steps += 1
                if steps >= stop_at:
                    raise Stop
                return original(*args, **kwargs)

            return step

        with monkeypatch.context() as patch:
            for owner, name in ((os, "replace"), (os, "unlink"), (Path, "unlink"), (os, "fsync")):
                patch.setattr(owner, name, counted(getattr(owner, name)))
            try:
                bundles.write(new, directory)
            except Stop:
                pass
            else:
                return k - 1
        assert bundles.read(directory) in (old, new)
    raise AssertionError


def test_a_write_that_stops_at_any_step_leaves_the_old_or_the_new(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Three new files, each synchronised and renamed, and three old ones removed.
    assert interrupted_writes(there, monkeypatch) >= 3 * 2 + 3


def test_the_check_above_can_fail(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_place(path: Path, data: bytes) -> None:
        path.write_bytes(b"")
        os.replace(path, path)
        path.write_bytes(data)

    assert files.replace_file is bundles.replace_file
    monkeypatch.setattr(bundles, "replace_file", in_place)
    with pytest.raises(DefinitionError, match="damaged bundle"):
        interrupted_writes(there, monkeypatch)


WRITER = """
import sys
from pathlib import Path
from test_bundle import made
from aotfactory.compiler import bundle
print("ready", flush=True)
for _ in range(int(sys.argv[3])):
    for comment, tactics in ((sys.argv[2], 3), ("b", 2)):
        bundle.write(made(comment, tactics), Path(sys.argv[1]))
"""


def writer(directory: Path, comment: str, times: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(directory), comment, str(times)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/compiler")])}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_killed_writer_leaves_the_old_or_the_new(there: Path) -> None:
    rng = random.Random(0)
    for _ in range(4):
        process = writer(there, "a", 100_000)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert bundles.read(there) in (made(), made("a"), made("b", 2))
    bundles.write(made("new"), there)
    assert bundles.read(there) == made("new")
    assert len(list(there.iterdir())) == 4


def test_writers_and_readers_at_once(there: Path) -> None:
    possible = [made(), *(made(comment) for comment in "ac"), made("b", 2)]
    processes = [writer(there, comment, 15) for comment in "ac"]
    reads = 0
    while any(process.poll() is None for process in processes):
        assert bundles.read(there) in possible
        reads += 1
    assert [process.wait() for process in processes] == [0, 0]
    assert reads > 0
    assert len(list(there.iterdir())) == 3


def test_without_locks_it_works_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on network file systems that have none for directories."""

    def none(*_: Any) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr("fcntl.flock", none)
    bundles.write(made(), tmp_path)
    assert bundles.read(tmp_path) == made()


def test_a_reader_waits_for_the_writer(there: Path) -> None:
    import fcntl

    with bundles._locked(there, fcntl.LOCK_EX):
        found: list[Bundle] = []
        reader = threading.Thread(target=lambda: found.append(bundles.read(there)))
        reader.start()
        reader.join(0.1)
        assert found == []
    reader.join()
    assert found == [made()]


def test_equal_bundles_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        bundles.write(made(attributes={"b": 1, "a": np.array([1, 2])}), tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    changed = dataclasses.replace(made(), versions={"triton": "3.5.0"})
    assert bundles.write(changed, tmp_path / "one") != bundles.write(made(), tmp_path / "two")


def test_the_very_same_bundle_is_not_written_again(tmp_path: Path) -> None:
    digest = bundles.write(made(), tmp_path / "a.aot")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "a.aot").iterdir()}
    assert bundles.write_once(made(), tmp_path / "a.aot") == digest == bundles.digest(tmp_path / "a.aot")
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "a.aot").iterdir()} == before
    other = bundles.write_once(made("new"), tmp_path / "a.aot")
    assert other != digest
    assert bundles.read(tmp_path / "a.aot") == made("new")


def stranger(there: Path) -> None:
    (there / ".manifest.json.1a2b3c4d.tmp").write_text("left by a process that was killed")


def other_versions(there: Path) -> None:
    manifest_with(lambda data: data.update(versions={"triton": "3.5.0"}))(there)


@pytest.mark.parametrize("change", [stranger, other_versions, ptx(lambda p: p.write_text("")), ptx(Path.unlink), None])
def test_what_is_not_the_very_same_bundle_is_written(change: Callable[[Path], object] | None, tmp_path: Path) -> None:
    whole = tmp_path / "whole.aot"
    digest = bundles.write(made(), whole)
    there = tmp_path / "out" / "of" / "nothing.aot"
    if change is not None:
        bundles.write(made(), there)
        change(there)
        assert contents(there) != contents(whole)
    assert bundles.write_once(made(), there) == digest
    assert contents(there) == contents(whole)


def test_a_directory_of_bundles_is_told_from_one(there: Path) -> None:
    with pytest.raises(UsageError, match=r"it has no manifest\.json") as caught:
        bundles.read(there.parent)
    assert caught.value.hint == "it holds copy.aot: name one of them"


def test_no_bundle_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert bundles.digest(tmp_path / "nothing.aot") is bundles.digest(tmp_path / "file") is None


def test_the_file_that_is_missing_is_named(there: Path) -> None:
    gone = min(there.glob("*.ptx"))
    gone.unlink()
    with pytest.raises(DamagedBundleError, match="No such file") as caught:
        bundles.read(there)
    assert caught.value.where == str(gone)


def test_checks_that_did_not_count_are_kept(tmp_path: Path) -> None:
    assert "skipped_checks" not in bundles.manifest(made())
    told = dataclasses.replace(made(), skipped={"ptxas": "a newer one takes it"})
    bundles.write(told, tmp_path / "a.aot")
    assert bundles.read(tmp_path / "a.aot").skipped == told.skipped
