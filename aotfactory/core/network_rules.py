# SPDX-License-Identifier: Apache-2.0
"""The rules between the parts of a network. Every reader and writer of networks holds them; so does the launcher
(``runtime/bundle/manifest.cpp``, and ``evaluate.cpp`` at the shapes that it runs).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from aotfactory.core import dtypes
from aotfactory.core.dimensions import unsolved
from aotfactory.core.errors import DocumentError
from aotfactory.core.expressions import Expr, SizeTensor
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import POINTS, Call, Network, Range, Tensor
from aotfactory.core.proofs import Interval, prove_within


def require_consistent(network: Network) -> None:
    """Every name leads somewhere, and tensors are made once, before they are used.

    Raises:
        DefinitionError: The first thing that is not so.
    """
    tensors = {t.name: t for t in network.tensors}
    _require_distinct("tensors", [t.name for t in network.tensors])
    _require_distinct("calls", [c.name for c in network.calls])
    for name, r in network.ranges.items():
        _require(r.min <= r.opt <= r.max, f"min <= opt <= max does not hold for dimension {name}")
    for tensor in network.tensors:
        for extent in tensor.shape:
            require_known_symbols(extent, network, f"the shape of {tensor.name!r}")
    there = {t.name for t in network.inputs}
    for call in network.calls:
        for name in call.inputs:
            _require(name in there, f"{name!r} is used by {call.name} before a call makes it")
        for name in call.outputs:
            _require(name in tensors, f"{call.name} makes {name!r}, which is not among the tensors")
            _require(name not in there, f"{name!r} is made twice, or is an input that {call.name} makes")
            _require_made(tensors[name], call, tensors, there)
        _require_distinct(f"outputs of {call.name}", list(call.outputs))
        there |= set(call.outputs)
    for name in tensors:
        _require(name in there, f"no call makes {name!r}")
    open_symbols = unsolved(sorted(network.ranges), [t.shape for t in network.inputs])
    _require(not open_symbols, f"no shapes of the inputs tell the dimension {', '.join(open_symbols)}")
    for tensor in network.tensors:
        if tensor.role == "input":
            sized = any(isinstance(extent, SizeTensor) for extent in tensor.shape)
            _require(tensor.aliases is None and not sized, f"the input {tensor.name!r} is made by a call")
        require_possible(tensor, network.ranges)
    for tensor in network.tensors:
        if tensor.aliases is not None:
            _require_same_shape(tensor, tensors[tensor.aliases], network)


def require_possible(tensor: Tensor, ranges: Mapping[str, Range]) -> None:
    """A tensor can have its shape everywhere in the profile, as far as it can be refuted, and is not too large.

    Raises:
        DefinitionError: A dimension is negative or above the limit somewhere, or the tensor has too many bytes.
    """
    domain = {name: Interval(r.min, r.max) for name, r in ranges.items()}
    for axis, extent in enumerate(tensor.shape):
        expr = extent.upper if isinstance(extent, SizeTensor) else extent
        proof = prove_within(expr, 0, LIMITS["extent"], domain)
        if proof.status == "refuted":
            at = ", ".join(f"{name}={value}" for name, value in (proof.counterexample or {}).items())
            found = "divides by 0" if proof.value is None else f"is {proof.value}"
            raise DocumentError(
                f"dimension {axis} of {tensor.name!r} {found}{f' at {at}' if at else ''}, not within 0 and "
                f"{LIMITS['extent']} (limit extent)"
            )
    for point in POINTS:
        values = {symbol: getattr(r, point) for symbol, r in ranges.items()}
        size = dtypes.find(tensor.dtype).itemsize * math.prod(max(d.evaluate(values), 1) for d in tensor.shape)
        if size > LIMITS["tensor_bytes"]:
            at = f" at the profile's {point}" if ranges else ""
            limit = f"more than {LIMITS['tensor_bytes']} (limit tensor_bytes)"
            raise DocumentError(f"{tensor.name!r} has {size} bytes{at}, {limit}")


def require_known_symbols(expr: Expr, network: Network, where: str) -> None:
    """Raise DefinitionError if an expression has a symbol that is not of the optimization profile."""
    unknown = sorted(expr.symbols - network.ranges.keys())
    _require(not unknown, f"{where} has the dimension {', '.join(unknown)}, which is not in the profile")


def _require_made(tensor: Tensor, call: Call, tensors: Mapping[str, Tensor], there: set[str]) -> None:
    if tensor.aliases is not None:
        known = tensor.aliases in there
        _require(known, f"{tensor.name!r} shares the buffer of {tensor.aliases!r}, which does not exist before it")
        shared = tensors[tensor.aliases]
        _require(shared.dtype == tensor.dtype, f"{tensor.name!r} shares a buffer of another data type")
        sized = any(isinstance(extent, SizeTensor) for extent in (*tensor.shape, *shared.shape))
        _require(not sized, f"{tensor.name!r} shares a buffer with {shared.name!r}, but a shape depends on data")
    for extent in tensor.shape:
        if isinstance(extent, SizeTensor):
            _require(extent.index < len(call.outputs), f"{call.name} has no output {extent.index} for a size")
            size = tensors.get(call.outputs[extent.index])
            scalar = size is not None and not size.shape and size.dtype in ("int32", "int64")
            _require(scalar, f"{call.outputs[extent.index]!r} is not a scalar of type int32 or int64")


def _require_same_shape(tensor: Tensor, shared: Tensor, network: Network) -> None:
    for point in POINTS:
        at = network.at(point)
        own, other = ([extent.evaluate(at) for extent in t.shape] for t in (tensor, shared))
        _require(
            own == other,
            f"{tensor.name!r} shares the buffer of {shared.name!r}, but has the shape {own} instead of {other} at the "
            f"profile's {point}",
        )


def _require_distinct(what: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        _require(name not in seen, f"two {what} are named {name!r}")
        seen.add(name)


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise DocumentError(problem)
