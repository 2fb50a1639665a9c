# SPDX-License-Identifier: Apache-2.0
"""Manifests and PTX files made to do harm: each is refused, with its place, before anything is done for it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_bundle import made

from aotfactory.compiler import bundle as bundles
from aotfactory.core.errors import AotError, DefinitionError
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Network

Json = dict[str, Any]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    bundles.write(made(), tmp_path / "copy.aot")
    return tmp_path / "copy.aot"


def first(data: Json, *path: str | int) -> Any:
    for step in path:
        data = data[step]  # type: ignore[index]
    return data


def put(value: Any, *path: str | int) -> Callable[[Json], None]:
    def change(data: Json) -> None:
        first(data, *path[:-1])[path[-1]] = value

    return change


MANIFESTS: dict[str, tuple[Callable[[Json], Any], str]] = {
    **{
        f"a bundle called {name[:12]!r}": (put(name, "name"), r"manifest\.json\.name: ")
        for name in (
            "../../x",
            "/tmp/x",
            "..",
            ".",
            ".hidden",
            "a/b",
            "",
            "x" * 201,
            "é" * 101,
            "a\nb",
            "a\0b",
            5,
            None,
        )
        if isinstance(name, str)
    },
    "a name that is a number": (put(5, "name"), r"manifest\.json\.name: 5"),
    "an attribute of two gigabytes": (
        put({"type": "S2000000000[]", "value": ["x"]}, "calls", 0, "attributes", "a"),
        "an attribute has a type",
    ),
    **{
        f"an attribute of type {kind}": (
            put({"type": kind, "value": value}, "calls", 0, "attributes", "a"),
            "an attribute has a type",
        )
        for kind, value in {
            "O[]": ["x"],
            "V8[]": [1],
            "f4,i4[]": [1],
            "datetime64[]": [1],
            "U9[]": ["x"],
            "int": "1",
            "bool": 1,
            "bytes": "zz",
            "float": "1e5",
            "str": 7,
            "complex64[]": [1],
            "int32[]": "12",
        }.items()
    },
    "an array that is ragged": (
        put({"type": "int32[]", "value": [[1], [1, 2]]}, "calls", 0, "attributes", "a"),
        r"attribute copy\.a is not int32\[\]",
    ),
    "an array of other elements": (
        put({"type": "int8[]", "value": [1, "2"]}, "calls", 0, "attributes", "a"),
        r"attribute copy\.a is not int8\[\]",
    ),
    "an array beyond its type": (
        put({"type": "int8[]", "value": [1000]}, "calls", 0, "attributes", "a"),
        r"attribute copy\.a is not int8\[\]",
    ),
    "no variants": (put([], "variants"), r"variants: must contain at least 1"),
    "no calls": (put([], "calls"), r"calls: must contain at least 1"),
    "fewer data types than tensors": (put(["fp32"], "variants", 0, "dtypes"), "one entry for each of 4 tensors"),
    "a data type that is none": (put(["fp33"] * 4, "variants", 0, "dtypes"), "fp33"),
    "a rank that is too high": (put([1] * 9, "tensors", 0, "shape"), "more than 8 .limit rank."),
    "a half of a pair": (put("\ud800", "target"), "half of a surrogate pair"),
    "an escape sequence": (put("\x1b]0;title\x07", "target"), "control character"),
    "a tactic that is a float": (put(1.0, "variants", 0, "tactic"), "1.0"),
    "a tactic that is true": (put(True, "variants", 0, "tactic"), "True"),
    "a launch without a field": (lambda d: d["variants"][0]["launch"].pop("block_y"), "lacks 'block_y'"),
    "a dimension that is unknown": (put("Q", "variants", 0, "launch", "grid_x"), "dimension Q, which is not in"),
    "a call that is unknown": (put("other", "variants", 0, "call"), "no call 'other'"),
    "a call of another plugin": (put("ns::other", "variants", 0, "plugin"), "no call 'copy' of ns::other"),
    "a call without a variant": (
        lambda d: d["variants"].clear() or d["variants"].append({}),  # type: ignore[func-returns-value]
        "lacks 'id'",
    ),
    "parameters of another order": (put(["i32", "ptr", "ptr", "ptr", "ptr"], "variants", 0, "parameters"), "one ptr"),
    "more parameters": (put(["ptr"] * 99, "variants", 0, "parameters"), "one ptr for each input"),
    "a variant twice": (lambda d: d["variants"].append(d["variants"][0]), "two variants are called"),
    "a tensor twice": (lambda d: d["tensors"].append(d["tensors"][0]), "two tensors are named 'x'"),
    "an alias to nothing": (put("nothing", "tensors", 3, "aliases"), "does not exist before it"),
    "an input that aliases": (put("z", "tensors", 0, "aliases"), "the input 'x' is made by a call"),
    "an output that is never made": (put(["y", "n"], "calls", 0, "outputs"), "no call makes 'z'"),
    "an input from nowhere": (put(["w"], "calls", 0, "inputs"), "'w' is used by copy before a call makes it"),
    "a size from no output": (
        put(["size_tensor", 7, 1, 2], "tensors", 1, "shape", 0),
        "copy has no output 7 for a size",
    ),
    "a size that is no number": (
        put(["size_tensor", 2, 1, 2], "tensors", 1, "shape", 0),
        "'z' is not a scalar",
    ),
    "a profile upside down": (put(9, "symbols", "N", "min"), "min <= opt <= max does not hold"),
    "a symbol of code": (put({"min": 1, "opt": 1, "max": 1}, "symbols", "__import__('os')"), "symbols"),
    "a number of 5000 digits": (put(int("9" * 4000), "variants", 0, "extra_args", 0), "64-bit"),
    "a PTX file of four gigabytes": (put(2**32, "variants", 0, "ptx_bytes"), "limit ptx_bytes"),
    "a PTX file elsewhere": (put("/etc/passwd", "variants", 0, "ptx"), "the name of a file inside the bundle"),
    "a PTX file that is a byte short": (put(1, "variants", 0, "ptx_bytes"), r"has \d+ bytes, the manifest says 1"),
    "a file of another kind": (put("copy.txt", "variants", 0, "ptx"), "'copy.txt' is not the name of a bundle's file"),
    "a call for which nothing was compiled": (
        lambda d: (
            d["tensors"].append({**d["tensors"][1], "name": "w", "shape": [1]}),
            d["calls"].append({**d["calls"][0], "name": "more", "outputs": ["w"]}),
        ),
        "the call more has no variant",
    ),
    "a PTX file that is the manifest": (put("manifest.json", "variants", 0, "ptx"), "not the name of a bundle's file"),
    "nesting in what nobody reads": (
        put(json.loads("[" * 256 + "]" * 256), "else"),
        "nested deeper than 256 .limit json_depth.",
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_is_refused_with_its_place(case: str, there: Path) -> None:
    change, message = MANIFESTS[case]
    path = there / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(DefinitionError, match=message) as caught:
        bundles.read(there)
    assert str(there) in str(caught.value.where)
    assert caught.value.hint == "compile it again"


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2**40)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("which", ["manifest.json", "*.ptx"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (pipe, "is not a regular file"),
        (device, "is not a regular file"),
        (sparse, "is larger than"),
        (folder, "is not a regular file"),
        (lambda path: path.chmod(0) if os.getuid() else path.unlink(), "Permission denied|No such file|not a bundle"),
    ],
)
def test_only_regular_files_of_a_sane_size_are_read(
    which: str, make: Callable[[Path], None], message: str, there: Path
) -> None:
    make(min(there.glob(which)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AotError, match=message):
        bundles.read(there)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # kilobytes


def test_a_zero_byte_ends_no_ptx_early(there: Path) -> None:
    """The launcher would pass the driver what stands before it."""
    manifest = there / "manifest.json"
    data = json.loads(manifest.read_text())
    entry = data["variants"][0]
    content = (there / entry["ptx"]).read_bytes() + b"\0"
    entry.update(sha256=hashlib.sha256(content).hexdigest(), ptx_bytes=len(content))
    (there / entry["ptx"]).write_bytes(content)
    manifest.write_text(json.dumps(data))
    with pytest.raises(DefinitionError, match="or a zero byte"):
        bundles.read(there)


def test_all_ptx_together_has_a_limit(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(path.stat().st_size for path in there.glob("*.ptx"))
    monkeypatch.setitem(LIMITS, "total_ptx_bytes", size)
    assert bundles.read(there) == made()
    monkeypatch.setitem(LIMITS, "total_ptx_bytes", size - 1)
    with pytest.raises(DefinitionError, match=rf"more than {size - 1} bytes of PTX .limit total_ptx_bytes."):
        bundles.read(there)


@pytest.mark.parametrize("limit", ["manifest_bytes", "total_ptx_bytes"])
def test_the_writer_keeps_the_limits_of_sizes(limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles.write(made(), tmp_path / "first.aot")
    files = (tmp_path / "first.aot").glob("*.ptx" if limit == "total_ptx_bytes" else "manifest.json")
    size = sum(path.stat().st_size for path in files)
    monkeypatch.setitem(LIMITS, limit, size)
    bundles.write(made(), tmp_path / "second.aot")
    monkeypatch.setitem(LIMITS, limit, size - 1)
    with pytest.raises(DefinitionError, match=rf"the bundle has {size} bytes, more than {size - 1} .limit {limit}."):
        bundles.write(made(), tmp_path / "third.aot")
    assert not (tmp_path / "third.aot").exists()


def test_the_writer_refuses_a_variant_of_another_call(tmp_path: Path) -> None:
    bundle = made()
    wrong = dataclasses.replace(bundle.variants[1], parameters=("ptr", "ptr"))
    with pytest.raises(DefinitionError, match="parameters must be one ptr for each input"):
        bundles.write(dataclasses.replace(bundle, variants=(bundle.variants[0], wrong)), tmp_path / "copy.aot")
    assert not list(tmp_path.iterdir())


def test_the_digest_of_what_is_no_file(there: Path) -> None:
    folder(there / "manifest.json")
    with pytest.raises(DefinitionError, match="damaged bundle: ") as caught:
        bundles.digest(there)
    assert caught.value.hint == "compile it again"


def test_a_bundles_place_that_is_a_pipe_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "copy.aot").mkdir()
    os.mkfifo(tmp_path / "copy.aot" / "manifest.json")
    with pytest.raises(AotError, match="another program's manifest"):
        bundles.write(made(), tmp_path / "copy.aot")


def test_a_pipe_in_a_bundles_place_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "copy.aot")
    with pytest.raises(AotError, match="cannot write"):
        bundles.write_once(made(), tmp_path / "copy.aot")


def renamed(**names: str) -> Network:
    network = made().network
    tensors = tuple(dataclasses.replace(t, name=names.get(t.name, t.name)) for t in network.tensors)
    calls = tuple(
        dataclasses.replace(
            c,
            inputs=tuple(names.get(n, n) for n in c.inputs),
            outputs=tuple(names.get(n, n) for n in c.outputs),
        )
        for c in network.calls
    )
    return dataclasses.replace(network, tensors=tensors, calls=calls)


@pytest.mark.parametrize("name", ["y" * 301, "é" * 121])
def test_the_writer_keeps_the_readers_limits(name: str, tmp_path: Path) -> None:
    long = dataclasses.replace(made(), network=renamed(y=name))
    size = len(name.encode())
    with pytest.raises(
        DefinitionError, match=rf"tensors\[1\].name: must have 1 to 240 bytes, has {size} .limit name_b"
    ):
        bundles.write(long, tmp_path / "copy.aot")
    assert not list(tmp_path.iterdir())


def test_names_at_the_limit_are_written_and_read(tmp_path: Path) -> None:
    long = dataclasses.replace(made(), network=renamed(y="y" * LIMITS["name_bytes"]))
    bundles.write(long, tmp_path / "copy.aot")
    assert bundles.read(tmp_path / "copy.aot") == long
