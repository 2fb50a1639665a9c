# SPDX-License-Identifier: Apache-2.0
"""The plugin calls of an ONNX model, found as TensorRT's ONNX parser finds them.

A node is a plugin's where its operator is the plugin's name and its string attribute ``plugin_namespace``, or else its
domain, is the plugin's namespace. Tensors that other nodes make are inputs of the bundle: it covers the plugin calls.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
from onnx import TensorProto, numpy_helper, shape_inference

from aotfactory.core.errors import DefinitionError, UsageError
from aotfactory.core.expressions import Constant, Expr, parse
from aotfactory.core.network import Network, NetworkInput, Profile, Tensor
from aotfactory.plugins import definitions, registry
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.network_builder import NetworkBuilder
from aotfactory.targets.request import TargetOptions, check_names, profile_of

RESERVED = ("plugin_namespace", "plugin_version", "aot")
"""Attributes that say which plugin, and which of its implementations; they are not the plugin's own."""

STANDARD = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "com.microsoft")
SYMBOL = re.compile(r"[A-Za-z_]\w{0,63}", re.ASCII)


ELEMENTS = {
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.FLOAT8E4M3FN: "fp8",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "uint8",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool",
}
"""ONNX's element types, under the names that aotfactory writes."""


def load(path: Path, catalog: Catalog, request: TargetOptions) -> Network:
    """The network of an ONNX file's plugin nodes.

    Args:
        request: Shapes of the model's inputs where the file leaves a dimension open; data types and attributes are
            the file's.

    Raises:
        UsageError: The file cannot be read, has no plugin node, or the shape of a plugin's input is not known.
    """
    if request.attributes:
        raise UsageError("--attr does not apply to an ONNX file", hint="the attributes are those of its nodes")
    if request.dtype:
        raise UsageError("--dtype does not apply to an ONNX file", hint="the data types are those of its inputs")
    model = read_model(path)
    catalog.load_all()
    initializers = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in initializers]
    names = [i.name for i in inputs]
    check_names(request, names, str(path))
    builder = NetworkBuilder()
    for value in inputs:
        builder.add_input(_input(value, names, request))
    _Reader(path, model, builder).add_calls()
    if not builder.calls:
        raise UsageError(f"{path} has no plugin node", hint=_no_plugin_hint(model))
    return _covered(path, model, builder)


def read_model(path: Path, *, hint: str = "TARGET is a path to a .onnx file") -> onnx.ModelProto:
    """A model without its external data, its functions inlined.

    Args:
        hint: What to do where there is no such file.

    Raises:
        UsageError: It cannot be read, or is no model.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    except Exception as error:
        raise UsageError(f"{path} is not an ONNX model: {error}") from error
    if not model.HasField("graph"):
        raise UsageError(f"{path} is not an ONNX model: it has no graph")
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _no_plugin_hint(model: onnx.ModelProto) -> str:
    custom = sorted({i for node in model.graph.node if (i := _plugin_id(node)) and node.domain not in STANDARD})
    seen = f"; nodes that may be meant are {', '.join(custom)}: --plugins loads their definitions" if custom else ""
    return f"a plugin's node has its name as operator, and its namespace as domain or as plugin_namespace{seen}"


def _covered(path: Path, model: onnx.ModelProto, builder: NetworkBuilder) -> Network:
    """The network of the calls alone: without the tensors and dimensions that only other nodes use."""
    made = [name for call in builder.calls for name in call.outputs]
    read = {name for call in builder.calls for name in call.inputs}
    calls = {call.outputs for call in builder.calls}
    elsewhere = {o.name for o in model.graph.output}
    for node in model.graph.node:
        if tuple(node.output) not in calls:
            elsewhere |= set(node.input)
    outputs = [name for name in made if name in elsewhere or name not in read]
    builder.tensors = {name: tensor for name, tensor in builder.tensors.items() if name in {*made, *read}}
    used = {symbol for tensor in builder.tensors.values() for d in tensor.shape for symbol in d.symbols}
    builder.ranges = {name: r for name, r in builder.ranges.items() if name in used}
    return builder.finish(path.stem, str(path), outputs)


class _Reader:
    """Adds a model's plugin nodes to a network, in order; the shapes between them are ONNX's own inference's."""

    def __init__(self, path: Path, model: onnx.ModelProto, builder: NetworkBuilder) -> None:
        self.path, self.model, self.builder = path, model, builder
        self.constants = {i.name: i for i in model.graph.initializer}
        self.known: dict[str, onnx.ValueInfoProto] | None = None

    def add_calls(self) -> None:
        labels: set[str] = set()
        for index, node in enumerate(self.model.graph.node):
            plugin_id = _plugin_id(node)
            for attribute in node.attribute:
                self._refuse_plugins_in(attribute, node)
            if plugin_id is None or plugin_id not in registry.registered():
                if plugin_id is not None and any(a.name == "plugin_namespace" for a in node.attribute):
                    definitions.find(plugin_id)  # raises: it is meant to be a plugin's
                continue
            for name in node.input:
                if name not in self.builder.tensors:
                    self.builder.add_tensor(self._tensor(name, plugin_id))
            attributes = {a.name: _attribute(a) for a in node.attribute if a.name not in RESERVED}
            # Variants and their kernels are named after the call.
            label = re.sub(r"\W", "_", node.name or f"{node.op_type}_{index}", flags=re.ASCII)
            label = label if label not in labels else f"{label}_{index}"
            labels.add(label)
            self.builder.add_call(label, plugin_id, attributes, list(node.input), list(node.output))
            self.known = None

    def _refuse_plugins_in(self, attribute: onnx.AttributeProto, outer: onnx.NodeProto) -> None:
        for graph in (attribute.g, *attribute.graphs):
            for node in graph.node:
                if _plugin_id(node) in registry.registered():
                    raise UsageError(
                        f"{self.path}: {_plugin_id(node)} is inside a branch or body of {outer.op_type} {outer.name!r}",
                        hint="only plugin nodes of the main graph can be built; take it out of the subgraph",
                    )
                for inner in node.attribute:
                    self._refuse_plugins_in(inner, outer)

    def _tensor(self, name: str, plugin_id: str) -> Tensor:
        """A tensor that an initializer or another node makes; to the bundle it is an input."""
        where = f"{name!r}, an input of {plugin_id}"
        if not name:
            raise UsageError(f"{self.path}: {plugin_id} leaves an input out", hint="a plugin's inputs are not optional")
        if name in self.constants:
            constant = self.constants[name]
            return _tensor(name, constant.data_type, tuple(Constant(d) for d in constant.dims), where, self.path)
        if self.known is None:
            self.known = _infer(self.model, self.builder)
        kind = self.known[name].type.tensor_type if name in self.known else None
        if kind is None or not kind.HasField("shape"):
            raise UsageError(
                f"{self.path}: the shape of {where}, is not known",
                hint="fold the model's constants: polygraphy surgeon sanitize --fold-constants MODEL -o FOLDED",
            )
        shape = tuple(self._dimension(d, axis, where) for axis, d in enumerate(kind.shape.dim))
        return _tensor(name, kind.elem_type, shape, where, self.path)

    def _dimension(self, dim: Any, axis: int, where: str) -> Expr:
        """A dimension; its expression travels through ONNX's inference as its text."""
        problem = UsageError(
            f"{self.path}: dimension {axis} of {where}, is not known",
            hint="give the model's inputs static shapes: --shape NAME=1x3x32x32",
        )
        if dim.HasField("dim_value"):
            return Constant(dim.dim_value)
        try:
            expr = parse(dim.dim_param)
        except DefinitionError:
            raise problem from None
        if not expr.symbols <= set(self.builder.ranges):
            raise problem
        return expr


def _infer(model: onnx.ModelProto, builder: NetworkBuilder) -> dict[str, onnx.ValueInfoProto]:
    """Type and shape of what is known: by ONNX's shape inference, told what the builder knows, or else by the file."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    # Plugins need no entry among the operator sets for TensorRT, but for ONNX' inference they do.
    imported = {opset.domain for opset in copy.opset_import}
    for domain in sorted({node.domain for node in copy.graph.node} - imported - {"ai.onnx"}):
        copy.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    inputs = {value.name: value for value in copy.graph.input}
    elements = {name: element for element, name in ELEMENTS.items()}
    for tensor in builder.tensors.values():
        shape = [d.value if isinstance(d, Constant) else str(d) for d in tensor.shape]
        value = onnx.helper.make_tensor_value_info(tensor.name, elements[tensor.dtype], shape)
        if tensor.name in inputs:
            inputs[tensor.name].CopyFrom(value)
        else:
            copy.graph.value_info.append(value)
    try:
        inferred = shape_inference.infer_shapes(copy, data_prop=True)
    except Exception as error:
        raise UsageError(
            f"ONNX cannot infer the model's shapes: {error}", hint="is it valid with these inputs?"
        ) from error
    found = (*model.graph.value_info, *inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    return {value.name: value for value in found if value.type.tensor_type.HasField("shape")}


def _input(value: onnx.ValueInfoProto, names: list[str], request: TargetOptions) -> NetworkInput:
    kind = value.type.tensor_type
    asked = profile_of(request, value.name, names)
    where = f"input {value.name!r}"
    if not kind.HasField("shape"):
        if asked is None:
            raise UsageError(f"the shape of {where} is open in the model", hint=f"--shape {value.name}=1x3x32x32")
        dims: list[int | str] = [""] * len(asked.max)
    else:
        dims = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim]
    if asked is None:
        unknown = [d for d in dims if isinstance(d, str)]
        if unknown:
            raise UsageError(
                f"dimension {unknown[0] or '?'} of {where} is open in the model",
                hint=f"--shape {value.name}=1x3x32x32, or --min-shape, --opt-shape and --max-shape",
            )
        asked = Profile.static(tuple(int(d) for d in dims))
    for point in (asked.min, asked.max):
        if len(point) != len(dims) or any(isinstance(d, int) and d != n for d, n in zip(dims, point, strict=True)):
            shape = "x".join(str(d) or "?" for d in dims)
            raise UsageError(f"{where} is {shape} in the model, not {'x'.join(map(str, point))}")
    symbols = tuple(symbol(value.name, axis, d) for axis, d in enumerate(dims))
    return NetworkInput(name=value.name, dtype=_dtype(kind.elem_type, where), profile=asked, dims=symbols)


def symbol(name: str, axis: int, dim: int | str) -> str:
    """What a dimension of a model's input is called where it is dynamic: as in the model, if that will do."""
    if isinstance(dim, str) and SYMBOL.fullmatch(dim) and not keyword.iskeyword(dim):
        return dim
    return f"x_{re.sub(r'[^0-9A-Za-z_]', '_', name)[:48]}_{axis}"


def _tensor(name: str, element: int, shape: tuple[Expr, ...], where: str, path: Path) -> Tensor:
    return Tensor(name=name, role="input", dtype=_dtype(element, f"{path}: {where}"), shape=shape)


def _dtype(element: int, where: str) -> str:
    if element not in ELEMENTS:
        name = TensorProto.DataType.Name(element)
        raise UsageError(f"{where} is {name} in the model", hint=f"plugins take {', '.join(ELEMENTS.values())}")
    return ELEMENTS[element]


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
