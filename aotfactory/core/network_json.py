# SPDX-License-Identifier: Apache-2.0
"""A network as JSON values, as a bundle's manifest and the interpreter's request hold it, and back.

``schemas/network.schema.json`` says what each value may be, `network_rules` what they may be together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aotfactory.core import expressions
from aotfactory.core.errors import DocumentError
from aotfactory.core.network import Call, Network, Range, Tensor
from aotfactory.core.network_rules import require_consistent

if TYPE_CHECKING:
    import numpy as np


def network_to_json(network: Network) -> dict[str, Any]:
    """Symbols, tensors and calls of a network, as the manifest has them."""
    return {
        "symbols": {n: {"min": r.min, "opt": r.opt, "max": r.max} for n, r in network.ranges.items()},
        "tensors": [
            {
                "name": t.name,
                "role": t.role,
                "dtype": t.dtype,
                "shape": [d.to_json() for d in t.shape],
                "aliases": t.aliases,
            }
            for t in network.tensors
        ],
        "calls": [
            {
                "name": c.name,
                "plugin": c.plugin,
                "attributes": {n: _attribute(v) for n, v in c.attributes.items()},
                "inputs": list(c.inputs),
                "outputs": list(c.outputs),
            }
            for c in network.calls
        ],
    }


class PlainArray(tuple[Any, ...]):
    """An array attribute without NumPy, which takes longer to load than some commands to run."""

    dtype = ""

    @classmethod
    def of(cls, values: Any, dtype: str) -> PlainArray:
        array = cls(values)
        array.dtype = dtype
        return array


def network_from_json(data: Mapping[str, Any], *, plain: bool = False) -> Network:
    """The network of a manifest that its schema allows.

    Args:
        plain: Array attributes as `PlainArray`, to be shown or written again, instead of NumPy's.

    Raises:
        DefinitionError: Its parts contradict each other.
    """
    network = Network(
        name=data["name"],
        target=data["target"],
        ranges={n: Range(**r) for n, r in data["symbols"].items()},
        tensors=tuple(
            Tensor(
                name=t["name"],
                role=t["role"],
                dtype=t["dtype"],
                shape=tuple(expressions.from_json(d) for d in t["shape"]),
                aliases=t["aliases"],
            )
            for t in data["tensors"]
        ),
        calls=tuple(
            Call(
                name=c["name"],
                plugin=c["plugin"],
                attributes={n: _value(a, f"{c['name']}.{n}", plain) for n, a in c["attributes"].items()},
                inputs=tuple(c["inputs"]),
                outputs=tuple(c["outputs"]),
            )
            for c in data["calls"]
        ),
    )
    require_consistent(network)
    return network


def _attribute(value: Any) -> dict[str, Any]:
    if isinstance(value, PlainArray):
        return {"type": f"{value.dtype}[]", "value": list(value)}
    if hasattr(value, "tolist") and hasattr(value, "ndim"):  # NumPy's
        return {"type": f"{value.dtype.name}[]", "value": [_finite(v) for v in value.tolist()]}
    if isinstance(value, bytes):
        return {"type": "bytes", "value": value.hex()}
    return {"type": type(value).__name__, "value": _finite(value)}


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: they are texts there."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _value(data: dict[str, Any], where: str, plain: bool) -> Any:
    kind, value = data["type"], data["value"]
    try:
        if kind.endswith("[]"):
            element = kind.removesuffix("[]")
            return PlainArray.of(value, element) if plain else _array(element, value)
        if kind == "float":
            return float(value)
        return bytes.fromhex(value) if kind == "bytes" else value
    except (ValueError, TypeError, OverflowError) as error:
        raise DocumentError(f"attribute {where} is not {kind}: {error}") from error


def _array(element: str, items: list[Any]) -> np.ndarray[Any, Any]:
    """Numbers of the one kind that the element type has, all at one depth; the schema has the list of types."""
    import numpy as np

    dtype = np.dtype(element)
    kinds = {"b": bool, "i": int, "u": int}.get(dtype.kind)
    flat = list(items)
    for _ in range(8):
        if not any(isinstance(item, list) for item in flat):
            break
        flat = [inner for item in flat for inner in (item if isinstance(item, list) else [item])]
    for item in flat:
        fits = type(item) is kinds if kinds else type(item) in (int, float) or item in ("nan", "inf", "-inf")
        if not fits:
            raise TypeError(f"{item!r:.40} is not an element of it")
    return np.array(items, dtype=dtype)
