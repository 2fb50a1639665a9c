# SPDX-License-Identifier: Apache-2.0
"""The ONNX model that a plan is built from: written for a bundle, or the user's own with its plugin nodes marked.

TensorRT's parser gives a node to a plugin by its operator, its string attribute ``plugin_namespace`` and its integer
attribute ``aot``; the other attributes become plugin fields, and only some of ONNX' types have one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from aotfactory.core import dtypes
from aotfactory.core.errors import UsageError
from aotfactory.core.expressions import Constant, Expr, Symbol
from aotfactory.core.network import POINTS, Network, Profile
from aotfactory.targets.onnx_model import read_model, symbol
from aotfactory.targets.request import TargetOptions, check_names, profile_of

OPSET = 17
Ends = tuple[int, int, int]
"""The min, opt and max of one dimension."""

RECOMPILE = "compile the bundle again, for this model and these shapes"


def export(network: Network, *, aot: bool) -> onnx.ModelProto:
    """A model of the network's plugin calls.

    Args:
        aot: Which implementation of the plugins TensorRT shall take.

    Raises:
        UsageError: An attribute has a value that TensorRT's parser cannot pass on.
    """
    variables = {t.name: gs.Variable(t.name, _element(t.dtype)) for t in network.tensors}
    for tensor in network.tensors:
        if tensor.role == "input":
            variables[tensor.name].shape = [d.value if isinstance(d, Constant) else str(d) for d in tensor.shape]
    nodes = []
    for call in network.calls:
        namespace, name = call.id_parts
        attributes = {n: _attribute(call.name, n, v) for n, v in call.attributes.items()}
        nodes.append(
            gs.Node(
                op=name,
                name=call.name,
                attrs={**attributes, **_which(namespace, aot)},
                inputs=[variables[n] for n in call.inputs],
                outputs=[variables[n] for n in call.outputs],
            )
        )
    graph = gs.Graph(
        nodes=nodes,
        inputs=[variables[t.name] for t in network.inputs],
        outputs=[variables[t.name] for t in network.outputs],
        name=network.name,
        opset=OPSET,
    )
    return gs.export_onnx(graph, do_type_check=False)


def mark(path: Path, network: Network, shapes: TargetOptions, *, aot: bool) -> tuple[Any, dict[str, Profile]]:
    """The user's model with the shapes and the implementation that the bundle was made for.

    Args:
        network: The bundle's: the plugin calls of the model.
        shapes: Of inputs of the model whose open dimensions the bundle says nothing of.

    Returns:
        The model, and the profile of each of its inputs.

    Raises:
        UsageError: The file cannot be read, is another model than the bundle's, or an input has an open dimension that
            nothing fixes.
    """
    model = read_model(path, hint="say where the model is: --model PATH")
    calls = {call.outputs: call.id_parts for call in network.calls}
    found = 0
    for node in model.graph.node:
        namespace, operator = calls.get(tuple(node.output), ("", ""))
        if operator and node.op_type == operator:
            kept = [a for a in node.attribute if a.name not in ("aot", "plugin_namespace")]
            del node.attribute[:]
            node.attribute.extend(kept)
            for name, value in _which(namespace, aot).items():
                node.attribute.append(onnx.helper.make_attribute(name, value))
            found += 1
    if found != len(calls):
        raise UsageError(
            f"{path} has {found} of the {len(calls)} plugin nodes that the bundle was compiled for",
            hint="it is another model, or was changed: compile the bundle again",
        )
    constants = {i.name for i in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    names = [value.name for value in inputs]
    check_names(shapes, names, str(path))
    return model, {v.name: _pin(v, network, profile_of(shapes, v.name, names), path) for v in inputs}


def _which(namespace: str, aot: bool) -> dict[str, Any]:
    return {"plugin_namespace": namespace, "plugin_version": "1", "aot": int(aot)}


def _attribute(call: str, name: str, value: Any) -> Any:
    """The value in an ONNX type that arrives in the plugin unchanged."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "iub" and value.dtype != np.int32:
            value = [_int32(call, name, int(v)) for v in value]
        return value
    if isinstance(value, float):
        return np.array(value, np.float64)  # ONNX' own FLOAT is a float32
    if isinstance(value, bool | int):
        return _int32(call, name, int(value))
    return value


def _int32(call: str, name: str, value: int) -> int:
    if not -(2**31) <= value < 2**31:
        raise UsageError(
            f"attribute {name} of {call} is {value}; TensorRT's ONNX parser passes 32 bits", hint="use --mode network"
        )
    return value


def _element(dtype: str) -> Any:
    return onnx.helper.np_dtype_to_tensor_dtype(dtypes.find(dtype).array)


def _pin(value: onnx.ValueInfoProto, network: Network, asked: Profile | None, path: Path) -> Profile:
    """Write the static dimensions of an input into the model; returns the input's profile.

    A dimension is what the bundle was compiled for; where the bundle says nothing of it, what the model says or else
    what was asked for. Any two that say something must agree.
    """
    kind, where = value.type.tensor_type, f"{path}: input {value.name}"
    tensor = next((t for t in network.tensors if t.name == value.name), None)
    known = [_ends(d, network) for d in tensor.shape] if tensor else None
    wanted = list(zip(asked.min, asked.opt, asked.max, strict=True)) if asked else None
    if not kind.HasField("shape"):
        kind.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in known or wanted or ())
    dims = kind.shape.dim
    if any(given is not None and len(given) != len(dims) for given in (known, wanted)):
        raise UsageError(f"{where} has {len(dims)} dimensions in the model", hint=RECOMPILE)
    ends: list[Ends] = []
    for axis, dim in enumerate(dims):
        name = symbol(value.name, axis, dim.dim_param)
        in_range = _ends(Symbol(name), network) if name in network.ranges else None
        said = {
            "the bundle": known[axis] if known else in_range,
            "the model": (dim.dim_value,) * 3 if dim.HasField("dim_value") else None,
            "--shape": wanted[axis] if wanted else None,
        }
        found = {who: extents for who, extents in said.items() if extents is not None}
        if not found:
            raise UsageError(
                f"{where}: dimension {axis} is open, and the bundle does not say what it is",
                hint=f"give --shape {value.name}=..., or --min-shape, --opt-shape and --max-shape",
            )
        if len(set(found.values())) > 1:
            texts = (f"{' to '.join(map(str, dict.fromkeys(n)))} in {who}" for who, n in found.items())
            raise UsageError(f"{where}: dimension {axis} is {', '.join(texts)}", hint=RECOMPILE)
        ends += set(found.values())  # which is one
        if ends[axis][0] == ends[axis][2]:
            dim.dim_value = ends[axis][0]
    low, opt, high = (tuple(e[i] for e in ends) for i in range(3))
    return Profile(min=low, opt=opt, max=high)


def _ends(expr: Expr, network: Network) -> Ends:
    low, opt, high = (expr.evaluate(network.at(point)) for point in POINTS)
    return low, opt, high
