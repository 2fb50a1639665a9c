# SPDX-License-Identifier: Apache-2.0
"""Dimension expressions in PyTorch's symbolic integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from aotfactory.core.errors import ExpressionError
from aotfactory.core.expressions import APPLY, Constant, Expr, Op, Operation, Symbol


def evaluate(expr: Expr, values: Mapping[str, Any]) -> Any:
    """The expression's value, an int or `torch.SymInt`, where each symbol has the given value."""
    match expr:
        case Constant(value):
            return value
        case Symbol(name):
            return values[name]
        case Operation(op, left, right):
            a, b = evaluate(left, values), evaluate(right, values)
            if op in (Op.MAX, Op.MIN):
                return torch.sym_max(a, b) if op is Op.MAX else torch.sym_min(a, b)
            if op in (Op.EQUAL, Op.LESS):
                return torch.sym_ite(a == b if op is Op.EQUAL else a < b, 1, 0)
            return APPLY[op](a, b)
    raise ExpressionError(f"{expr} is only known after the kernel ran")
