# SPDX-License-Identifier: Apache-2.0
"""Kernels as other people publish them, taken as they are: types, configs, heuristics, in place, names."""

from __future__ import annotations

import re
from typing import Any

import pytest
import triton.language as tl
from building import MODULES, Built, build, load, network, tensor
from triton.backends.compiler import BaseBackend
from triton.runtime import jit

from aotfactory.compiler import compile
from aotfactory.core.errors import DefinitionError
from aotfactory.plugins import kernel_arguments
from aotfactory.plugins.autotuned import tactics_of

SOURCES = load(MODULES / "foreign.py")
DYNAMIC = "N=1/3/9 C=48"


def made(name: str, *inputs: Any, outputs: tuple[str, ...] = (), **options: Any) -> Built:
    attributes = options.pop("attributes", {})
    return build(network(f"foreign::{name}", *inputs, attributes=attributes, outputs=outputs), SOURCES, **options)


@pytest.mark.parametrize("shape", ["3 48", DYNAMIC, "N=1/3/9 C=1/48/50", "1 1", "N=1/3/9 1"])
def test_scalars_have_the_types_that_tritons_launch_gives_them(shape: str) -> None:
    """Static or not, a length of 1 included, on which `.to` fails under Triton's own launch."""
    built = made("scalars", tensor("x", shape))
    assert not built.failed, built.found
    assert built.checks["interpreter"].detail.startswith("against the reference")


def test_static_dimensions_are_folded() -> None:
    built = made("scalars", tensor("x", "3 48"), interpret=False)
    assert built.variant.parameters == ("ptr", "ptr")
    assert "mul.lo.s64" not in built.variant.text
    assert len(re.findall(r"ld\.param", built.variant.text)) == 2


@pytest.mark.parametrize(("a", "b"), [(3, 1), (1, 1), (100, -1), (2**31, 0)])
@pytest.mark.parametrize("dtype", ["int8", "int32"])
def test_integers_wrap_as_they_do_under_tritons_launch(a: int, b: int, dtype: str) -> None:
    built = made("product", tensor("x", "3 48", dtype), attributes={"a": a, "b": b})
    assert not built.failed, built.found


@jit.JITFunction
def typed(a, b: tl.int64, c: float, d: tl.constexpr, e: "*fp32"):  # noqa: F722
    pass


VALUES = (0, 1, 2, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**63, True, False, 0.5, float("inf"), None)


@pytest.mark.parametrize("value", VALUES)
def test_types_are_those_of_tritons_own_launch(value: Any) -> None:
    (parameter, *_), name = kernel_arguments.parameters_of(typed), "a"
    tree = kernel_arguments._tree(typed, parameter, name, value)
    if hasattr(jit, "native_specialize_impl"):
        theirs, _ = jit.native_specialize_impl(BaseBackend, value, False, True, True)
    else:  # Triton 3.5
        theirs, _ = jit.create_specialize_impl(lambda *_, **__: "")(value)
    assert isinstance(tree, kernel_arguments.Argument)
    assert (tree.type or "constexpr") == theirs


def test_annotations_decide_the_type() -> None:
    _, wide, real, constant, pointer = kernel_arguments.parameters_of(typed)
    for parameter, value, expected in [
        (wide, 1, "i64"), (wide, True, "i64"), (real, 1.0, "fp32"), (constant, 5, None), (pointer, 7, "i32"),
    ]:  # fmt: skip
        assert kernel_arguments._tree(typed, parameter, parameter.name, value).type == expected
    with pytest.raises(DefinitionError, match=r"b is 0\.5, but the kernel declares it i64"):
        kernel_arguments._tree(typed, wide, "b", 0.5)


def test_configs_are_tactics_and_those_that_a_plan_cannot_launch_are_left_out() -> None:
    built = made("tuned", tensor("x", DYNAMIC))
    assert not built.failed, built.found
    assert [r.tactic for r in built.results if r.variant] == [5, 6]
    reasons = {r.tactic: r.checks[0].detail for r in built.results if r.left_out}
    assert reasons[1].endswith("is pruned by the kernel itself")
    assert re.search(r"config 2 of 6 \(BLOCK=16384, num_warps=8.*\) needs \d+ bytes of shared memory", reasons[2])
    assert re.search(r"config 3 of 6 .*power of 2", reasons[3])
    assert "has a pre_hook: Python that would run before every launch" in reasons[4]
    blocks = [str(r.variant.launch["block_x"]) for r in built.results if r.variant]
    assert blocks == ["64", "256"]
    assert [r.compilations[0].metadata["num_stages"] for r in built.results if r.variant] == [2, 2]
    passed = [c for c in built.found if c.name == "interpreter" and c.status == "passed"]
    assert len(passed) == 2


def test_without_a_config_the_first_that_a_plan_can_launch_is_taken() -> None:
    built = made("first", tensor("x", "3 48"))
    assert not built.failed, built.found
    assert str(built.variant.launch["grid_x"]) == "2"
    assert built.result.config == 5
    assert built.checks["interpreter"].detail.startswith("against the reference")


def test_configs_that_pruning_makes_are_tactics_in_their_order() -> None:
    built = made("made", tensor("x", DYNAMIC))
    assert not built.failed, built.found
    assert [(r.tactic, str(r.variant.launch["block_x"])) for r in built.results if r.variant] == [(1, "64"), (2, "128")]
    (left_out,) = [r for r in built.results if r.left_out]
    assert left_out.checks[0].detail.endswith("which makes 2 for these sizes")


def test_a_heuristic_that_needs_a_run_time_value_says_so() -> None:
    with pytest.raises(DefinitionError, match=r"heuristic for EVEN needs the value of a dimension of x, C \(5 to 50\)"):
        made("tuned", tensor("x", "N=1/3/9 C=5/48/50"), interpret=False)
    # That 16 divides it the profile may prove.
    assert not made("tuned", tensor("x", "N=1/3/9 C=16"), interpret=False).failed


def test_tactics_of() -> None:
    foreign = load_module()
    assert tactics_of(foreign.tuned_kernel) == [1, 2, 3, 4, 5, 6]
    assert tactics_of(foreign.names_kernel) == [1]
    with pytest.raises(DefinitionError, match="is not a Triton kernel"):
        tactics_of(print)


def load_module() -> Any:
    import sys

    return next(m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == str(MODULES / "foreign.py"))


@pytest.mark.parametrize("shape", ["5 13", "N=1/5/9 13"])
def test_in_place_through_one_pointer(shape: str) -> None:
    """Three pairs, one of them by atomics, and an input of which only the shape would matter."""
    inputs = [tensor("a", shape), tensor("b", shape), tensor("counts", "3", "int32"), tensor("like", "2")]
    built = made("pair", *inputs, outputs=("a_out", "b_out", "counts_out"))
    extra = ("i32",) if "N" in shape else ()
    assert built.variant.parameters == ("ptr",) * 4 + extra + ("ptr",) * 3
    assert not built.failed, built.found
    assert built.checks["interpreter"].detail.startswith("against the reference")


def test_parameters_may_have_any_name() -> None:
    built = made("names", tensor("x", "N=1/3/9 48"))
    assert not built.failed, built.found
    metadata = built.result.compilations[0].metadata
    assert (metadata["num_warps"], metadata["num_stages"]) == (2, 2)
    assert built.checks["interpreter"].detail.startswith("against the reference")


PASTED = {
    "launch": ("a kernel is launched here", "return aot_kernel(kernel, x_ptr=x, ..., grid=grid)"),
    "tuned launch": ("a kernel is launched here", "return aot_kernel(kernel, x_ptr=x, ..., grid=grid)"),
    "stride": ("has no attribute 'stride'", "tensors are contiguous"),
    "size": ("has no attribute 'size'", "x.shape_expr[0], x.shape_expr.numel()"),
    "tactic": ("KeyError: 2", "offer in autotune what the table has"),
    "bits": ("has no attribute 'bit_length'", "aotfactory.constant(d)"),
    "range": ("cannot be interpreted as an integer", "aotfactory.constant(d)"),
    "power": (r"N-1 \(0 to 8\) is not constant", "aotfactory.upper_bound(dimension)"),
    "constant": (r"N \(1 to 9\) is not constant", "aotfactory.upper_bound(dimension)"),
    "torch": ("x is a Torch with data of its own", "give an input of the aot_impl"),
    "inner": ("object has no attribute '__name__'", "give it KERNEL.fn"),
    "grid": ("the grid has 4 extents", "(x, y, z)"),
}


@pytest.mark.parametrize("which", PASTED)
def test_launch_code_that_is_pasted_gets_an_answer(which: str) -> None:
    message, hint = PASTED[which]
    with pytest.raises(DefinitionError, match=message) as caught:
        made("pasted", tensor("x", DYNAMIC), attributes={"which": which}, interpret=False)
    assert hint in (caught.value.hint or "")
    assert "foreign.py:" in str(caught.value)


def test_the_least_isa_that_a_kernel_compiles_with_is_taken_and_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where neither the driver nor the user limits it; else the refusal names the remedy, in a line."""
    monkeypatch.setattr(compile, "driver_version", lambda: None)
    built = made("narrow", tensor("x", "4 64"), archs="sm_89", interpret=False)
    assert (built.variant.ptx_isa, built.failed) == ("8.1", {})
    assert "for PTX ISA 8.1 instead of 8.0" in built.checks["abi"].detail
    for limit in ("user", "driver"):
        if limit == "driver":
            monkeypatch.setattr(compile, "driver_version", lambda: 12000)
        with pytest.raises(DefinitionError, match=r"requires PTX ISA \.version 8\.1") as caught:
            made("narrow", tensor("x", "4 64"), archs="sm_89", isa="8.0" if limit == "user" else None, interpret=False)
        assert "--ptx-isa 8.1" in (caught.value.hint or "")
        assert len(str(caught.value).splitlines()) == 2
    assert "ptxas" not in "".join(capfd.readouterr())


def test_an_instruction_that_the_architecture_lacks_is_named() -> None:
    """Triton's own line of every failure of ptxas says nothing: "Internal Triton PTX codegen error"."""
    with pytest.raises(DefinitionError, match=r"ptxas refuses the kernel: .*cvt.*e2m1x2") as caught:
        made("fp4", tensor("x", "64", "int32"), interpret=False)
    assert "--arch" in (caught.value.hint or "")
