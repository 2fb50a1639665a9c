# SPDX-License-Identifier: Apache-2.0
"""The plugin calls of an ONNX model, found as TensorRT's ONNX parser finds them.

A node is a plugin's where its operator is the plugin's name and its string attribute ``plugin_namespace``, or else its
domain, is the plugin's namespace. Tensors that other nodes make are inputs of the bundle: it covers the plugin calls.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

from aotfactory import dtypes, plugins
from aotfactory.catalog import Catalog
from aotfactory.errors import DefinitionError, UsageError
from aotfactory.network import Network, NetworkInput, Profile, Tensor
from aotfactory.network_builder import NetworkBuilder
from aotfactory.symbolic import Constant, Expr, parse
from aotfactory.targets import Request, check_names, profile_of

RESERVED = ("plugin_namespace", "plugin_version", "aot")
"""Attributes that say which plugin, and which of its implementations; they are not the plugin's own."""


def load(path: Path, catalog: Catalog, request: Request) -> Network:
    """The network of an ONNX file's plugin nodes.

    Args:
        request: Shapes and data types of the model's inputs where the file leaves a dimension open; attributes are
            the file's.

    Raises:
        UsageError: The file cannot be read, has no plugin node, or the shape of a plugin's input is not known.
    """
    try:
        model = onnx.load(path)
    except FileNotFoundError as error:
        raise UsageError(f"no such file: {path}") from error
    except Exception as error:
        raise UsageError(f"{path} is not an ONNX model: {error}") from error
    if request.attributes:
        raise UsageError("--attr does not apply to an ONNX file", hint="the attributes are those of its nodes")
    catalog.load_all()
    builder = NetworkBuilder()
    initializers = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in initializers]
    names = [i.name for i in inputs]
    check_names(request, names, str(path))
    for value in inputs:
        builder.add_input(_input(value, names, request))
    _add_calls(model, builder, path)
    if not builder.calls:
        raise UsageError(
            f"{path} has no plugin node",
            hint="a plugin's node has its name as operator and a plugin_namespace attribute",
        )
    used = {name for call in builder.calls for name in (*call.inputs, *call.outputs)}
    made = [name for call in builder.calls for name in call.outputs]
    read = [name for call in builder.calls for name in call.inputs]
    elsewhere = {o.name for o in model.graph.output} | {
        name
        for node in model.graph.node
        if _plugin_id(node) not in {c.plugin for c in builder.calls}
        for name in node.input
    }
    outputs = [name for name in made if name in elsewhere or name not in read]
    builder.tensors = {name: tensor for name, tensor in builder.tensors.items() if name in used}
    return builder.finish(path.stem, str(path), outputs)


def _add_calls(model: onnx.ModelProto, builder: NetworkBuilder, path: Path) -> None:
    """Add every plugin node, in order; the shapes between them are ONNX's own inference's."""
    known = {value.name: value for value in (*model.graph.input, *model.graph.value_info)}
    constants = {i.name: i for i in model.graph.initializer}
    for index, node in enumerate(model.graph.node):
        plugin_id = _plugin_id(node)
        if plugin_id is None or plugin_id not in plugins.registered():
            if plugin_id is not None and any(a.name == "plugin_namespace" for a in node.attribute):
                plugins.find(plugin_id)  # raises: it is meant to be a plugin's
            continue
        for name in node.input:
            if name in builder.tensors:
                continue
            if name in constants:
                dims = tuple(Constant(d) for d in constants[name].dims)
                builder.add_tensor(_tensor(name, constants[name].data_type, dims))
                continue
            inferred = _infer(model, builder)
            known = {v.name: v for v in (*inferred.graph.value_info, *inferred.graph.input)}
            if name not in known:
                raise UsageError(
                    f"{path}: the shape of {name!r}, an input of {plugin_id}, is not known",
                    hint="fold the model's constants first: polygraphy surgeon sanitize --fold-constants",
                )
            kind = known[name].type.tensor_type
            builder.add_tensor(_tensor(name, kind.elem_type, tuple(_dimension(d, name, path) for d in kind.shape.dim)))
        attributes = {a.name: _attribute(a) for a in node.attribute if a.name not in RESERVED}
        label = node.name or f"{node.op_type}_{index}"
        builder.add_call(label, plugin_id, attributes, list(node.input), list(node.output))


def _infer(model: onnx.ModelProto, builder: NetworkBuilder) -> onnx.ModelProto:
    """ONNX's shape inference, told what the builder knows; a dimension's expression travels as its text."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    inputs = {value.name: value for value in copy.graph.input}
    for tensor in builder.tensors.values():
        shape = [d.value if isinstance(d, Constant) else str(d) for d in tensor.shape]
        element = onnx.helper.np_dtype_to_tensor_dtype(dtypes.find(tensor.dtype).array)
        value = onnx.helper.make_tensor_value_info(tensor.name, element, shape)
        if tensor.name in inputs:
            inputs[tensor.name].CopyFrom(value)
        else:
            copy.graph.value_info.append(value)
    return shape_inference.infer_shapes(copy, data_prop=True)


def _dimension(dim: Any, name: str, path: Path) -> Expr:
    if dim.HasField("dim_value"):
        return Constant(dim.dim_value)
    try:
        return parse(dim.dim_param)
    except DefinitionError as error:
        raise UsageError(
            f"{path}: a dimension of {name!r} is not known", hint="give the inputs static shapes"
        ) from error


def _input(value: onnx.ValueInfoProto, names: list[str], request: Request) -> NetworkInput:
    kind = value.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim]
    asked = profile_of(request, value.name, names)
    if asked is None:
        unknown = [d for d in dims if isinstance(d, str)]
        if unknown:
            raise UsageError(
                f"dimension {unknown[0] or '?'} of {value.name} is open in the model",
                hint=f"--shape {value.name}=1x3x32x32, or --min-shape, --opt-shape and --max-shape",
            )
        asked = Profile.static(tuple(int(d) for d in dims))
    for point in (asked.min, asked.max):
        if len(point) != len(dims) or any(isinstance(d, int) and d != n for d, n in zip(dims, point, strict=True)):
            raise UsageError(f"{value.name} is {dims} in the model, not {list(point)}")
    symbols = tuple(
        d if isinstance(d, str) and d.isidentifier() else f"{value.name}_{axis}" for axis, d in enumerate(dims)
    )
    return NetworkInput(name=value.name, dtype=_dtype(kind.elem_type), profile=asked, dims=symbols)


def _tensor(name: str, element: int, shape: tuple[Expr, ...]) -> Tensor:
    return Tensor(name=name, role="input", dtype=_dtype(element), shape=shape)


def _dtype(element: int) -> str:
    return dtypes.of_array(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element))).name


def _plugin_id(node: onnx.NodeProto) -> str | None:
    attributes = {a.name: a for a in node.attribute}
    namespace = attributes["plugin_namespace"].s.decode() if "plugin_namespace" in attributes else node.domain
    return f"{namespace}::{node.op_type}" if namespace else None


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return value
