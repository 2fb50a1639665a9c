# SPDX-License-Identifier: Apache-2.0
"""Dimensions and the expression builder that TensorRT's plugin layer is given, in place of a network's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aotfactory.core import expressions, proofs
from aotfactory.core.expressions import Expr, Op
from aotfactory.core.proofs import Domain, Interval
from aotfactory.plugins import tensorrt_api

trt = tensorrt_api.load().trt
from tensorrt.plugin import _tensor  # noqa: E402


class Dimension(trt.IDimensionExpr):  # type: ignore[misc,name-defined]
    """A symbolic expression in the shape that TensorRT's plugin layer expects of a dimension.

    TensorRT's class has no constructor; `Dimension.of` makes an instance that only ever serves Python callers.
    """

    expr: Expr
    domain: Domain

    @classmethod
    def of(cls, expr: Expr, domain: Domain) -> Dimension:
        dimension: Dimension = cls.__new__(cls)
        dimension.expr, dimension.domain = expr, domain
        return dimension

    def is_constant(self) -> bool:
        return isinstance(self.expr, expressions.Constant)

    def get_constant_value(self) -> int:
        return self.expr.evaluate({})

    def is_size_tensor(self) -> bool:
        return isinstance(self.expr, expressions.SizeTensor)

    def divisor(self) -> int:
        """The largest integer proved to divide this dimension over the whole profile (read by `aot_kernel`)."""
        return proofs.divisor(self.expr, self.domain)

    def bounds(self) -> Interval:
        """The least and the greatest value over the whole profile (read by `upper_bound`)."""
        return proofs.bounds(self.expr, self.domain)


class ExprBuilder:
    """`trt.IExprBuilder` for symbolic expressions."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    def dimension(self, expr: Expr) -> Dimension:
        return Dimension.of(expr, self.domain)

    def constant(self, value: int) -> Dimension:
        return self.dimension(expressions.Constant(value))

    def operation(self, op: Any, left: Dimension, right: Dimension) -> Dimension:
        return self.dimension(expressions.operation(Op[op.name], left.expr, right.expr))

    def declare_size_tensor(self, index: int, opt: Dimension, upper: Dimension) -> Dimension:
        return self.dimension(expressions.SizeTensor(index, opt.expr, upper.expr))


@contextmanager
def list_dims_exprs() -> Iterator[None]:
    """`trt.DimsExprs` stores C++ pointers, which a Python dimension has none of: hand out lists in its place."""
    original = trt.DimsExprs
    trt.DimsExprs = lambda length: [None] * length
    try:
        yield
    finally:
        trt.DimsExprs = original
        _tensor.SymIntExpr._exprBuilder = None
