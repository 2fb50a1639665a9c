# SPDX-License-Identifier: Apache-2.0
"""Dimension expressions against plain Python integers, by hypothesis and by brute force."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aotfactory.core.errors import DefinitionError
from aotfactory.core.expressions import (
    MAX_DEPTH,
    MAX_SIZE,
    Constant,
    Expr,
    Op,
    SizeTensor,
    Symbol,
    from_json,
    operation,
    parse,
)
from aotfactory.core.proofs import Interval, bounds, divisor, prove_within

NAMES = ("N", "H", "W")
PROFILE = {"N": Interval(1, 8), "H": Interval(1, 4096), "W": Interval(1, 4096)}
INT32 = 2**31 - 1

# a tree is an int, a name or (op, tree, tree)
leaves = st.integers(-4, 8) | st.sampled_from(NAMES)
trees = st.recursive(leaves, lambda inner: st.tuples(st.sampled_from(Op), inner, inner), max_leaves=12)
assignments = st.fixed_dictionaries({name: st.integers(-6, 6) for name in NAMES})
intervals = st.tuples(st.integers(-5, 6), st.integers(0, 3)).map(lambda pair: Interval(pair[0], sum(pair)))
domains = st.fixed_dictionaries(dict.fromkeys(NAMES, intervals))


def build(tree: Any) -> Expr:
    if isinstance(tree, tuple):
        return operation(tree[0], build(tree[1]), build(tree[2]))
    return Symbol(tree) if isinstance(tree, str) else Constant(tree)


def plain(tree: Any, values: dict[str, int]) -> int | None:
    """The value by the mathematical definitions, without simplification; None where it divides by zero."""
    if not isinstance(tree, tuple):
        return values[tree] if isinstance(tree, str) else tree
    op, a, b = tree[0], plain(tree[1], values), plain(tree[2], values)
    if a is None or b is None or (op in (Op.FLOOR_DIV, Op.CEIL_DIV) and b == 0):
        return None
    results: dict[Op, Callable[[], int]] = {
        Op.SUM: lambda: a + b,
        Op.SUB: lambda: a - b,
        Op.PROD: lambda: a * b,
        Op.MAX: lambda: a if a > b else b,
        Op.MIN: lambda: b if a > b else a,
        Op.EQUAL: lambda: 1 if a == b else 0,
        Op.LESS: lambda: 1 if a < b else 0,
        Op.FLOOR_DIV: lambda: math.floor(Fraction(a, b)),
        Op.CEIL_DIV: lambda: math.ceil(Fraction(a, b)),
    }
    return results[op]()


def value_of(expr: Expr, values: dict[str, int]) -> int | None:
    try:
        return expr.evaluate(values)
    except DefinitionError as error:
        if "division by zero" not in error.message:
            raise
        return None


def assignments_in(domain: dict[str, Interval]) -> list[dict[str, int]]:
    ranges = [range(interval.low, interval.high + 1) for interval in domain.values()]
    return [dict(zip(domain, point, strict=True)) for point in itertools.product(*ranges)]


@settings(deadline=None, max_examples=300)
@given(trees, assignments)
def test_simplified_expressions_evaluate_as_the_plain_tree(tree: Any, values: dict[str, int]) -> None:
    assert value_of(build(tree), values) == plain(tree, values)


@settings(deadline=None, max_examples=300)
@given(st.tuples(st.sampled_from(Op), trees, trees, st.integers(-3, 3)), assignments)
def test_simplification_of_repeated_operands(case: tuple[Op, Any, Any, int], values: dict[str, int]) -> None:
    op, a, b, constant = case
    for tree in (
        (op, a, a),
        (op, (op, a, constant), 2),
        (op, 3, (op, a, constant)),
        (op, (op, (op, a, 2), b), constant),
    ):
        assert value_of(build(tree), values) == plain(tree, values)


@settings(deadline=None, max_examples=300)
@given(trees)
def test_json_and_text_round_trip(tree: Any) -> None:
    expr = build(tree)
    for again in (from_json(json.loads(json.dumps(expr.to_json()))), parse(str(expr))):
        assert again == expr
        assert hash(again) == hash(expr)


@settings(deadline=None, max_examples=300)
@given(trees, domains)
def test_bounds_contain_every_value_and_divisor_divides_it(tree: Any, domain: dict[str, Interval]) -> None:
    expr, values = build(tree), [plain(tree, point) for point in assignments_in(domain)]
    try:
        found = bounds(expr, domain)
    except DefinitionError as error:
        if "may be 0" not in error.message:
            raise
    else:
        assert all(value is not None and found.low <= value <= found.high for value in values)
    divides = divisor(expr, domain)
    assert divides >= 0
    assert all(value is None or (value % divides == 0 if divides else value == 0) for value in values)


@settings(deadline=None, max_examples=300)
@given(trees, domains)
def test_prove_within_decides_small_domains_and_never_lies(tree: Any, domain: dict[str, Interval]) -> None:
    expr, values = build(tree), [plain(tree, point) for point in assignments_in(domain)]
    existing = [value for value in values if value is not None] or [0]
    low, high = min(existing), max(existing)
    assert prove_within(expr, low, high, domain).status == ("refuted" if None in values else "proved")
    for proof in (prove_within(expr, low + 1, high, domain), prove_within(expr, low, high - 1, domain)):
        assert proof.status == "refuted"
        assert proof.counterexample is not None
        point = {name: proof.counterexample.get(name, interval.low) for name, interval in domain.items()}
        assert point in assignments_in(domain)
        assert plain(tree, point) == proof.value
        assert proof.value in (None, low, high)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cdiv(N*C*(H+2)*(W+2), 256)", "cdiv(N*C*(H+2)*(W+2), 256)"),
        ("N+0", "N"),
        ("0+N", "N"),
        ("1*N*1", "N"),
        ("N-0", "N"),
        ("N-N", "0"),
        ("N*0", "0"),
        ("0*(N//2)", "0"),
        ("N//1+cdiv(H, 1)", "N+H"),
        ("max(N//H, N//H)", "N//H"),
        ("N == N", "1"),
        ("N < N", "0"),
        ("N+1+1", "N+2"),
        ("N*2*3", "N*6"),
        ("N*2*C*3", "N*6*C"),
        ("1+(N+1)", "N+2"),
        ("5-N+2", "7-N"),
        ("H+2-K+1", "H+3-K"),
        ("N+1-1", "N"),
        ("H-(W+1)+2", "H-(W+1)+2"),
        ("max(max(N, 1), 4)", "max(N, 4)"),
        ("W+-3", "W-3"),
        ("W-1-2", "W-3"),
        ("W--3", "W+3"),
        ("a-(b-c)", "a-(b-c)"),
        ("a//(b*c)", "a//(b*c)"),
        ("(a//b)*c", "a//b*c"),
        ("(a < b) == (b < c)", "(a < b) == (b < c)"),
        ("(a == b)*2", "(a == b)*2"),
        ("-7//2", "-4"),
        ("cdiv(-7, 2)", "-3"),
        # these must stay: they may divide by zero
        ("N//N", "N//N"),
        ("N//0", "N//0"),
        ("N//H-N//H", "N//H-N//H"),
        ("(N//H)*0", "N//H*0"),
        ("(N//0)*0", "N//0*0"),
        ("N//0-N//0", "N//0-N//0"),
        ("N//H == N//H", "N//H == N//H"),
        ("size_tensor(1, N//2+0, N)", "size_tensor(1, N//2, N)"),
    ],
)
def test_text_is_simplified_and_reads_as_written(text: str, expected: str) -> None:
    assert str(parse(text)) == expected


def test_json_form() -> None:
    assert parse("cdiv(N*(H+2), 256)").to_json() == ["ceil_div", ["prod", "N", ["sum", "H", 2]], 256]
    assert parse("size_tensor(1, N//2, N)").to_json() == ["size_tensor", 1, ["floor_div", "N", 2], "N"]
    assert " ".join(op.value for op in Op) == "sum prod max min sub equal less floor_div ceil_div"


def test_int64_ends() -> None:
    least, most = -(2**63), 2**63 - 1
    for expr in (operation(Op.SUM, Symbol("N"), least), operation(Op.SUB, Symbol("N"), least), Constant(least)):
        assert parse(str(expr)) == from_json(expr.to_json()) == expr
    assert operation(Op.SUB, Symbol("N"), least).evaluate({"N": -1}) == most
    grown = operation(Op.SUM, operation(Op.SUM, Symbol("N"), most), 1)  # the constants don't fit into one
    assert grown.evaluate({"N": -1}) == most
    assert from_json(grown.to_json()) == grown
    with pytest.raises(DefinitionError, match="not a 64-bit integer"):
        operation(Op.SUM, most, 1)


@pytest.mark.parametrize(
    "hostile",
    [
        True,
        1.0,
        None,
        2**63,
        -(2**63) - 1,
        {"op": "sum"},
        [],
        ["sum", 1],
        ["sum", 1, 2, 3],
        ["mod", 1, 2],
        ["SUM", 1, 2],
        [["sum"], 1, 2],
        ["sum", True, "N"],
        ["sum", "N", 1.5],
        ["sum", "N", None],
        "",
        "N M",
        "N\n",
        "É",
        "lambda",
        "x" * 65,
        ["size_tensor", 0, 1],
        ["size_tensor", -1, 1, 2],
        ["size_tensor", True, 1, 2],
        ["size_tensor", "N", 1, 2],
        ["size_tensor", 0, 1, ["size_tensor", 0, 1, 2]],
        ["sum", ["size_tensor", 0, 1, 2], 1],
    ],
)
def test_hostile_json_is_refused(hostile: object) -> None:
    with pytest.raises(DefinitionError):
        from_json(hostile)


def nested(depth: int) -> Any:
    tree: Any = "N"
    for _ in range(depth - 1):
        tree = ["sum", "N", tree]
    return tree


def test_depth_limit() -> None:
    deep = from_json(nested(MAX_DEPTH))
    again = from_json(deep.to_json())
    assert deep == again
    assert hash(deep) == hash(again)
    assert deep.evaluate({"N": 3}) == 3 * MAX_DEPTH
    assert bounds(deep, PROFILE) == Interval(MAX_DEPTH, 8 * MAX_DEPTH)
    assert divisor(deep, {"N": Interval(16, 16)}) == 16 * MAX_DEPTH
    assert prove_within(deep, MAX_DEPTH, 8 * MAX_DEPTH, PROFILE).status == "proved"
    with pytest.raises(DefinitionError, match="deeper than"):
        operation(Op.SUM, deep, Symbol("N"))
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(DefinitionError, match="deeper than"):
            from_json(nested(depth))
    largest = from_json(["size_tensor", 0, nested(MAX_DEPTH), nested(MAX_DEPTH)])  # one level down, both of them
    assert largest.to_json() == ["size_tensor", 0, nested(MAX_DEPTH), nested(MAX_DEPTH)]


def test_a_chain_as_deep_as_allowed_of_operations_that_are_no_polynomials() -> None:
    expr: Expr = Symbol("N")
    for _ in range(MAX_DEPTH - 1):
        expr = operation(Op.CEIL_DIV, expr, Symbol("H"))
    assert prove_within(expr, 1, 8, PROFILE).status == "proved"
    assert parse(str(operation(Op.MAX, 1, parse("cdiv(N, H)")))).depth == 3


def test_size_limit() -> None:
    wide: Expr = Symbol("N")
    while 2 * wide.size < MAX_SIZE:
        wide = operation(Op.SUM, wide, wide)  # shared in memory, but not in what is computed
    with pytest.raises(DefinitionError, match="larger than"):
        operation(Op.SUM, operation(Op.SUM, wide, wide), 1)
    shared: Any = "N"
    for _ in range(100):
        shared = ["max", shared, shared]  # simplifies to N, after 2**100 steps
    with pytest.raises(DefinitionError, match="larger than"):
        from_json(shared)


def test_thousands_of_foldable_operations() -> None:
    expr: Expr = Symbol("N")
    for _ in range(5000):
        expr = operation(Op.SUM, expr, 1)
    assert str(expr) == "N+5000"


def test_text_that_is_no_expression_is_refused() -> None:
    for text in ("", "N+", "N%2", "N/2", "f(N)", "max(N)", "N < H < W", "-N", "1.5", "True", "N[0]", "max(N, key=H)"):
        with pytest.raises(DefinitionError):
            parse(text)
    for text in ("(" * 5000 + "N" + ")" * 5000, "N+H+" * 3000 + "N"):
        with pytest.raises(DefinitionError, match="is not an expression"):
            parse(text)


def test_deeply_nested_text_never_ends_in_another_error() -> None:
    for depth in range(60, 260, 10):  # how deep Python's parser goes, and what it raises, differs by version
        with contextlib.suppress(DefinitionError):
            assert parse("(N < " * depth + "N" + ")" * depth).depth == depth


def test_evaluation_errors_say_what_and_where() -> None:
    with pytest.raises(DefinitionError, match=r"dimension H has no value\n  hint: known: N"):
        parse("N+H").evaluate({"N": 1})
    with pytest.raises(DefinitionError, match=r"division by zero in N//\(H-2\) \(H=2, N=1\)"):
        parse("N//(H-2)+1").evaluate({"N": 1, "H": 2})
    with pytest.raises(DefinitionError, match=r"H-2 may be 0 in N//\(H-2\) \(range -1\.\.4094\)"):
        bounds(parse("N//(H-2)"), PROFILE)
    for function in (lambda e: bounds(e, PROFILE), lambda e: prove_within(e, 0, 9, PROFILE)):
        with pytest.raises(DefinitionError, match="dimension K has no range"):
            function(parse("N+K"))
    with pytest.raises(DefinitionError, match=r"empty range 2\.\.1"):
        Interval(2, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("N+H", Interval(-1, 7)),
        ("N-H", Interval(-6, 2)),
        ("N*H", Interval(-8, 12)),
        ("max(N, H)", Interval(1, 4)),
        ("min(N, H)", Interval(-2, 3)),
        ("N//H", Interval(-2, 3)),
        ("cdiv(N, H)", Interval(-2, 3)),
        ("N < H", Interval(0, 1)),
        ("N == N+0*H", Interval(1, 1)),
        ("K == H", Interval(0, 1)),
        ("N == H+3", Interval(0, 0)),
        ("H < N-4", Interval(0, 0)),
        ("N < H+3", Interval(1, 1)),
    ],
)
def test_bounds_of_each_operation(text: str, expected: Interval) -> None:
    domain = {"N": Interval(-2, 3), "H": Interval(1, 4), "K": Interval(1, 4)}
    assert bounds(parse(text), domain) == expected


def test_size_tensor() -> None:
    size = SizeTensor(1, parse("N//2"), parse("N*H"))
    assert size.symbols == {"N", "H"}
    assert size.evaluate({"N": 3, "H": 4}) == 12
    assert from_json(size.to_json()) == parse(str(size)) == size
    domain = {"N": Interval(16, 32), "H": Interval(16, 16)}
    assert bounds(size, domain) == Interval(0, 512)  # any extent up to the upper bound, not the bound itself
    assert divisor(size, domain) == 1
    assert prove_within(size, 0, 512, domain).status == "proved"
    assert prove_within(size, 1, 512, domain).value == 0
    others: tuple[Expr | int, ...] = (1, Symbol("N"), size)
    for op, other in itertools.product(Op, others):
        with pytest.raises(DefinitionError, match="no arithmetic on size_tensor"):
            operation(op, other, size)
        with pytest.raises(DefinitionError, match="no arithmetic on size_tensor"):
            operation(op, size, other)


@pytest.mark.parametrize(
    ("text", "low", "high", "status"),
    [
        ("H*W-H", 0, INT32, "proved"),
        ("(H+2)*(W+2)-H*W", 8, INT32, "proved"),
        ("(H+2)*(W+2)-H*W", 9, INT32, "refuted"),
        ("cdiv((H+2)*(W+2)-H*W, 16)*16", 16, 2**15, "proved"),
        ("cdiv(N*(H+2)*(W+2), 256)", 1, INT32, "proved"),
        ("N*H*W*64", 0, INT32, "refuted"),
        ("N*H*W*15", 0, INT32, "proved"),
        ("N-H", -4095, 7, "proved"),
        ("N-H", -4094, 7, "refuted"),
        ("N-H", -4095, 6, "refuted"),
        ("H*W-W*H", 0, 0, "proved"),
        ("(H+W)*(H+W)-H*H-W*W", 2, 2**25, "proved"),
        ("(H+W)*(H+W)-H*H-W*W", 0, 2**24, "refuted"),
        ("*".join(["(H+W)"] * 150), 2**150, 2**1950, "proved"),  # too large to multiply out
        ("N-N//4*4", 0, 3, "proved"),
        ("H//(N-3)", -INT32, INT32, "refuted"),
        ("H//(N-9)", -INT32, INT32, "proved"),
        ("N//(H*W-H*W+N)", 1, 1, "proved"),
        ("1//(N-3)-1//(N-3)", 0, 0, "refuted"),  # cancels, and still divides by zero
        ("H-H//2*2", 0, 1, "unknown"),  # true, and too much for the budget
    ],
)
def test_proofs_over_an_ordinary_profile(text: str, low: int, high: int, status: str) -> None:
    assert prove_within(parse(text), low, high, PROFILE).status == status


def test_proofs_are_readable_and_deterministic() -> None:
    expr = parse("N*H*W*64")
    assert str(prove_within(expr, 0, INT32, PROFILE)) == "refuted: 8589934592 at H=4096, N=8, W=4096"
    assert prove_within(expr, 0, INT32, PROFILE) == prove_within(expr, 0, INT32, dict(reversed(PROFILE.items())))
    assert str(prove_within(parse("N//(H-1)"), 0, 9, PROFILE)) == "refuted: division by zero at H=1, N=1"
    assert str(prove_within(Constant(3), 4, 5, {})) == "refuted: 3 at every assignment"
    many = {f"d{i}": Interval(1, 2) for i in range(16)}
    assert prove_within(parse("*".join(many)), 1, 2**16 - 1, many).value == 2**16
    pairs = {name: Interval(0, 1000) for name in "abcdefghijklmn"}
    squares = "+".join(f"({a}-{b})*({a}-{b})" for a, b in zip("abcdefg", "hijklmn", strict=True))
    assert prove_within(parse(squares), -(10**8), 7 * 10**6, pairs).status == "proved"  # plain intervals are best here


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("N*16", 16),
        ("N*16+32", 16),
        ("N*16-N*24", 8),
        ("N*6*H*4", 24),
        ("(N*6+6)*(H*4+4)", 24),
        ("cdiv(H, 16)*16", 16),
        ("N*C", 48),
        ("N*48//3", 16),
        ("cdiv(N*48, -3)", 16),
        ("N*48//C", 1),
        ("N*48//7", 1),
        ("max(N*16, 1)", 16),
        ("min(N*16, 4096)", 16),
        ("min(H*16, N*8)", 8),
        ("max(1, 16*H)", 16),
        ("(H < 0)*N", 0),
        ("H == 0", 0),
        ("0", 0),
        ("-12", 12),
        ("K*4", 4),
        ("N//K", 1),
        ("N//(C-48)", 1),
    ],
)
def test_divisor_is_as_large_as_provable(text: str, expected: int) -> None:
    assert divisor(parse(text), {**PROFILE, "C": Interval(48, 48)}) == expected


def test_text_that_python_warns_of_is_quietly_refused(recwarn: pytest.WarningsRecorder) -> None:
    for text in ("1if 2 else 3", "0x1for x in y", "1 is 1"):
        with pytest.raises(DefinitionError, match="is not an expression"):
            parse(text)
    assert not recwarn.list


def test_largest_expressions_are_read_and_deep_ones_refused_on_every_side() -> None:
    wide: Any = "N"
    for _ in range(11):
        wide = ["floor_div", wide, wide]
    pair = ["size_tensor", 0, wide, wide]
    assert from_json(wide).size == MAX_SIZE - 1  # it is odd
    assert from_json(pair).to_json() == pair
    deep: Any = "N"
    for _ in range(100_000):
        deep = ["sum", deep, "N"]
    for tree in (deep, ["sum", "N", deep], ["size_tensor", 0, deep, 1], ["size_tensor", 0, 1, deep]):
        with pytest.raises(DefinitionError, match="deeper than"):
            from_json(tree)


@pytest.mark.parametrize("value", [1, 2, 5, 2**63 - 1])
def test_what_is_taken_away_is_written_with_a_minus(value: int) -> None:
    expr = operation(Op.SUM, Symbol("N"), -value)
    assert str(expr) == f"N-{value}"
    assert parse(str(expr)) == expr


@pytest.mark.parametrize("text", ["N < H", "N == H", "(N < H) == W", "(N < H)*W", "N-H*W", "(N-H)*W", "N//H*W"])
def test_parentheses_are_where_they_are_needed(text: str) -> None:
    assert str(parse(text)) == text


def test_the_smallest_integer_has_no_opposite() -> None:
    expr = operation(Op.SUM, Symbol("N"), -(2**63))
    assert parse(str(expr)) == expr


@pytest.mark.parametrize("index", [0, 1, 2**31 - 1])
def test_indices_of_outputs(index: int) -> None:
    assert SizeTensor(index, Constant(1), Constant(2)).index == index


@pytest.mark.parametrize("index", [-1, 2**31])
def test_no_indices_of_outputs(index: int) -> None:
    with pytest.raises(DefinitionError, match="is not an output's index"):
        SizeTensor(index, Constant(1), Constant(2))


def test_a_division_by_zero_says_where() -> None:
    with pytest.raises(DefinitionError, match=r"division by zero in 3//0 \(always\)"):
        operation(Op.FLOOR_DIV, 3, 0).evaluate({})
    with pytest.raises(DefinitionError, match=r"division by zero in W//N \(N=0, W=3\)"):
        parse("W//N").evaluate({"N": 0, "W": 3, "H": 1})


@pytest.mark.parametrize(
    ("text", "depth", "size"),
    [("a", 1, 1), ("a + b", 2, 3), ("a + b*c", 3, 5), ("max(a, b)*(c + d//2)", 4, 9), ("size_tensor(0, a, a*b)", 3, 5)],
)
def test_depth_and_size(text: str, depth: int, size: int) -> None:
    assert (parse(text).depth, parse(text).size) == (depth, size)
