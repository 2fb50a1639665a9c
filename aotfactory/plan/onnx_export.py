# SPDX-License-Identifier: Apache-2.0
"""The ONNX model that a plan is built from: written for a bundle, or the user's own with its plugin nodes marked.

TensorRT's parser gives a node to a plugin by its operator, its string attribute ``plugin_namespace`` and its integer
attribute ``aot``; the other attributes become plugin fields, and only some of ONNX' types have one (`onnx_attributes`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from aotfactory.core.errors import OnnxNodeError, OnnxShapeError
from aotfactory.core.expressions import Constant, Expr, Symbol
from aotfactory.core.network import POINTS, Call, Network, Profile, Tensor
from aotfactory.targets import onnx_attributes
from aotfactory.targets.onnx_file import read_model
from aotfactory.targets.onnx_model import RESERVED, check_dims, model_inputs, symbol
from aotfactory.targets.onnx_shapes import NUMBERS
from aotfactory.targets.request import TargetOptions, check_names, profile_of

OPSET = 17
Ends = tuple[int, int, int]
"""The min, opt and max of one dimension."""

RECOMPILE = "compile the bundle again, for this model and these shapes"


def export(network: Network, *, aot: bool | None) -> onnx.ModelProto:
    """A model of the network's plugin calls.

    Args:
        aot: Which implementation of the plugins TensorRT shall take; None: those of a plugin library, which has one.

    Raises:
        UsageError: An attribute has a value that TensorRT's parser cannot pass on.
    """

    def value(tensor: Tensor) -> onnx.ValueInfoProto:
        shape = [d.value if isinstance(d, Constant) else str(d) for d in tensor.shape]
        return onnx.helper.make_tensor_value_info(tensor.name, NUMBERS[tensor.dtype], shape)

    nodes = []
    for call in network.calls:
        node = onnx.helper.make_node(call.id_parts[1], call.inputs, call.outputs, name=call.name)
        _set_attributes(node, call, aot)
        nodes.append(node)
    graph = onnx.helper.make_graph(
        nodes,
        network.name,
        [value(t) for t in network.inputs],
        [onnx.helper.make_tensor_value_info(t.name, NUMBERS[t.dtype], None) for t in network.outputs],
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    return onnx.helper.make_model_gen_version(graph, opset_imports=[opset], producer_name="aotfactory")


def mark(path: Path, network: Network, shapes: TargetOptions, *, aot: bool | None) -> tuple[Any, dict[str, Profile]]:
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
    model = read_model(path, {c.plugin for c in network.calls}, hint="say where the model is: --model PATH")
    calls = {name: call for call in network.calls for name in call.outputs}
    found = set()
    for node in model.graph.node:
        call = next((calls[name] for name in node.output if name in calls), None)
        if call is not None and node.op_type == call.id_parts[1]:
            _compare_attributes(node, call, path)
            _set_attributes(node, call, aot)
            node.output[:] = call.outputs
            found.add(call.name)
    if len(found) != len(network.calls):
        raise OnnxNodeError(
            f"{path} has {len(found)} of the {len(network.calls)} plugin nodes that the bundle was compiled for",
            hint="it is another model, or was changed: compile the bundle again",
        )
    inputs = model_inputs(model)
    names = [value.name for value in inputs]
    check_names(shapes, names, str(path))
    check_dims(shapes, inputs, path)
    return model, {v.name: _pin(v, network, profile_of(shapes, v.name, names), shapes, path) for v in inputs}


def _compare_attributes(node: onnx.NodeProto, call: Call, path: Path) -> None:
    """The node's attributes are those that the bundle was compiled for.

    Raises:
        UsageError: One is not.
    """
    where = f"{path}: call {call.name}"
    given = {a.name: a for a in node.attribute if a.name not in RESERVED}
    for name in sorted({*given, *call.attributes}):
        known = call.attributes.get(name)
        value = onnx_attributes.read(given[name], type(known), where) if name in given else None
        if known is None or value is None or not _equal(value, known):
            raise OnnxNodeError(
                f"attribute {name} is {value} in the model; the bundle was compiled for {known}",
                where=where,
                hint=RECOMPILE,
            )


def _equal(value: Any, known: Any) -> bool:
    if isinstance(known, str | bytes):
        return bool(value == known)
    array = np.ravel(known)
    return np.array_equal(np.ravel(value).astype(array.dtype), array)


def _set_attributes(node: onnx.NodeProto, call: Call, aot: bool | None) -> None:
    """The call's attributes in types that TensorRT's parser takes, and what says which plugin the node is."""
    del node.attribute[:]
    node.attribute.extend(onnx_attributes.write(n, v, f"call {call.name}") for n, v in call.attributes.items())
    which = {"plugin_namespace": call.id_parts[0], "plugin_version": "1"} | (
        {"aot": int(aot)} if aot is not None else {}
    )
    node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in which.items())


def _pin(
    value: onnx.ValueInfoProto, network: Network, asked: Profile | None, shapes: TargetOptions, path: Path
) -> Profile:
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
        raise OnnxShapeError(f"{where} has {len(dims)} dimensions in the model", hint=RECOMPILE)
    ends: list[Ends] = []
    for axis, dim in enumerate(dims):
        name = symbol(value.name, axis, dim.dim_param)
        in_range = _ends(Symbol(name), network) if name in network.ranges else None
        said = {
            "the bundle": known[axis] if known else in_range,
            "the model": (dim.dim_value,) * 3 if dim.HasField("dim_value") and dim.dim_value >= 0 else None,
            "--shape": wanted[axis] if wanted else None,
            "--dim": shapes.dims.get(dim.dim_param) if dim.dim_param else None,
        }
        found = {who: extents for who, extents in said.items() if extents is not None}
        if not found:
            raise OnnxShapeError(
                f"{where}: dimension {axis} is open, and the bundle does not say what it is",
                hint=f"give --shape {value.name}=..., or --min-shape, --opt-shape and --max-shape",
            )
        if len(set(found.values())) > 1:
            texts = (f"{' to '.join(map(str, dict.fromkeys(n)))} in {who}" for who, n in found.items())
            raise OnnxShapeError(f"{where}: dimension {axis} is {', '.join(texts)}", hint=RECOMPILE)
        ends += set(found.values())  # which is one
        if ends[axis][0] == ends[axis][2]:
            dim.dim_value = ends[axis][0]
        elif dim.dim_value < 0:
            dim.ClearField("dim_value")  # newer parsers take a negative number for dynamic; all take an open dimension
    low, opt, high = (tuple(e[i] for e in ends) for i in range(3))
    return Profile(min=low, opt=opt, max=high)


def _ends(expr: Expr, network: Network) -> Ends:
    low, opt, high = (expr.evaluate(network.at(point)) for point in POINTS)
    return low, opt, high
