# SPDX-License-Identifier: Apache-2.0
"""Extra arguments of a kernel: expressions of dimensions, as int32 or int64, and quotients of two, as fp32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aotfactory.core import expressions
from aotfactory.core.errors import ExpressionError
from aotfactory.core.expressions import Expr

KINDS = ("i32", "i64", "fp32")
"""Types of an extra argument, as a kernel's `parameters` name them."""


@dataclass(frozen=True)
class Quotient:
    """An fp32 argument: both expressions in fp64, divided, and rounded to fp32 (``runtime/bundle/evaluate.cpp``)."""

    numerator: Expr
    denominator: Expr

    @property
    def symbols(self) -> frozenset[str]:
        return self.numerator.symbols | self.denominator.symbols

    def evaluate(self, values: Mapping[str, int]) -> float:
        """The value where each symbol has the given value; DefinitionError if one is missing or the divisor is 0."""
        import numpy as np  # late: a cached build is read without it

        a, b = self.numerator.evaluate(values), self.denominator.evaluate(values)
        if b == 0:
            raise ExpressionError(f"division by zero in {self}")
        with np.errstate(over="ignore", under="ignore"):
            return float(np.float32(float(a) / float(b)))

    def to_json(self) -> Any:
        """``["quotient", a, b]``."""
        return ["quotient", self.numerator.to_json(), self.denominator.to_json()]

    def __str__(self) -> str:
        return f"({self.numerator}) / ({self.denominator})"


Argument = Expr | Quotient
"""The value of an extra argument."""


def from_json(obj: object) -> Argument:
    """The argument that `to_json` wrote; DefinitionError for anything else."""
    match obj:
        case ["quotient", a, b]:
            return Quotient(expressions.from_json(a), expressions.from_json(b))
    return expressions.from_json(obj)


def mapped(argument: Argument, change: Callable[[Expr], Expr]) -> Argument:
    """The argument with its expressions changed."""
    if isinstance(argument, Quotient):
        return Quotient(change(argument.numerator), change(argument.denominator))
    return change(argument)


def parts(argument: Argument) -> tuple[Expr, ...]:
    """The expressions of an argument."""
    return (argument.numerator, argument.denominator) if isinstance(argument, Quotient) else (argument,)
