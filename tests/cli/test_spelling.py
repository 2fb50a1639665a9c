# SPDX-License-Identifier: Apache-2.0
"""Shapes, data types and architectures as people of other projects write them."""

from __future__ import annotations

import time

import pytest

from aotfactory.cli.flags import CompileFlags
from aotfactory.cli.options import named_shapes
from aotfactory.core.arch import parse_archs
from aotfactory.core.dtypes import find
from aotfactory.core.errors import UsageError
from aotfactory.targets.request import parse_shape


@pytest.mark.parametrize(
    ("name", "same"),
    [
        *[(alias, "fp32") for alias in ("fp32", "FP32", "float32", "float", "f32", "FLOAT", "torch.float32")],
        *[(alias, "fp16") for alias in ("half", "float16", "FP16", "torch.half")],
        *[("bfloat16", "bf16"), ("float8_e4m3fn", "fp8"), ("i8", "int8"), ("long", "int64"), ("i1", "bool")],
    ],
)
def test_data_types(name: str, same: str) -> None:
    assert find(name).name == same
    assert CompileFlags(dtype=[f"x={name}"]).target_options().dtype == {"x": same}


@pytest.mark.parametrize("name", ["", "fp", "fp64", "double", "int4", "torch", "float32x"])
def test_unknown_data_types(name: str) -> None:
    with pytest.raises(UsageError, match="unknown data type"):
        find(name)


@pytest.mark.parametrize("name", ["sm_90", "sm90", "90", "9.0", "SM_90", "sm_90a", "90a", "compute_90"])
def test_architectures(name: str) -> None:
    assert [arch.name for arch in parse_archs(name)] == ["sm_90"]


def test_two_digits_before_the_point() -> None:
    assert [arch.name for arch in parse_archs("12.0,10.3")] == ["sm_120", "sm_103"]


@pytest.mark.parametrize("name", ["9", "sm_", "sm_9.0", "90b", "hopper", "9.00", "-90"])
def test_unknown_architectures(name: str) -> None:
    with pytest.raises(UsageError, match="unknown architecture"):
        parse_archs(name)


@pytest.mark.parametrize("text", ["1x3x32x32", "1,3,32,32", "1, 3, 32, 32", "[1, 3, 32, 32]", "(1,3,32,32)"])
def test_shapes(text: str) -> None:
    assert parse_shape(text) == (1, 3, 32, 32)


@pytest.mark.parametrize("text", ["", "x", "1x", "1,", "1,,3", "[]", "1x3,32", "-1x3", "1;3", "1x3x32x32:8"])
def test_what_is_no_shape(text: str) -> None:
    with pytest.raises(UsageError, match="is not a shape"):
        parse_shape(text)


@pytest.mark.parametrize(
    ("texts", "same"),
    [
        (["x=1x3"], {"x": (1, 3)}),
        (["x:1x3"], {"x": (1, 3)}),
        (["x:1x3,y:8"], {"x": (1, 3), "y": (8,)}),
        (["input:0:1x3"], {"input:0": (1, 3)}),
        (["input:0=1x3"], {"input:0": (1, 3)}),
        (["a=b=1x3"], {"a=b": (1, 3)}),
        (["x=1,3"], {"x": (1, 3)}),
        (["1x3"], {None: (1, 3)}),
    ],
)
def test_names_of_inputs(texts: list[str], same: dict[str | None, tuple[int, ...]]) -> None:
    for flags in (CompileFlags(shape=texts), CompileFlags(opt_shape=texts)):
        options = flags.target_options()
        assert (options.shape or options.opt_shape) == same


def test_long_options_take_no_time() -> None:
    for text in ("9" * 50_000, "x:" + "9" * 50_000, "x:1," * 20_000, ":" * 50_000, "9x" * 20_000):
        began = time.process_time()
        with pytest.raises(UsageError):
            named_shapes("--shape", [text])
        assert time.process_time() - began < 1


def test_trtexecs_way_of_naming_shapes() -> None:
    found = named_shapes("--shape", ["x:1x3,y:0:8x64", "z=5"])
    assert found == {"x": (1, 3), "y:0": (8, 64), "z": (5,)}
