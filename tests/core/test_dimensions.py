# SPDX-License-Identifier: Apache-2.0
"""Which symbols shapes fix. Compared with the launcher's answers in tests/executors/test_bundle_contract.py."""

from __future__ import annotations

import random

import pytest

from aotfactory.core import dimensions
from aotfactory.core.dimensions import LinearForm, dimension, linear, over_inputs, unsolved
from aotfactory.core.errors import DefinitionError, UsageError
from aotfactory.core.expressions import parse
from aotfactory.core.network import Network, Range, Tensor


def network(*shapes: str) -> Network:
    """A network with inputs a, b, ... of these shapes, as "N; 2*H"."""
    tensors = tuple(
        Tensor(name=name, role="input", dtype="fp32", shape=tuple(parse(d) for d in shape.split(";")))
        for name, shape in zip("abc", shapes, strict=False)
    )
    symbols = sorted({s for t in tensors for d in t.shape for s in d.symbols})
    return Network(
        name="n", target="n", ranges={s: Range(min=0, opt=1, max=9) for s in symbols}, tensors=tensors, calls=()
    )


@pytest.mark.parametrize(
    ("text", "multiples", "constant"),
    [
        ("7", {}, 7),
        ("N", {"N": 1}, 0),
        ("2*N + 3 - M", {"N": 2, "M": -1}, 3),
        ("3*(N - 2*(M + 1))", {"N": 3, "M": -6}, -6),
        ("N + M - N", {"M": 1}, 0),
    ],
)
def test_linear_forms(text, multiples, constant):
    assert linear(parse(text)) == LinearForm(multiples, constant)


@pytest.mark.parametrize("text", ["N*M", "cdiv(N, 2)", "N // 2", "max(N, 2)", "N < 3", f"{2**62}*(N + N + N)"])
def test_what_is_more_than_linear(text):
    assert linear(parse(text)) is None


@pytest.mark.parametrize(
    ("shapes", "at", "values"),
    [
        (["2*H"], [(10,)], {"H": 5}),
        (["7 - H"], [(3,)], {"H": 4}),
        (["N + M; N"], [(9, 4)], {"N": 4, "M": 5}),
        (["N + M", "2*N + 2"], [(9,), (10,)], {"N": 4, "M": 5}),
        (["N; cdiv(N, 2)"], [(5, 3)], {"N": 5}),
    ],
)
def test_bind(shapes, at, values):
    assert dimensions.bind(network(*shapes), dict(zip("abc", at, strict=False))) == values


@pytest.mark.parametrize(
    ("shapes", "at", "message"),
    [
        (["2*H"], [(5,)], "dimension 0 of input 'a' can't be 5: that leaves a fraction of H"),
        (["H + 2"], [(1,)], "H would be -1"),
        (["N; N"], [(3, 4)], r"input 'a' must have shape \(3, 3\), not \(3, 4\)"),
        (["N; cdiv(N, 2)"], [(5, 2)], r"must have shape \(5, 3\)"),
    ],
)
def test_shapes_that_do_not_fit(shapes, at, message):
    with pytest.raises(UsageError, match=message):
        dimensions.bind(network(*shapes), dict(zip("abc", at, strict=False)))


def test_unsolved():
    assert unsolved("NMK", [(parse("N + M"), parse("cdiv(K, 2)"))]) == ["N", "M", "K"]
    assert unsolved("NMK", [(parse("N + M"), parse("2*M")), (parse("K"),)]) == []


def test_over_inputs_is_exact():
    """At random values: the expression over the inputs' dimensions is what it is over the symbols."""
    rng = random.Random(1)
    inputs = [
        (parse("2*N + 3"), parse("N + M")),
        (parse("9 - K"), parse("cdiv(N, 2)")),
    ]
    for text in ("N*M + K", "cdiv(N + 1, 2)", "cdiv(N, 2) + 1", "max(M, K) - N", "2*N + 3"):
        rebased = over_inputs(parse(text), inputs)
        for _ in range(20):
            values = {name: rng.randint(0, 9) for name in "NMK"}
            at = {dimension(i, a): d.evaluate(values) for i, shape in enumerate(inputs) for a, d in enumerate(shape)}
            assert rebased.evaluate(at) == parse(text).evaluate(values)
    with pytest.raises(DefinitionError, match="dimension Q cannot be found out"):
        over_inputs(parse("Q"), inputs)
