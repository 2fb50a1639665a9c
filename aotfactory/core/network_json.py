# SPDX-License-Identifier: Apache-2.0
"""A network as JSON values, as a bundle's manifest and the interpreter's request hold it, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from aotfactory.core import expressions
from aotfactory.core.network import Call, Network, Range, Tensor


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


def network_from_json(data: Mapping[str, Any]) -> Network:
    """The network of a manifest."""
    return Network(
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
                attributes={n: _value(a) for n, a in c["attributes"].items()},
                inputs=tuple(c["inputs"]),
                outputs=tuple(c["outputs"]),
            )
            for c in data["calls"]
        ),
    )


def _attribute(value: Any) -> dict[str, Any]:
    if isinstance(value, np.ndarray):
        return {"type": f"{value.dtype.name}[]", "value": [_finite(v) for v in value.tolist()]}
    if isinstance(value, bytes):
        return {"type": "bytes", "value": value.hex()}
    return {"type": type(value).__name__, "value": _finite(value)}


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: they are texts there."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _value(data: dict[str, Any]) -> Any:
    kind, value = data["type"], data["value"]
    if kind.endswith("[]"):
        return np.array(value, dtype=kind.removesuffix("[]"))
    if kind == "float":
        return float(value)
    return bytes.fromhex(value) if kind == "bytes" else value
