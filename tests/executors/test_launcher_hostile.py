# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile bundles: the launcher refuses each with exit code 5 and says where the mistake is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import launcher_bundles as bundles
import pytest

from aotfactory.core.errors import DefinitionError, UsageError
from aotfactory.executors.native.launcher import build_launcher, run_launcher

pytestmark = pytest.mark.launcher


@pytest.fixture(scope="module")
def launcher() -> Path:
    return build_launcher()


def refused(launcher: Path, bundle: Path, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        run_launcher(bundle, launcher=launcher, dry_run=True)


def nested(depth: int) -> Any:
    expression: Any = 1
    for _ in range(depth):
        expression = ["sum", expression, 1]
    return expression


def wide(depth: int) -> Any:
    return 1 if depth == 0 else ["sum", wide(depth - 1), wide(depth - 1)]


SIZE = {
    "tensors": [
        bundles.tensor("x", "input", ["N", 8]),
        bundles.tensor("y", "output", [["size_tensor", 1, "N", "N"], 8]),
        bundles.tensor("s", "output", [], "int32"),
    ],
    "calls": [{"name": "call", "plugin": "p", "attributes": {}, "inputs": ["x"], "outputs": ["y", "s"]}],
    "variants": [
        bundles.variant(parameters=["ptr", "i32", "ptr", "ptr"], dtypes=["fp32", "fp32", "int32"]),
    ],
}


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Sets the value at a path, as ("variants", 0, "tactic", -1) does for the tactic."""
    *steps, last, value = path

    def change(manifest: Any) -> None:
        for step in steps:
            manifest = manifest[step]
        manifest[last] = value

    return change


def remove(*path: Any) -> Callable[[dict[str, Any]], None]:
    *steps, last = path

    def change(manifest: Any) -> None:
        for step in steps:
            manifest = manifest[step]
        del manifest[last]

    return change


V, T, C = ("variants", 0), ("tensors", 1), ("calls", 0)
CHANGES = {
    "schema": (put("schema", "aotfactory.bundle/2"), "reads aotfactory.bundle/1, not 'aotfactory.bundle/2'"),
    "missing key": (remove(*V, "launch"), r"variants\[0\]: lacks 'launch'"),
    "type": (put(*V, "tactic", "1"), r"variants\[0\].tactic: must be an integer, is string"),
    "float": (put(*V, "tactic", 1.0), "must be an integer"),
    "bool": (put(*V, "tactic", True), "must be an integer, is boolean"),
    "negative": (put(*V, "tactic", -1), "-1 is not within 0 and"),
    "too big for int64": (put(*V, "tactic", 2**63), "9223372036854775808 is not within"),
    "list for object": (put("symbols", []), "symbols: must be an object, is array"),
    "control character": (put("name", "a\x1b[31m"), r"name: 'a\\x1b\[31m' has a control character"),
    "zero byte in a name": (put(*T, "name", "y\0"), "has a control character"),
    "long name": (put(*T, "name", "y" * 300), "must have 1 to 240 bytes, has 300"),
    "profile": (put("symbols", "N", "max", 1), "min <= opt <= max does not hold"),
    "symbol name": (put("symbols", {"N": {"min": 1, "opt": 1, "max": 1}, "a b": {}}), "ASCII identifier"),
    "unbound symbol": (
        put("symbols", "K", {"min": 1, "opt": 1, "max": 1}),
        "shapes do not tell the symbol 'K'",
    ),
    "unknown symbol": (put(*T, "shape", ["Q"]), r"tensors\[1\].shape\[0\]: unknown symbol 'Q'"),
    "unknown operation": (put(*T, "shape", [["pow", 2, 2]]), "unknown operation 'pow'"),
    "operands": (put(*T, "shape", [["sum", 2]]), "sum takes two operands"),
    "expression type": (put(*T, "shape", [None]), "an expression is an integer, a symbol or"),
    "deep expression": (put(*T, "shape", [nested(210)]), "an expression deeper than 200"),
    "large expression": (put(*T, "shape", [wide(12)]), "larger than 4096 terms"),
    "deep JSON": (put("versions", json.loads("[" * 500 + "]" * 500)), "nested deeper than 256"),
    "division by zero": (put(*T, "shape", [["floor_div", "N", 0]]), "division by zero"),
    "int64 overflow": (put(*T, "shape", [["prod", 2**62, "N"]]), "a value outside int64"),
    "lowest int64 by -1": (put(*T, "shape", [["ceil_div", -(2**63), -1]]), "a value outside int64"),
    "negative dimension": (put(*T, "shape", [["sub", 0, "N"]]), "dimension of -100"),
    "huge tensor": (put(*T, "shape", [2**31 - 1, 2**31 - 1, 2**31 - 1]), "larger than 1099511627776 bytes"),
    "huge but empty": (put(*T, "shape", [0, 2**31 - 1, 2**31 - 1, 2**31 - 1]), "larger than 1099511627776 bytes"),
    "rank": (put(*T, "shape", [1] * 9), "more than 8 items"),
    "dtype": (put(*T, "dtype", "fp64"), "unknown dtype 'fp64'"),
    "role": (put(*T, "role", "scratch"), "must be input, output or internal"),
    "same name": (put(*T, "name", "x"), "two tensors are named 'x'"),
    "unknown tensor": (put(*C, "inputs", ["z"]), "unknown tensor 'z'"),
    "input made by a call": (put(*C, "outputs", ["x"]), "'x' is already made"),
    "made twice": (put(*C, "outputs", ["y", "y"]), "names 'y' twice"),
    "used before made": (put(*C, "inputs", ["y"]), "'y' is used before a call makes it"),
    "no outputs": (put(*C, "outputs", []), "a call needs an output"),
    "no calls": (put("calls", []), "a bundle needs a call"),
    "nothing makes it": (put("tensors", 0, "role", "internal"), "shapes do not tell the symbol 'N'"),
    "alias of itself": (put(*T, "aliases", "y"), "'y' does not exist before the call"),
    "alias of nothing": (put(*T, "aliases", "z"), "unknown tensor 'z'"),
    "alias of an input": (put("tensors", 0, "aliases", "y"), "an input can't share"),
    "alias dtype": (lambda m: (put(*T, "aliases", "x")(m), put(*T, "dtype", "fp16")(m)), "need the same dtype"),
    "alias shape": (lambda m: (put(*T, "aliases", "x")(m), put(*T, "shape", [7])(m)), "the shapes differ"),
    "unknown call": (put(*V, "call", "other"), "'other' is not a call"),
    "arch": (put(*V, "arch", "sm_90a"), "'sm_90a' is not portable or sm_ and a number"),
    "entry": (put(*V, "kernel", "a b"), "'a b' is not an entry's name"),
    "no such entry": (put(*V, "kernel", "other"), "entry 'other' is not in it"),
    "digest form": (put(*V, "sha256", "0" * 63), "is not a SHA-256"),
    "digest": (put(*V, "sha256", "0" * 64), "copy.ptx: its SHA-256 is not the manifest's"),
    "size": (put(*V, "ptx_bytes", 7), "bytes, the manifest says 7"),
    "formats": (put(*V, "formats", ["linear"]), "one entry for each of the call's 2 tensors"),
    "parameters": (put(*V, "parameters", ["ptr", "ptr"]), "one i32, i64 or fp32 for each extra argument"),
    "extra arguments": (put(*V, "extra_args", []), "one i32, i64 or fp32 for each extra argument"),
    "int32": (put(*V, "extra_args", [2**31]), "extra argument 2147483648 does not fit an int32"),
    "grid": (put(*V, "launch", "grid_y", 65536), "grid_y = 65536 is not within 0 and 65535"),
    "negative grid": (put(*V, "launch", "grid_x", -1), "grid_x = -1 is not within"),
    "empty block": (put(*V, "launch", "block_x", 0), "block_x = 0 is not within 1 and 1024"),
    "threads": (put(*V, "launch", "block_y", 2), "more than 1024 threads"),
    "shared memory": (put(*V, "launch", "shared_mem", 2**21), "shared_mem = 2097152 is not within"),
    "same id": (lambda m: m["variants"].append(dict(m["variants"][0])), r"variants\[1\].id: .* is not unique"),
}
PATHS = ["../secret.ptx", "/etc/passwd", "sub/copy.ptx", "..", ".", ".hidden", "a\\b", "copy.ptx\0"]


@pytest.mark.parametrize("name", CHANGES)
def test_refused(launcher: Path, tmp_path: Path, name: str) -> None:
    change, message = CHANGES[name]
    bundle = bundles.write(tmp_path, bundles.manifest())
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    refused(launcher, bundle, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("tensors", 1, "shape", 0, 1, 5), "the call has no output 5"),
        (put("tensors", 1, "shape", 0, 1, 0), "'y' is not a scalar of type int32 or int64"),
        (put("tensors", 2, "dtype", "fp32"), "'s' is not a scalar of type int32 or int64"),
        (put("tensors", 1, "shape", 0, ["sum", ["size_tensor", 1, 1, 1], 1]), "can only be a whole dimension"),
        (put("tensors", 1, "shape", 0, ["size_tensor", 1]), "a size tensor is"),
        (put("tensors", 0, "shape", 0, ["size_tensor", 1, 1, 1]), "an input can't have a data-dependent dimension"),
        (put("variants", 0, "extra_args", 0, ["size_tensor", 1, 1, 1]), "can only be a whole dimension"),
        (put("tensors", 1, "aliases", "x"), "no data-dependent dimension"),
    ],
)
def test_size_tensors(launcher: Path, tmp_path: Path, change: Any, message: str) -> None:
    manifest = bundles.manifest(**json.loads(json.dumps(SIZE)))
    bundles.write(tmp_path, manifest)
    assert run_launcher(tmp_path, launcher=launcher, dry_run=True).passed
    change(manifest)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    refused(launcher, tmp_path, message)


@pytest.mark.parametrize("name", PATHS)
def test_paths_stay_in_the_bundle(launcher: Path, tmp_path: Path, name: str) -> None:
    variant = bundles.variant()
    (tmp_path / "secret.ptx").write_text(variant.pop("text"))
    variant["ptx"] = name
    refused(launcher, bundles.write(tmp_path / "bundle", bundles.manifest(variant)), "ptx: ")


@pytest.mark.parametrize("name", ["copy.ptx", "manifest.json"])
def test_links_lead_to_regular_files(launcher: Path, tmp_path: Path, name: str) -> None:
    bundle = bundles.write(tmp_path / "bundle", bundles.manifest())
    os.rename(bundle / name, tmp_path / name)
    (bundle / name).symlink_to(tmp_path / name)
    assert run_launcher(bundle, launcher=launcher, dry_run=True).passed
    os.rename(tmp_path / name, tmp_path / "gone")
    refused(launcher, bundle, f"{name}: No such file")
    os.mkfifo(tmp_path / name)  # must not wait for a writer
    refused(launcher, bundle, f"{name}: not a regular file")
    (bundle / name).unlink()
    (bundle / name).symlink_to(name)
    refused(launcher, bundle, f"{name}: Too many levels")


def test_what_is_no_file(launcher: Path, tmp_path: Path) -> None:
    bundle = bundles.write(tmp_path, bundles.manifest())
    (bundle / "copy.ptx").unlink()
    refused(launcher, bundle, "copy.ptx: No such file")
    os.mkfifo(bundle / "copy.ptx")  # must not wait for a writer
    refused(launcher, bundle, "copy.ptx: not a regular file")
    (bundle / "copy.ptx").unlink()
    (bundle / "copy.ptx").mkdir()
    refused(launcher, bundle, "copy.ptx: not a regular file")


def test_no_bundle(launcher: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a bundle: No such file"):
        run_launcher(tmp_path / "nothing", launcher=launcher, dry_run=True)
    refused(launcher, tmp_path, "manifest.json: No such file")


def test_large_files(launcher: Path, tmp_path: Path) -> None:
    bundle = bundles.write(tmp_path, bundles.manifest())
    os.truncate(bundle / "copy.ptx", 65 << 20)
    refused(launcher, bundle, "copy.ptx: larger than 67108864 bytes")
    os.truncate(bundle / "manifest.json", 17 << 20)
    refused(launcher, bundle, "manifest.json: larger than 16777216 bytes")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'{"schema": "\xff"}', b"\xef\xbb\xbf", b"{} {}"])
def test_no_json_object(launcher: Path, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(text)
    refused(launcher, tmp_path, "not JSON|must be an object|lacks 'schema'")


class TestPtx:
    @staticmethod
    def bundle(path: Path, ptx: str) -> Path:
        return bundles.write(path, bundles.manifest(bundles.variant(ptx=ptx)))

    @pytest.mark.parametrize(
        "ptx",
        [
            bundles.entry("copy", ["ptr", "i32", "ptr"]),
            ".entry other(.param .u64 a)\n{ret;}\n.entry copy (.param .b64 a,.param .s32 b,.param .u64 c) {ret;}",
            ".entry/* .entry copy() */copy(.param .u64 a, // , .param .u32 no\n.param .u32 b, .param .u64 c)",
        ],
    )
    def test_accepted(self, launcher: Path, tmp_path: Path, ptx: str) -> None:
        assert run_launcher(self.bundle(tmp_path, ptx), launcher=launcher, dry_run=True).passed

    @pytest.mark.parametrize(
        ("ptx", "message"),
        [
            (bundles.entry("copy", ["ptr", "i32", "ptr", "ptr", "ptr"]),
             r"takes 5 parameters \(ptr, i32, 3 x ptr\), the call passes 3 parameters \(ptr, i32, ptr\)"),
            (bundles.entry("copy", ["ptr", "ptr", "i32"]), "takes 3 parameters"),
            (bundles.entry("copy", []), r"takes 0 parameters \(\)"),
            (".entry copy(.param .u64 a, .param .f32 b, .param .u64 c)", r"\(ptr, \.f32, ptr\)"),
            (".entry copy(.param .u64 a, .param .u32 b[4], .param .u64 c)", r"\(ptr, i32\[\], ptr\)"),
            (".entry copy(.param .u64 a, .param \x1b b, .param .u64 c)", r"\(ptr, \?, ptr\)"),
            (".entry copy(.param .u64", "takes 1 parameters"),
            (".func copy(.param .u64 a, .param .u32 b, .param .u64 c)", "is not in it"),
            ("// .entry copy(.param .u64 a, .param .u32 b, .param .u64 c)", "is not in it"),
            (bundles.entry("copy_2", ["ptr", "i32", "ptr"]), "is not in it"),
            (bundles.entry("copy", ["ptr", "i32", "ptr"]) + "\0", "holds a zero byte"),
        ],
    )  # fmt: skip
    def test_refused(self, launcher: Path, tmp_path: Path, ptx: str, message: str) -> None:
        refused(launcher, self.bundle(tmp_path, ptx), message)
