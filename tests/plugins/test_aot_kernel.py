# SPDX-License-Identifier: Apache-2.0
"""`aot_kernel`: any Triton kernel, its arguments by name, in TensorRT's calling convention."""

from __future__ import annotations

import re
from typing import Any

import pytest
from building import MODULES, Built, build, load, network, tensor
from triton import knobs

from aotfactory.core.errors import DefinitionError
from aotfactory.plugins.aot_kernel import aot_kernel

SOURCES = load(MODULES / "arguments.py")
DYNAMIC = "N=1/3/9 48"


def made(name: str, *inputs: Any, length: int = 1, outputs: tuple[str, ...] = (), **options: Any) -> Built:
    attributes = options.pop("attributes", {})
    net = network(f"arguments::{name}", *inputs, attributes=attributes, length=length, outputs=outputs)
    return build(net, SOURCES, **options)


def expressions(built: Built) -> list[str]:
    return [str(e) for e in built.variant.extra_args]


AFFINE = {"scale": 1.5, "mode": "shift", "absolute": True, "block": 64}


def test_a_kernel_in_its_own_order_is_wrapped_in_tensorrts() -> None:
    built = made("affine", tensor("x", DYNAMIC), attributes=AFFINE)
    assert built.variant.parameters == ("ptr", "i32", "ptr")
    assert expressions(built) == ["N*48"]
    assert not built.failed, built.found
    (compilation,) = built.result.compilations
    kinds = {n: k for n, k in compilation.signature.items() if k != "constexpr"}
    assert list(kinds.items()) == [("source", "*fp32"), ("count", "i32"), ("out", "*fp32")]
    assert built.variant.kernel.startswith("affine_kernel_")
    assert str(built.variant.launch["block_x"]) == "64"
    assert str(built.variant.launch["grid_x"]) == "cdiv(N*48, 64)"


def test_a_kernel_in_tensorrts_order_is_compiled_as_it_is() -> None:
    built = made("mistake", tensor("x", DYNAMIC), attributes={"which": "no mistake"}, interpret=False)
    assert list(built.result.compilations[0].signature) == ["x", "n", "y", "WIDTH"]


@pytest.mark.parametrize(
    "change",
    [{"scale": -0.25}, {"mode": "keep"}, {"absolute": False}, {"block": 128}, {"mode": "keep", "scale": 3.0}],
    ids=str,
)
def test_floats_strings_and_bools_are_compiled_in(change: dict[str, Any]) -> None:
    """Default values and None, too: the interpreter agrees with the reference for each."""
    x = tensor("x", DYNAMIC)
    built = made("affine", x, attributes={**AFFINE, **change})
    assert not built.failed, built.found
    assert built.checks["interpreter"].detail.startswith("against the reference")
    assert built.variant.parameters == ("ptr", "i32", "ptr")
    plain = made("affine", x, attributes=AFFINE, interpret=False)
    assert body(built) != body(plain)


def body(built: Built) -> str:
    return re.sub(r"affine_kernel_[0-9a-f]+", "", built.variant.text)


def test_static_dimensions_are_constants() -> None:
    built = made("affine", tensor("x", "3 48"), attributes=AFFINE)
    assert built.variant.parameters == ("ptr", "ptr")
    assert built.variant.extra_args == ()
    assert not built.failed, built.found


def test_several_inputs_and_outputs() -> None:
    built = made("both", tensor("a", "N=1/3/9 C=5/48/50"), tensor("b", "N=1/3/9 C=5/48/50"), outputs=("s", "d"))
    assert built.variant.parameters == ("ptr", "ptr", "i32", "i32", "ptr", "ptr")
    # In the kernel's own order: n, then columns.
    assert expressions(built) == ["N*C", "C"]
    assert [str(built.variant.launch[f"grid_{axis}"]) for axis in "xyz"] == ["cdiv(N*C, 128)", "2", "1"]
    assert not built.failed, built.found
    order = [n for n, k in built.result.compilations[0].signature.items() if k != "constexpr"]
    assert order == ["a", "b", "n", "columns", "total", "difference"]


def test_one_constant_and_one_dynamic_dimension() -> None:
    built = made("both", tensor("a", "N=1/3/9 C=48"), tensor("b", "N=1/3/9 C=48"), outputs=("s", "d"))
    assert built.variant.parameters == ("ptr", "ptr", "i32", "ptr", "ptr")
    assert expressions(built) == ["N*48"]
    assert not built.failed, built.found


def test_one_tensor_for_two_parameters_arrives_once() -> None:
    built = made("square", tensor("x", DYNAMIC))
    assert built.variant.parameters == ("ptr", "i32", "ptr")
    assert not built.failed, built.found
    assert built.checks["interpreter"].status == "passed"


def test_an_aliased_output_may_go_unused() -> None:
    built = made("negate", tensor("x", DYNAMIC), length=2)
    assert [r.variant.parameters for r in built.results if r.variant] == [("ptr", "i32", "ptr")] * 2
    assert not built.failed, built.found


@pytest.mark.parametrize(
    ("shape", "divisible"),
    [
        ("N=1/3/9 48", True),
        ("N=1/3/9 8", False),
        ("N=1/3/900", False),
        ("N=2/4/8 M=2/4/8", False),
        ("N=1/3/9 4 4", True),
    ],
)
def test_divisibility_is_promised_where_it_is_proved(shape: str, divisible: bool) -> None:
    built = made("square", tensor("x", shape), interpret=False)
    (compilation,) = built.result.compilations
    assert compilation.divisible == {"left": 16, "product": 16} | ({"n": 16} if divisible else {})
    assert built.checks["bounds"].status == "passed"
    wide = re.search(r"ld\.global(\.\w+)*\.v4\.b32", built.variant.text) is not None
    assert wide == divisible


def test_pointers_alone_give_16_byte_accesses_where_there_is_no_mask() -> None:
    built = made("square", tensor("x", "2 1024"), interpret=False)
    assert re.search(r"ld\.global(\.\w+)*\.v4\.b32", built.variant.text)
    assert re.search(r"st\.global(\.\w+)*\.v4\.b32", built.variant.text)


def test_numpys_scalars_are_plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items of array attributes are such; Triton cannot convert them, but would find a plain number's kernel cached."""
    monkeypatch.setattr(knobs.compilation, "always_compile", True)
    built = made("mistake", tensor("x", "48"), attributes={"which": "NumPy integer"}, interpret=False)
    assert not built.failed


def test_options_are_compiled_in_and_set_for_the_launch() -> None:
    built = made("total", tensor("x", DYNAMIC))
    metadata = built.result.compilations[0].metadata
    assert metadata["shared"] > 0
    assert str(built.variant.launch["shared_mem"]) == str(metadata["shared"])
    assert str(built.variant.launch["block_x"]) == "256"
    assert (metadata["num_warps"], metadata["num_stages"], metadata["enable_fp_fusion"]) == (8, 2, False)
    assert not built.failed, built.found


@pytest.mark.parametrize("tensorrt_order", [True, False])
def test_the_same_text_every_time(tensorrt_order: bool) -> None:
    """The wrapper has a made-up file name; it must not show in the PTX."""
    name, attributes = ("mistake", {"which": "no mistake"}) if tensorrt_order else ("affine", AFFINE)
    texts = {made(name, tensor("x", DYNAMIC), attributes=attributes, interpret=False).variant.text for _ in range(2)}
    assert len(texts) == 1
    assert not re.search(r"\.loc|\.file|wrapper|/", re.sub(r"//.*", "", texts.pop()))


MISTAKES = {
    "missing": (r"plain_kernel is not given n, WIDTH", "it takes x, n, y, WIDTH"),
    "left over": (r"plain_kernel has no parameter m, BLOCK", "it takes x, n, y, WIDTH"),
    "both": (r"plain_kernel is not given n and has no parameter N", "it takes x, n, y, WIDTH"),
    "symbolic constexpr": (
        r"WIDTH is a tl.constexpr, but its value is only known when",
        "drop tl.constexpr from WIDTH",
    ),
    "symbolic constexpr int32": (r"WIDTH is a tl.constexpr, but its value", "drop tl.constexpr from WIDTH"),
    "tensor constexpr": (r"WIDTH is a tl.constexpr, but its value", "drop tl.constexpr"),
    "no output": (r"plain_kernel is not given outputs\[0\]", "TensorRT passes a pointer for every input and output"),
    "no input": (r"plain_kernel is not given input x", "TensorRT passes a pointer for every input and output"),
    "whole shape": (r"n is a whole shape", r"n=shape\[0\]"),
    "not a kernel": (r"not_jitted.* is not a Triton kernel", "decorate the function with @triton.jit"),
    "foreign value": (r"n is a ndarray, which cannot be compiled", "an int, float, bool, str or None"),
    "a list": (r"n is a list, which cannot be compiled", "an int, float, bool, str or None"),
    "foreign tensor": (r"square_kernel: right is a tensor that is not of this call", "inputs of the aot_impl"),
}


@pytest.mark.parametrize("which", MISTAKES)
def test_mistakes_are_named(which: str) -> None:
    message, hint = MISTAKES[which]
    with pytest.raises(DefinitionError, match=message) as caught:
        made("mistake", tensor("x", DYNAMIC), attributes={"which": which}, interpret=False)
    assert re.search(hint, caught.value.hint or "")
    assert "arguments.py:" in str(caught.value)


def test_outside_an_aot_impl_it_is_refused() -> None:
    with pytest.raises(DefinitionError, match="aot_kernel was called outside an aot_impl") as caught:
        aot_kernel(object(), grid=1)
    assert caught.value.hint == "call it in the body of the aot_impl"
