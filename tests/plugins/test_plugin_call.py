# SPDX-License-Identifier: Apache-2.0
"""What definitions are given, and what is read off them, is what TensorRT's builder would give and read."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from building import MODULES, load

from aotfactory.core import dtypes
from aotfactory.core.errors import DefinitionError
from aotfactory.core.expressions import Constant, Expr, Op, Symbol, parse
from aotfactory.core.network import Combination, Range
from aotfactory.plugins import attributes, definitions, plugin_call
from aotfactory.plugins.plugin_call import PluginCall, trt

load(MODULES / "recorded.py")
recorded: Any = __import__("sys").modules["recorded"]

N, C = Symbol("N"), Symbol("C")
RANGES = {"N": Range(min=1, opt=4, max=9), "C": Range(min=4, opt=8, max=8)}


@pytest.fixture(autouse=True)
def seen() -> list[dict[str, Any]]:
    recorded.SEEN.clear()
    return recorded.SEEN  # type: ignore[no-any-return]


def call(name: str, *inputs: tuple[str, tuple[Expr, ...]], ranges: Any = RANGES, **attributes: Any) -> PluginCall:
    return PluginCall(definitions.find(f"recorded::{name}"), attributes, list(inputs), ranges)


ATTRIBUTES = {"gain": 0.5, "count": 3, "mode": "edge", "on": True, "pads": np.array([1, 2], np.int32)}
INPUTS = ("fp32", (N, Constant(3))), ("fp16", (Constant(2), Constant(5)))


def test_all_attributes_arrive_in_the_registers_order_with_their_types(seen: list[dict[str, Any]]) -> None:
    given = dict(reversed(ATTRIBUTES.items()))
    values = attributes.attribute_values(definitions.find("recorded::attributes"), given)
    made = call("attributes", *INPUTS, **values)
    combination, tactics = made.combinations()[0]
    made.kernel(combination, tactics[-1])
    assert seen[0]["autotune"] == "edge"
    *plain, pads = seen[1]["attributes"]
    assert plain == [0.5, 3, "edge", True]
    assert [type(value) for value in plain] == [float, int, str, bool]
    assert pads.tolist() == [1, 2]
    assert pads.dtype == np.int32
    assert seen[1]["tactic"] == 7


def test_tensors_arrive_with_type_format_shape_and_profile(seen: list[dict[str, Any]]) -> None:
    made = call("attributes", *INPUTS, **ATTRIBUTES)
    channels_last = made.combinations()[-1][0]
    made.kernel(channels_last, 0)
    dynamic = {"shape": (-1, 3), "min": (1, 3), "opt": (4, 3), "max": (9, 3)}
    static = {"shape": (2, 5), "dtype": "HALF", "format": "LINEAR"}
    out = {**dynamic, "dtype": "FLOAT", "format": "LINEAR"}
    # autotune is asked with the network's types, the aot_impl with those of the combination.
    assert seen[0]["tensors"] == [out, static, out]
    assert seen[1]["tensors"] == [{**out, "dtype": "HALF", "format": "HWC"}, {**static, "dtype": "FLOAT"}, out]


def test_combinations_are_in_the_order_of_types_and_formats() -> None:
    found = call("attributes", *INPUTS, **ATTRIBUTES).combinations()
    assert [(str(combination), tactics) for combination, tactics in found] == [
        ("fp32-fp16-fp32", [2, 7]),
        ("fp16-fp32-fp32", [2, 7]),
        ("fp16.hwc-fp32-fp32", [0]),
    ]


def test_output_shapes_types_and_aliases_are_the_registers() -> None:
    made = call("shapes", ("bf16", (N, C)))
    assert made.output_dtypes == ("fp16", "int32", "int64", "bf16")
    assert made.aliases == (None, None, None, 0)
    assert [[str(d) for d in shape] for shape in made.output_shapes] == [
        ["cdiv(N, 2)", "C+1", "3"],
        ["size_tensor(2, N*C//2, N*C)", "2"],
        [],
        ["N", "C"],
    ]
    assert str(made.combination) == "bf16-fp16-int32-int64-bf16"


def test_static_dimensions_fold_to_constants() -> None:
    made = call("shapes", ("fp32", (Constant(5), Constant(4))), ranges={})
    assert made.output_shapes[0] == (Constant(3), Constant(5), Constant(3))
    assert str(made.output_shapes[1][0]) == "size_tensor(2, 10, 20)"
    kernel = made.kernel(*default(made))
    assert kernel.extra_args == (Constant(4), Constant(5), Constant(1))


def default(made: PluginCall) -> tuple[Combination, int]:
    ((combination, tactics),) = made.combinations()
    return combination, tactics[0]


def test_launch_and_extra_arguments_are_read_as_expressions() -> None:
    made = call("shapes", ("fp32", (N, C)))
    kernel = made.kernel(*default(made))
    assert (kernel.name, kernel.ptx) == ("entry", "text")
    assert {field: str(e) for field, e in kernel.launch.items()} == {
        "grid_x": "max(cdiv(N*C, 256), 1)",
        "grid_y": "min(N, 7)",
        "grid_z": "(N < 5)+(C == 4)",
        "block_x": "128",
        "block_y": "1",
        "block_z": "1",
        "shared_mem": "C*4-16",
    }
    assert [str(e) for e in kernel.extra_args] == ["N-1", "5", "N//3"]
    assert all(parse(str(e)) == e for e in (*kernel.launch.values(), *kernel.extra_args))
    assert [e.evaluate({"N": 4, "C": 4}) for e in kernel.launch.values()] == [1, 4, 2, 128, 1, 1, 0]


def test_without_autotune_there_is_the_networks_combination_and_the_default_tactic(seen: list[Any]) -> None:
    made = call("shapes", ("int8", (N, C)))
    assert made.combinations() == [(made.combination, [0])]
    made = call("autotuned", ("int8", (N,)), which="none")
    assert made.combinations() == [(made.combination, [0])]
    made.kernel(made.combination, 0)
    assert seen[-1]["tactic"] == 0


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("twice", ["fp32-fp32 [2, 4, 9]"]),
        ("formats", ["fp16.hwc8-fp16.hwc8 [0]", "fp16.chw16-fp16.chw16 [0]", "fp16-fp16 [0]"]),
        ("types", ["fp32-fp32 [0]", "fp16-fp16 [0]", "bf16-bf16 [0]"]),
    ],
)
def test_what_autotune_offers(which: str, expected: list[str]) -> None:
    found = call("autotuned", ("fp32", (N,)), which=which).combinations()
    assert [f"{combination} {tactics}" for combination, tactics in found] == expected


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("tactic 0", r"autotune offers tactic 0\n  hint: custom tactics are positive integers"),
        ("negative tactic", r"autotune offers tactic -3"),
        ("unknown type", r"FP33"),
        ("too few", r"autotune of recorded::autotuned"),
    ],
)
def test_mistakes_of_an_autotune(which: str, message: str) -> None:
    made = call("autotuned", ("fp32", (N,)), which=which)
    with pytest.raises(DefinitionError, match=message) as caught:
        made.combinations()
    assert re.search(r"recorded\.py:\d+", str(caught.value))


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("int extra", r"Extra args must be a 'tensorrt.plugin.SymInt32'"),
        ("list of extra", r"Extra args must be a 'tensorrt.plugin.SymIntExprs'"),
        ("no launch", r"Launch params must be a 'tensorrt.plugin.KernelLaunchParams'"),
        ("no name", r"Kernel name must be a 'str' or 'bytes'"),
        ("no PTX", r"PTX/CUBIN must be a 'str' or 'bytes'"),
        ("cubin", r"the PTX is not text\n  hint: TensorRT takes PTX, not a cubin"),
        ("three", r"not enough values to unpack \(expected 4, got 3\)"),
        ("reversed product", r"unsupported operand type\(s\) for \*: 'int' and 'ShapeExpr'"),
        ("modulo", r"unsupported operand type\(s\) for %"),
        ("at least", r"'>=' not supported"),
        ("as an index", r"'ShapeExpr' object cannot be interpreted as an integer"),
        ("size as extra", r"extra argument 0 is a size tensor, .*\n  hint: use the upper bound"),
        ("size as grid", r"grid_x is a size tensor"),
        ("size in arithmetic", r"not permitted to perform binary operations on size tensor"),
        ("NumPy grid", r"grid_x|KernelLaunchParams|int64"),
        ("float grid", r"grid_x|KernelLaunchParams|float"),
    ],
)
def test_mistakes_of_an_aot_impl_and_what_comes_after(which: str, message: str) -> None:
    """TensorRT's own checks are the ones that speak; whatever happens, the next call starts clean."""
    made = call("returns", ("fp32", (N,)), which=which)
    with pytest.raises(DefinitionError, match=message) as caught:
        made.kernel(*default(made))
    assert re.search(r"recorded\.py:\d+", str(caught.value))
    assert plugin_call._tensor.SymIntExpr._exprBuilder is None
    assert trt.DimsExprs.__name__ == "DimsExprs"
    good = call("returns", ("fp32", (N,)), which="good")
    assert good.kernel(*default(good)).extra_args == (N,)


def test_calls_do_not_disturb_each_other() -> None:
    """Each has its own profile, combination and tactic, in whatever order they are asked."""
    one = call("attributes", *INPUTS, **ATTRIBUTES)
    two = call("attributes", ("fp32", (C, Constant(3))), INPUTS[1], **{**ATTRIBUTES, "count": 8})
    first, second = one.combinations()[1], two.combinations()[0]
    one.kernel(first[0], 2)
    two.kernel(second[0], 7)
    one.kernel(first[0], 7)
    runs = [s for s in recorded.SEEN if "tactic" in s]
    assert [(s["attributes"][1], s["tactic"], s["tensors"][0].get("max")) for s in runs] == [
        (3, 2, (9, 3)),
        (8, 7, (8, 3)),
        (3, 7, (9, 3)),
    ]
    assert [s["tensors"][0]["dtype"] for s in runs] == ["HALF", "FLOAT", "HALF"]


def test_dimensions_know_their_divisor_over_the_profile() -> None:
    builder = call("shapes", ("fp32", (N, C))).builder
    n, four = builder.dimension(N), builder.constant(4)
    product = builder.operation(trt.DimensionOperation.PROD, n, four)
    assert (n.divisor(), product.divisor(), four.divisor()) == (1, 4, 4)
    assert four.is_constant()
    assert four.get_constant_value() == 4
    assert not product.is_constant()
    assert isinstance(product, trt.IDimensionExpr)
    size = builder.declare_size_tensor(1, n, product)
    assert (size.is_size_tensor(), n.is_size_tensor()) == (True, False)


def test_every_operation_of_tensorrt_is_known() -> None:
    assert set(Op.__members__) == set(trt.DimensionOperation.__members__)


def test_a_type_that_kernels_cannot_take_is_refused() -> None:
    made = call("autotuned", ("fp32", (N,)), which="INT4")
    with pytest.raises(DefinitionError, match=r"data type INT4 cannot be used by an AOT plugin"):
        made.combinations()


@pytest.mark.parametrize("dtype", dtypes.DTYPES)
def test_every_type_that_kernels_can_take(dtype: str, seen: list[Any]) -> None:
    made = call("autotuned", (dtype, (N,)), which="every type")
    offered = [combination for combination, _ in made.combinations()]
    (own,) = (combination for combination in offered if combination.dtypes == (dtype, "fp32"))
    made.kernel(own, 0)
    assert seen[-1]["tensors"][0]["dtype"] == dtypes.find(dtype).trt
    assert len(offered) == len(dtypes.DTYPES)
