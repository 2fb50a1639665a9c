# SPDX-License-Identifier: Apache-2.0
"""farm.toml: which engines it means, what they are called, and where it is wrong."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from aotfactory.api.farm_file import FarmFile
from aotfactory.core.errors import UsageError


def farm(folder: Path, text: str) -> FarmFile:
    path = folder / "farm.toml"
    path.write_text(text)
    return FarmFile(path)


def names(folder: Path, text: str) -> list[str]:
    return [engine.name for engine in farm(folder, text).engines]


def test_products_are_named_by_what_differs(tmp_path: Path) -> None:
    text = """
[defaults]
arch = ["sm_80", "sm_90"]

[[engine]]
target = ["circ_pad", "softmax"]
dtype = ["fp32", "fp16"]

[[engine]]
target = "rope"
arch = "portable"
"""
    assert names(tmp_path, text) == [
        *("circ_pad.fp32.sm_80", "circ_pad.fp32.sm_90", "circ_pad.fp16.sm_80", "circ_pad.fp16.sm_90"),
        *("softmax.fp32.sm_80", "softmax.fp32.sm_90", "softmax.fp16.sm_80", "softmax.fp16.sm_90"),
        "rope",
    ]


def test_every_axis(tmp_path: Path) -> None:
    text = """
out = "made"
[[engine]]
target = "ns::twice"
plugins = ["mine.py", "some.module"]
shape = ["8x64", { x = "4x64" }, { min = "1x64", opt = "8x64", max = "32x64" }]
attr = [{ n = 1 }, { n = [1, 2], flag = true }]
tensorrt = [{ optimization-level = 3 }, {}]
arch = "sm_80,sm_90"
ptx-isa = "8.0"
"""
    found = farm(tmp_path, text)
    assert len(found.engines) == 3 * 2 * 2 * 2
    assert found.out == tmp_path / "made"
    first, last = found.engines[0], found.engines[-1]
    assert first.name == "twice.8x64.n-1.sm_80.optimization-level-3"
    assert last.name == "twice.1x64-32x64.n-1_2-flag-True.sm_90"
    assert first.request.shape == {None: (8, 64)}
    assert last.request.min_shape == {None: (1, 64)}
    assert last.request.max_shape == {None: (32, 64)}
    assert last.request.attributes == {"n": [1, 2], "flag": True}
    assert (first.tensorrt, str(first.isa)) == ({"optimization-level": 3}, "8.0")
    assert first.plugins == (str(tmp_path / "mine.py"), "some.module")
    assert found.engines[8].request.shape == {"x": (4, 64)}
    assert first.where == f"{tmp_path}/farm.toml:3"


def test_exclude_and_include(tmp_path: Path) -> None:
    text = """
[[engine]]
target = ["a", "b"]
arch = ["sm_80", "sm_90"]
exclude = [{ target = "b", arch = "sm_80" }]
include = [{ target = "c", arch = ["sm_75"] }]
"""
    assert names(tmp_path, text) == ["a.sm_80", "a.sm_90", "b", "c"]


def test_models_are_named_by_their_files(tmp_path: Path) -> None:
    found = farm(tmp_path, '[[engine]]\ntarget = "models/net.onnx"\narch = "sm_80"\n')
    assert [(e.name, e.target) for e in found.engines] == [("net", str(tmp_path / "models/net.onnx"))]


WRONG = {
    "[[engine]]\ntarget = \n": (2, "not TOML"),
    "out = 3\n[[engine]]\ntarget = 'a'\n": (1, "out is 3"),
    "[[engine]]\narch = 'sm_80'\n": (1, "without a target"),
    "[[engine]]\ntarget = 'a'\ndtypes = 'fp32'\n": (3, "unknown key: dtypes"),
    "[[engine]]\ntarget = 'a'\n[[engine]]\ntarget = 'b'\n\narch = []\n": (6, "arch is an empty list"),
    "[[engine]]\ntarget = 'a'\narch = 'sm_1'\n": (1, "unknown architecture 'sm_1'"),
    "[[engine]]\ntarget = 'a'\nshape = '1y2'\n": (1, "'1y2' is not a shape"),
    "[[engine]]\ntarget = 'a'\nshape = [3]\n": (3, "shape is 3"),
    "[[engine]]\ntarget = ['a',\n 7]\n": (2, "target is 7"),
    "[[engine]]\ntarget = 'a'\ntactic = true\n": (3, "tactic is True"),
    "[[engine]]\ntarget = 'a'\nexclude = [{ arch = 'sm_75' }]\n": (3, "exclude matches no engine"),
    "[[engine]]\ntarget = 'a'\ninclude = [{ isa = 'x' }]\n": (3, "unknown key in include: isa"),
    "[[engine]]\ntarget = 'a'\n\ntensorrt = { speed = 1 }\n": (4, "unknown option of TensorRT: speed"),
    "[[engine]]\ntarget = 'a'\n[[engine]]\ntarget = 'a'\n": (3, "a is there twice"),
    "# nothing\n": (None, "no [[engine]]"),
    "[[engine]]\ntarget = 'a'\n[engine.attr]\nn = 1\n[engine.tensorrt]\nworkspace = 'x'\n": (5, "workspace|tensorrt"),
}


@pytest.mark.parametrize("text", WRONG)
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str) -> None:
    line, message = WRONG[text]
    with pytest.raises(UsageError) as caught:
        farm(tmp_path, text)
    assert caught.value.where == f"{tmp_path}/farm.toml" + (f":{line}" if line else "")
    assert any(part in caught.value.message for part in message.split("|"))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        FarmFile(tmp_path / "farm.toml")


THOUSAND = [f"{key} = {['x'] * 1000}" for key in ("target", "dtype", "arch")]
HOSTILE = {
    "lists 100,000 deep": ("a = " + "[" * 100_000, "nested deeper"),
    "tables 100,000 deep": ("a = " + "{b=" * 100_000, "nested deeper"),
    "a key of 20,000 parts": (".".join(["a"] * 20_000) + " = 1", "nested deeper"),
    "a quoted key of 20,000 parts": (".".join(['"a,"'] * 20_000) + " = 1", "nested deeper"),
    "a key of many parts after a text of two lines": (
        'x = {a = """\n""", ' + ".".join("b" * 20_000) + ' = ""}',
        "nested deeper",
    ),
    "a header of spaces": ("[" + " " * 200_000, "not TOML"),
    "quotes with backslashes": ('\\"' * 100_000, "not TOML"),
    "a number of 5000 digits": ("out = " + "9" * 5000, "not TOML"),
    "10^9 engines": (
        "[[engine]]\n" + "\n".join(f"{k} = {['x'] * 1000}" for k in ("target", "dtype", "arch")),
        "more than",
    ),
    "10^9 engines that are included": (
        '[[engine]]\ntarget = "x"\ninclude = [{'
        + ", ".join(f"{k} = {['x'] * 1000}" for k in ("target", "dtype", "arch"))
        + "}]",
        "more than",
    ),
    "a name above the directory": ('[[engine]]\ntarget = "x"\nname = "../../x"', "cannot be the name"),
    "an absolute name": ('[[engine]]\ntarget = "x"\nname = "/tmp/x"', "cannot be the name"),
    "no name": ('[[engine]]\ntarget = "x"\nname = ""', "cannot be the name"),
    "a zero byte": ('out = "a\\u0000b"\n[[engine]]\ntarget = "x"', "zero byte"),
    "a zero byte in a list": ('[[engine]]\ntarget = "x"\nplugins = ["a\\u0000b"]', "zero byte"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_time(name: str, tmp_path: Path) -> None:
    text, message = HOSTILE[name]
    began = time.process_time()
    with pytest.raises(UsageError, match=message):
        farm(tmp_path, text)
    assert time.process_time() - began < 2


def test_only_regular_files_of_a_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "farm.toml")
    with pytest.raises(UsageError, match="is not a regular file"):
        FarmFile(tmp_path / "farm.toml")
    (tmp_path / "large.toml").touch()
    os.truncate(tmp_path / "large.toml", 2**40)
    with pytest.raises(UsageError, match="is larger than"):
        FarmFile(tmp_path / "large.toml")


def test_texts_of_several_lines_hide_no_keys(tmp_path: Path) -> None:
    text = '[defaults]\nplugins = ["""\n[[engine]]\nname = 1\n"""] # [[engine]]\n[[engine]]\ntarget = 7\n'
    with pytest.raises(UsageError, match="target is 7") as error:
        farm(tmp_path, text)
    assert str(error.value.where).endswith(":7")
