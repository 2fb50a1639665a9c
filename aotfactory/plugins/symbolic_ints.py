# SPDX-License-Identifier: Apache-2.0
"""Dimensions where launch code wants numbers: the constant, the profile's maximum, or a message that says why not."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from aotfactory.core.errors import DefinitionError, ExpressionError
from aotfactory.plugins import tensorrt_api

tensorrt_api.load()
from tensorrt.plugin import _tensor  # noqa: E402

SymInt: Any = _tensor.SymIntExpr


def constant(dimension: Any) -> int:
    """The value of a dimension, or of arithmetic on dimensions, that is the same in the whole optimization profile.

    Raises:
        DefinitionError: It is only known when the engine runs.
    """
    value = folded(dimension)
    if isinstance(value, int):
        return value
    raise ExpressionError(
        f"{describe(value)} is not constant: its value is only known when the engine runs",
        hint="aotfactory.upper_bound(dimension) gives the largest value in the profile, to size blocks by; or make it "
        "static, with the same number in --min-shape and --max-shape",
    )


def upper_bound(dimension: Any) -> int:
    """The largest value that a dimension, or arithmetic on dimensions, has in the optimization profile.

    Raises:
        DefinitionError: Nothing is known of it, as in a `register` or `autotune`.
    """
    value = folded(dimension)
    if isinstance(value, int):
        return value
    known = getattr(value._expr, "bounds", None)
    if known is None:
        raise ExpressionError(
            f"nothing is known of {describe(value)} here",
            hint="call upper_bound in the aot_impl; in autotune, x.shape.max has the profile's largest shape",
        )
    return int(known().high)


def folded(value: Any) -> Any:
    """A constant expression or NumPy scalar as a plain number; anything else as it is."""
    if isinstance(value, SymInt):
        # Not its is_constant, which TensorRT has for ShapeExpr only.
        return value._expr.get_constant_value() if value._expr is not None and value._expr.is_constant() else value
    return value.item() if isinstance(value, np.generic) else value


def divisor(value: Any) -> int:
    """The largest proved divisor of a symbolic integer; 1 under TensorRT's own expressions, which tell nothing."""
    return int(getattr(value._expr, "divisor", lambda: 1)())


def describe(value: Any) -> str:
    """A symbolic integer in words: ``N*48 (48 to 432)``."""
    text = str(getattr(value._expr, "expr", "a dimension"))
    known = getattr(value._expr, "bounds", None)
    return f"{text} ({known().low} to {known().high})" if known else text


class RunTimeInt:
    """A symbolic integer as the functions of `triton.heuristics` see it: what the profile proves, it answers.

    Arithmetic gives another one, and a comparison an answer where it is the same in the whole profile.

    Args:
        unknown: What to raise where the value itself is needed.
    """

    def __init__(self, value: Any, unknown: DefinitionError) -> None:
        self.value, self.unknown = value, unknown

    @classmethod
    def of(cls, value: Any, name: str, asked_by: str, remedy: str) -> RunTimeInt:
        """An argument, or a dimension of one, by the argument's name; who asks for it; and what to do instead."""
        text = f"{asked_by} needs the value of {name}, {describe(value)}, which is only known when the engine runs"
        return cls(value, ExpressionError(text, hint=remedy))

    def _again(self, value: Any) -> Any:
        value = folded(value)
        return value if isinstance(value, int) else RunTimeInt(value, self.unknown)

    def _unknown(self) -> NoReturn:
        raise self.unknown

    def __add__(self, other: Any) -> Any:
        return self._again(self.value + _plain(other))

    def __sub__(self, other: Any) -> Any:
        return self._again(self.value - _plain(other))

    def __mul__(self, other: Any) -> Any:
        return self._again(self.value * _plain(other))

    def __floordiv__(self, other: Any) -> Any:
        return self._again(self.value // _plain(other))

    __radd__, __rmul__ = __add__, __mul__

    def __mod__(self, other: Any) -> Any:
        by = _plain(other)
        if isinstance(by, int) and by and divisor(self.value) % by == 0:
            return 0
        return self._again(self.value - self.value // by * by)

    def _below(self, other: Any, *, or_equal: bool) -> bool:
        least, most = _ends(self.value)
        low, high = _ends(_plain(other))
        if most < low or (or_equal and most <= low):
            return True
        if least > high or (not or_equal and least >= high):
            return False
        return self._unknown()

    def __lt__(self, other: Any) -> bool:
        return self._below(other, or_equal=False)

    def __le__(self, other: Any) -> bool:
        return self._below(other, or_equal=True)

    def __gt__(self, other: Any) -> bool:
        return not self <= other

    def __ge__(self, other: Any) -> bool:
        return not self < other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, int | RunTimeInt):
            return False
        (least, most), (low, high) = _ends(self.value), _ends(_plain(other))
        if most < low or least > high:
            return False
        return self._unknown()

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return bool(self != 0)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._unknown()

    def _number(self, *_: Any) -> NoReturn:
        self._unknown()

    __index__ = __int__ = __float__ = __rshift__ = __lshift__ = __or__ = __and__ = __truediv__ = _number
    __rsub__ = __rfloordiv__ = __rtruediv__ = __rmod__ = __pow__ = __rpow__ = __neg__ = _number


def _plain(other: Any) -> Any:
    return other.value if isinstance(other, RunTimeInt) else other


def _ends(value: Any) -> tuple[float, float]:
    if not isinstance(value, SymInt):
        return value, value
    known = getattr(value._expr, "bounds", None)
    return (known().low, known().high) if known else (-float("inf"), float("inf"))


# `triton.next_power_of_2(n)`, however it was imported, computes `(n - 1) | (n - 1) >> 1 | ...`: so that it gives the
# number where the dimension is constant, and says what to do where it is not.
def _shifted(self: Any, places: int) -> int:
    return constant(self) >> places


def _joined(self: Any, bits: int) -> int:
    return constant(self) | bits


SymInt.__rshift__, SymInt.__or__ = _shifted, _joined
