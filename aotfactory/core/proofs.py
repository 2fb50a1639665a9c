# SPDX-License-Identifier: Apache-2.0
"""Facts about a dimension expression over a whole optimization profile: bounds, divisibility, proofs of a range."""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aotfactory.core.errors import DefinitionError, ExpressionError
from aotfactory.core.expressions import APPLY, DIVISIONS, Constant, Expr, Op, Operation, SizeTensor, Symbol


@dataclass(frozen=True)
class Interval:
    """The integers from `low` to `high`, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ExpressionError(f"empty range {self}", hint="write the smaller end first")

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"


Domain = Mapping[str, Interval]


def bounds(expr: Expr, domain: Domain) -> Interval:
    """A range that holds every value of `expr` over the domain, by interval arithmetic: sound, not always tight.

    Raises:
        DefinitionError: A symbol has no range, or the range of a divisor contains 0.
    """
    match expr:
        case Constant(value):
            return Interval(value, value)
        case Symbol(name) if name in domain:
            return domain[name]
        case Operation(_, left, right):
            return _combine(expr, bounds(left, domain), bounds(right, domain))
        case SizeTensor(_, _, upper):
            most = bounds(upper, domain)
            return Interval(min(most.low, 0), max(most.high, 0))
    raise ExpressionError(f"dimension {expr} has no range", hint=f"known: {', '.join(domain) or 'none'}")


def _combine(expr: Operation, a: Interval, b: Interval) -> Interval:
    if expr.op in DIVISIONS and b.low <= 0 <= b.high:
        raise ExpressionError(f"{expr.right} may be 0 in {expr} (range {b})", hint="keep divisors positive: max(x, 1)")
    if expr.op is Op.EQUAL:
        return Interval(int(a.low == a.high == b.low == b.high), int(a.low <= b.high and b.low <= a.high))
    # every other operation is monotonic in each operand, so its extremes are at the corners
    corners = [APPLY[expr.op](x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return Interval(min(corners), max(corners))


def _known(expr: Expr | _Polynomial, domain: Domain) -> Interval | None:
    try:
        return expr.bounds(domain) if isinstance(expr, _Polynomial) else bounds(expr, domain)
    except DefinitionError:
        return None


def divisor(expr: Expr, domain: Domain) -> int:
    """The largest integer provable to divide every value that `expr` has over the domain; 0 if it is always 0.

    Nothing is known of a symbol without a range; an assignment that divides by zero gives no value.
    """
    whole = _known(expr, domain)
    if whole is not None and whole.low == whole.high:
        return abs(whole.low)
    if not isinstance(expr, Operation):
        return 1
    left, right = divisor(expr.left, domain), divisor(expr.right, domain)
    a, b = _known(expr.left, domain), _known(expr.right, domain)
    match expr.op:
        case Op.PROD:
            return left * right
        case Op.MAX | Op.MIN if a is not None and b is not None and (a.low >= b.high or b.low >= a.high):
            return left if (a.low >= b.high) is (expr.op is Op.MAX) else right
        case Op.SUM | Op.SUB | Op.MAX | Op.MIN:
            return math.gcd(left, right)
        case Op.FLOOR_DIV | Op.CEIL_DIV if b is not None and b.low == b.high != 0 and left % right == 0:
            return left // right
    return 1


@dataclass(frozen=True)
class Proof:
    """The answer of `prove_within`; if refuted, an assignment and the value there (None: it divides by zero)."""

    status: Literal["proved", "refuted", "unknown"]
    counterexample: Mapping[str, int] | None = None
    value: int | None = None

    def __str__(self) -> str:
        if self.counterexample is None:
            return self.status
        at = ", ".join(f"{name}={value}" for name, value in self.counterexample.items()) or "every assignment"
        return f"{self.status}: {'division by zero' if self.value is None else self.value} at {at}"


def prove_within(expr: Expr, low: int, high: int, domain: Domain) -> Proof:
    """Whether `expr` has a value, and one from `low` to `high`, for every assignment in the domain.

    Bounds first; then the domain is halved along its least divided symbol, breadth first, until every box is proved or
    a corner of one refutes. Deterministic: it tries at most 4096 boxes, fewer (64 or more) for an expression of more
    than 32 operations and operands; a domain of up to half as many assignments is always decided.
    """
    ranges = {name: bounds(Symbol(name), domain) for name in sorted(expr.symbols)}
    boxes, polynomial = deque([ranges]), _Polynomial(expr)
    for _ in range(max(64, min(4096, 2**17 // expr.size))):
        if not boxes:
            break
        box = boxes.popleft()
        found = [known for known in (_known(expr, box), _known(polynomial, box)) if known is not None]
        if any(known.low >= low for known in found) and any(known.high <= high for known in found):
            continue
        ends = [(known.low, known.high) for known in box.values()]
        # every corner of up to three symbols; with more, first where all are least, where all are greatest, some others
        for corner in ([a for a, _ in ends], [b for _, b in ends], *itertools.islice(itertools.product(*ends), 1, 7)):
            point = dict(zip(box, corner, strict=True))
            at = _known(expr, {name: Interval(value, value) for name, value in point.items()})
            if at is None or at.low < low or at.high > high:
                value = None if at is None else at.low if at.low < low else at.high
                return Proof("refuted", point, value)
        share = {
            name: (known.high - known.low) / max(1, ranges[name].high - ranges[name].low) for name, known in box.items()
        }
        name = max(share, key=share.__getitem__)
        middle = (box[name].low + box[name].high) // 2
        boxes.append({**box, name: Interval(box[name].low, middle)})
        boxes.append({**box, name: Interval(middle + 1, box[name].high)})
    return Proof("unknown" if boxes else "proved")


class _Polynomial:
    """An expression as a polynomial of atoms (symbols, other operations): what cancels no longer widens its bounds."""

    def __init__(self, expr: Expr) -> None:
        self.atoms: dict[str, Expr] = {}  # by text; also those that cancel, for they may divide by zero
        self.terms = self._expand(expr)
        self.parts: dict[str, tuple[_Polynomial, _Polynomial]] = {}
        for text, atom in self.atoms.items():  # a loop, as comprehensions would take twice the stack
            if isinstance(atom, Operation):
                self.parts[text] = (_Polynomial(atom.left), _Polynomial(atom.right))

    def _expand(self, expr: Expr) -> Mapping[tuple[str, ...], int]:
        """The coefficient of each product of atoms, at most 32 products of at most 6 atoms."""
        before = dict(self.atoms)
        match expr:
            case Constant(value):
                return {(): value}
            case Operation((Op.SUM | Op.SUB | Op.PROD) as op, left, right):
                terms, a, b = Counter[tuple[str, ...]](), self._expand(left), self._expand(right)
                if op is Op.PROD:
                    for m, n in itertools.product(a, b):
                        terms[tuple(sorted(m + n))] += a[m] * b[n]
                else:
                    terms.update(a)
                    (terms.update if op is Op.SUM else terms.subtract)(b)
                if len(terms) <= 32 and all(len(product) <= 6 for product in terms):
                    return terms
        self.atoms = {**before, str(expr): expr}  # too large: its own atoms are left to its parts
        return {(str(expr),): 1}

    def bounds(self, domain: Domain) -> Interval:
        """Bounds from writing every atom as its low end plus a rest of 0 or more; raises as `bounds` does."""
        known, shifted = dict[str, Interval](), Counter[tuple[str, ...]]()
        for text, atom in self.atoms.items():
            if isinstance(atom, Operation):
                left, right = self.parts[text]
                known[text] = _combine(atom, left.bounds(domain), right.bounds(domain))
            else:
                known[text] = bounds(atom, domain)
        for product, coefficient in self.terms.items():
            expanded: list[tuple[tuple[str, ...], int]] = [((), coefficient)]
            for text in product:
                expanded += [((*rests, text), c) for rests, c in expanded]
                half = len(expanded) // 2
                expanded[:half] = [(rests, c * known[text].low) for rests, c in expanded[:half]]
            for rests, c in expanded:
                shifted[rests] += c
        constant = shifted.pop((), 0)
        most = [c * math.prod(known[text].high - known[text].low for text in rests) for rests, c in shifted.items()]
        return Interval(constant + sum(min(m, 0) for m in most), constant + sum(max(m, 0) for m in most))
