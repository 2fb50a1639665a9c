# SPDX-License-Identifier: Apache-2.0
"""The `bounds` check: what is proved of launch parameters and extra arguments over the whole profile."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aotfactory.compiler.launch_bounds import check as check_bounds
from aotfactory.compiler.variant import Variant, Workspace
from aotfactory.core import check as checks
from aotfactory.core.arguments import Quotient
from aotfactory.core.check import Check
from aotfactory.core.errors import DefinitionError
from aotfactory.core.expressions import Constant, Expr, Op, Symbol, operation, parse
from aotfactory.core.network import Call, Network, Range, Tensor

GRID = {"grid_x": "1", "grid_y": "1", "grid_z": "1"}
BLOCK = {"block_x": "128", "block_y": "1", "block_z": "1"}
CALL = Call(name="call", plugin="a::b", attributes={}, inputs=("x",), outputs=("y",))


def network(ranges: Mapping[str, tuple[int, int]], output: str = "N") -> Network:
    """One call with input and output of a shape that is written as expressions."""
    shape = tuple(parse(d) for d in output.split())
    tensors = [Tensor(name=n, role=r, dtype="fp32", shape=shape) for n, r in (("x", "input"), ("y", "output"))]  # type: ignore[arg-type]
    return Network(
        name="n",
        target="t",
        ranges={n: Range(min=low, opt=low, max=high) for n, (low, high) in ranges.items()},
        tensors=tuple(tensors),
        calls=(CALL,),
    )


def check(
    ranges: Mapping[str, tuple[int, int]],
    *,
    extra: tuple[str | Expr | Quotient, ...] = (),
    kinds: tuple[str, ...] = (),
    workspaces: tuple[str, ...] = (),
    cluster: tuple[int, int, int] | None = None,
    divisible: Mapping[int, int] | None = None,
    output: str = "N",
    **launch: str | Expr,
) -> Check:
    fields = {**GRID, **BLOCK, "shared_mem": "0", **launch}
    variant = Variant(
        id="v",
        call="call",
        plugin="a::b",
        arch="portable",
        dtypes=("fp32",) * 2,
        formats=("linear",) * 2,
        tactic=0,
        kernel="k",
        text="",
        ptx_isa="8.0",
        ptx_target="sm_80",
        parameters=("ptr", *(kinds or ("i32",) * len(extra)), "ptr"),
        launch={n: parse(e) if isinstance(e, str) else e for n, e in fields.items()},
        extra_args=tuple(parse(e) if isinstance(e, str) else e for e in extra),
        cluster_at_launch=cluster,
        workspaces=tuple(Workspace(bytes=parse(e), at_most=0) for e in workspaces),
    )
    return check_bounds(variant, network(ranges, output), CALL, [divisible or {}])


MAX = 2**31 - 1
GOOD: list[tuple[str, dict[str, tuple[int, int]], dict[str, Any]]] = [
    ("nothing", {"N": (1, 8)}, {}),
    ("a static shape", {}, {"output": "3", "extra": ("7",), "grid_x": "cdiv(7, 2)"}),
    ("the largest extra argument", {"N": (1, MAX)}, {"extra": ("N",)}),
    ("the smallest extra argument", {"N": (1, MAX)}, {"extra": ("0-N-1",)}),
    ("the largest grid", {"N": (1, 65535)}, {"grid_x": str(MAX), "grid_y": "N", "grid_z": "N"}),
    ("the largest block", {"N": (1, 64)}, {"block_x": "16", "block_z": "N"}),
    ("the most shared memory", {"N": (1, 48)}, {"shared_mem": "N*1024"}),
    ("no work at N=0", {"N": (0, 8)}, {"grid_x": "cdiv(N, 4)"}),
    ("nothing to compute", {"N": (1, 8)}, {"grid_x": "0", "output": "0 N"}),
    ("a proved divisor", {"N": (1, 8)}, {"extra": ("N", "N*48"), "divisible": {1: 16}}),
    ("a divisor of 0", {"N": (1, 8)}, {"extra": ("N-N",), "divisible": {0: 16}}),
    ("an int64 argument", {"N": (1, MAX)}, {"extra": ("N*N",), "kinds": ("i64",)}),
    ("a quotient", {"N": (1, MAX)}, {"extra": (Quotient(parse("N*N"), parse("N")),), "kinds": ("fp32",)}),
    ("a workspace", {"N": (0, 1024)}, {"workspaces": ("cdiv(N, 4)*4", "0")}),
    ("whole clusters", {"N": (1, 8)}, {"grid_x": "N*2", "cluster": (2, 1, 1)}),
    ("overflow that cancels out", {"N": (1, MAX)}, {"extra": ("N*4-N*3",)}),
    ("two blocks of work", {"N": (1, 10**6), "C": (1, 2000)}, {"grid_x": "cdiv(N*C, 128)"}),
]


@pytest.mark.parametrize(("ranges", "given"), [g[1:] for g in GOOD], ids=[g[0] for g in GOOD])
def test_what_is_within_bounds(ranges: dict[str, tuple[int, int]], given: dict[str, Any]) -> None:
    found = check(ranges, **given)
    assert found.status == "passed", found.detail
    over = ", ".join(f"{n} {low}..{high}" for n, (low, high) in ranges.items()) or "a static shape"
    assert (found.name, found.subject, found.detail) == ("bounds", "v", f"proved over {over}")


BAD: list[tuple[dict[str, tuple[int, int]], dict[str, Any], str]] = [
    (
        {"N": (1, 2**20), "C": (1, 2**20), "H": (1, 2**30)},
        {"extra": ("N*C*H",), "kinds": ("i64",)},
        "extra argument 0 = N*C*H is 1180591620717411303424 at C=1048576, H=1073741824, N=1048576: an extra argument",
    ),
    (
        {"N": (0, 8)},
        {"extra": (Quotient(parse("1"), parse("N")),), "kinds": ("fp32",)},
        "extra argument 0 = N is 0 at N=0: a quotient's divisor is 1 or more",
    ),
    (
        {"N": (1, 8)},
        {"workspaces": ("4-N",)},
        "workspace 0 = 4-N is -4 at N=8: a workspace has 0 to 1099511627776 bytes",
    ),
    ({"N": (1, 8)}, {"grid_x": "N", "cluster": (2, 1, 1)}, "grid_x = N is not a multiple of the cluster's 2 blocks"),
    (
        {"N": (1, MAX + 1)},
        {"extra": ("1", "N")},
        f"extra argument 1 = N is {MAX + 1} at N={MAX + 1}: an extra argument",
    ),
    ({"N": (1, 8)}, {"extra": (Constant(-MAX - 2),)}, f"extra argument 0 = -{MAX + 2}: an extra arg"),
    ({"N": (1, 2**20), "C": (1, 2**12)}, {"extra": ("N*C",)}, "is 4294967296 at C=4096, N=1048576: an extra argument"),
    ({"N": (0, 8)}, {"extra": ("8//N",)}, "extra argument 0 = 8//N divides by 0 at N=0: an extra argument is an int32"),
    ({}, {"extra": ("8//0",), "output": "1"}, "extra argument 0 = 8//0 divides by 0: an extra argument is an int32"),
    (
        {"N": (1, 8)},
        {"extra": ("N*8",), "divisible": {0: 16}},
        "= N*8 was promised to be a multiple of 16; the profile",
    ),
    ({"N": (4, 4)}, {"extra": ("7",), "divisible": {0: 2}}, "promised to be a multiple of 2; the profile proves 7"),
    ({"N": (1, 8)}, {"grid_x": "N//2"}, "grid_x = N//2 is 0 at N=1: nothing would run"),
    ({"N": (0, 8)}, {"grid_x": "N//2"}, "grid_x = N//2 is 0 at N=1: nothing would run"),
    (
        {"N": (0, 8)},
        {"grid_x": "N-1"},
        "grid_x = N-1 is -1 at N=0: CUDA's limit is 2147483647; grid_x = N-1 is 0 at N=1",
    ),
    ({"N": (1, 8)}, {"grid_y": "0"}, "grid_y = 0: nothing would run"),
    ({"N": (1, 65536)}, {"grid_y": "N"}, "grid_y = N is 65536 at N=65536: CUDA's limit is 65535"),
    ({"N": (1, 65536)}, {"grid_z": "N"}, "grid_z = N is 65536 at N=65536: CUDA's limit is 65535"),
    ({"N": (1, MAX)}, {"grid_x": "N+1"}, f"grid_x = N+1 is {MAX + 1} at N={MAX}: CUDA's limit is {MAX}"),
    ({"N": (1, 8)}, {"block_x": "1025"}, "block_x = 1025: CUDA's limit is 1024"),
    ({"N": (1, 8)}, {"block_z": "65", "block_x": "1"}, "block_z = 65: CUDA's limit is 64"),
    ({"N": (1, 8)}, {"block_x": "512", "block_y": "4"}, "threads of a block = 2048: CUDA's limit is 1024"),
    (
        {"N": (1, 33)},
        {"block_x": "32", "block_y": "N"},
        "threads of a block = 32*N is 1056 at N=33: CUDA's limit is 1024",
    ),
    ({"N": (0, 8)}, {"block_x": "N"}, "threads of a block = N is 0 at N=0"),
    ({"N": (1, 49)}, {"shared_mem": "N*1024"}, "shared_mem = N*1024 is 50176 at N=49: TensorRT's launcher gives 49152"),
    ({"N": (1, 8)}, {"shared_mem": "N-2"}, "shared_mem = N-2 is -1 at N=1"),
]


@pytest.mark.parametrize(("ranges", "given", "message"), BAD, ids=[re.sub(r"\W+", " ", b[2])[:50] for b in BAD])
def test_what_is_not_is_told_with_where(
    ranges: dict[str, tuple[int, int]], given: dict[str, Any], message: str
) -> None:
    found = check(ranges, **given)
    assert found.status == "failed"
    assert message in found.detail


def test_every_problem_is_told_once() -> None:
    found = check({"N": (1, 8)}, extra=("N", "N"), divisible={0: 16, 1: 16}, grid_x="N-1", block_x="2000")
    assert re.sub(r"; the profile proves 1", "", found.detail).split("; ") == [
        "extra argument 0 = N was promised to be a multiple of 16",
        "extra argument 1 = N was promised to be a multiple of 16",
        "grid_x = N-1 is 0 at N=1: nothing would run",
        "block_x = 2000: CUDA's limit is 1024",
        "threads of a block = 2000: CUDA's limit is 1024",
    ]


def test_what_can_not_be_decided_is_refused() -> None:
    """Sound, not complete: where no proof is found, the check does not pass."""
    symbols = [Symbol(n) for n in "ABCDEFGH"]
    product: Expr = symbols[0]
    for symbol in symbols[1:]:
        product = operation(Op.SUM, operation(Op.PROD, product, symbol), operation(Op.FLOOR_DIV, symbol, 3))
    mixed = operation(Op.SUB, operation(Op.PROD, product, product), operation(Op.PROD, product, product))
    tricky = operation(Op.SUB, operation(Op.FLOOR_DIV, product, 7), operation(Op.FLOOR_DIV, mixed, 5))
    found = check(dict.fromkeys("ABCDEFGH", (1, 1000)), extra=(tricky,), output="A")
    assert found.status == "failed"
    assert "extra argument 0" in found.detail


SYMBOLS = {"N": (1, 5), "C": (0, 4)}
LEAVES = st.one_of(st.sampled_from(["N", "C"]).map(Symbol), st.integers(-9, 70000).map(Constant))


def combined(op: Op, left: Expr, right: Expr) -> Expr:
    try:
        return operation(op, left, right)
    except DefinitionError:
        return left


EXPRESSIONS = st.recursive(
    LEAVES, lambda inner: st.builds(combined, st.sampled_from(list(Op)), inner, inner), max_leaves=6
)


def values(expr: Expr, least_c: int) -> list[int | None]:
    found: list[int | None] = []
    for n, c in itertools.product(range(1, 6), range(least_c, 5)):
        try:
            found.append(expr.evaluate({"N": n, "C": c}))
        except DefinitionError:
            found.append(None)
    return found


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS, st.sampled_from(["extra", "grid_x", "grid_y", "block_z", "shared_mem"]))
def test_it_agrees_with_trying_every_shape(expr: Expr, where: str) -> None:
    low, high = {
        "extra": (-MAX - 1, MAX),
        "grid_x": (0, MAX),
        "grid_y": (0, 65535),
        "block_z": (1, 64),
        "shared_mem": (0, 49152),
    }[where]
    block = {"block_x": "1"} if where == "block_z" else {}
    found = check(SYMBOLS, **{where: (expr,) if where == "extra" else expr}, **block)  # type: ignore[arg-type]
    right = all(v is not None and low <= v <= high for v in values(expr, 0))
    if where.startswith("grid"):
        right = right and all(v is not None and v >= 1 for v in values(expr, 1))
    assert (found.status == "passed") == right, found.detail


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS, st.sampled_from([2, 4, 8, 16]))
def test_a_promised_divisor_that_passes_divides_every_value(expr: Expr, divisor: int) -> None:
    found = check(SYMBOLS, extra=(expr,), divisible={0: divisor})
    if found.status == "passed":
        assert all(v is not None and v % divisor == 0 for v in values(expr, 0))


def test_names_and_failures() -> None:
    made = [
        Check(name=checks.NAMES[i], subject="v", status=s)  # type: ignore[arg-type]
        for i, s in enumerate(("passed", "failed", "skipped"))
    ]
    assert checks.failed(made) == [made[1]]
    assert len(set(checks.NAMES)) == len(checks.NAMES)
