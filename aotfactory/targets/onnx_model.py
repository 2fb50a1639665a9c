# SPDX-License-Identifier: Apache-2.0
"""The plugin calls of an ONNX model, found as TensorRT's ONNX parser finds them.

A node is a plugin's where its operator is the plugin's name and its string attribute ``plugin_namespace``, or else its
domain, is the plugin's namespace. Tensors that other nodes make are inputs of the bundle: it covers the plugin calls.
docs/onnx.md says row by row what TensorRT's parser does and what is done here.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import onnx

from aotfactory.core import proofs
from aotfactory.core.dimensions import unsolved
from aotfactory.core.errors import DimensionError, OnnxFileError, OnnxNodeError, OnnxShapeError, OptionsError
from aotfactory.core.expressions import Expr, Symbol
from aotfactory.core.extras import install_command
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Network, NetworkInput, Profile, Range, Tensor, id_parts, shape_text
from aotfactory.core.proofs import Interval
from aotfactory.plugins import definitions, registry
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets import onnx_attributes
from aotfactory.targets.network_builder import NetworkBuilder
from aotfactory.targets.onnx_file import (
    all_nodes,
    element_name,
    outputs,
    plugin_id,
    read_model,
    reads,
    subgraphs,
    title,
)
from aotfactory.targets.onnx_shapes import ELEMENTS, Shapes
from aotfactory.targets.request import TargetOptions, check_names, profile_of

RESERVED = ("plugin_namespace", "plugin_version", "aot")
"""Attributes that say which plugin, and which of its implementations; they are not the plugin's own."""

STANDARD = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "com.microsoft")
SYMBOL = re.compile(r"[A-Za-z_]\w{0,63}", re.ASCII)


def load(path: Path, catalog: Catalog, request: TargetOptions) -> Network:
    """The network of an ONNX file's plugin nodes.

    Args:
        request: Shapes of the model's inputs where the file leaves a dimension open; data types and attributes are
            the file's.

    Raises:
        UsageError: The file cannot be read, has no plugin node, or the shape of a plugin's input is not known.
    """
    if request.attributes:
        raise OptionsError("--attr does not apply to an ONNX file", hint="the attributes are those of its nodes")
    if request.dtype:
        raise OptionsError("--dtype does not apply to an ONNX file", hint="the data types are those of its inputs")
    catalog.load_all()
    plugins = frozenset(registry.registered())
    model = read_model(path, plugins)
    inputs = model_inputs(model)
    names = [i.name for i in inputs]
    check_names(request, names, str(path))
    check_dims(request, inputs, path)
    items = [_input(value, names, request) for value in inputs]
    named = [_dims(value) for value in inputs]
    network = _read(path, model, plugins, items, named, frozenset())
    unbound = frozenset(unsolved(network.ranges, [t.shape for t in network.inputs]))
    # Nothing that the bundle is given says what these are: expressions over them become dimensions of their own.
    return _read(path, model, plugins, items, named, unbound) if unbound else network


def _read(
    path: Path,
    model: onnx.ModelProto,
    plugins: frozenset[str],
    items: list[NetworkInput],
    named: list[list[int | str]],
    unbound: frozenset[str],
) -> Network:
    builder = NetworkBuilder()
    symbols: dict[str, Expr] = {}
    for item, dims in zip(items, named, strict=True):
        builder.add_input(item)
        shape = builder.tensors[item.name].shape
        symbols |= {d: extent for d, extent in zip(dims, shape, strict=False) if isinstance(d, str) and d}
    reader = _Reader(path, model, builder, plugins, Shapes(model, path, builder, symbols), unbound)
    beside = reader.add_calls()
    if not builder.calls:
        raise OnnxFileError(f"{path} has no plugin node", hint=_no_plugin_hint(model, plugins))
    return _covered(path, model, builder, beside)


def model_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a model is fed with: those that no initializer is a default of."""
    constants = {i.name for i in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def check_dims(request: TargetOptions, inputs: list[onnx.ValueInfoProto], path: Path) -> None:
    """Every ``--dim`` names an open dimension of the model's inputs.

    Raises:
        UsageError: One does not.
    """
    known = sorted({d for value in inputs for d in _dims(value) if isinstance(d, str) and d})
    for name in request.dims:
        if name not in known:
            raise DimensionError(
                f"--dim: {path} has no open dimension {name!r}",
                hint=f"its open dimensions: {', '.join(known) or 'none'}",
            )


def _no_plugin_hint(model: onnx.ModelProto, plugins: frozenset[str]) -> str:
    """Nodes that may be meant: of domains that are not ONNX's own, or with a plugin's name, whatever its case."""
    hint = "a plugin's node has its name as operator, and its namespace as domain or as plugin_namespace"
    nodes = list(all_nodes(model.graph.node))
    near: set[str] = set()
    for plugin in sorted(plugins):
        namespace, name = id_parts(plugin)
        meant = sorted({n.op_type for n in nodes if n.op_type.lower() == name.lower()})
        near.update(meant)
        for operator in meant:
            hint += f"; for the nodes {operator}, {plugin} is loaded: operator {name}, plugin_namespace {namespace!r}"
    custom = sorted({i for n in nodes if (i := plugin_id(n)) and n.domain not in STANDARD and n.op_type not in near})
    return hint + (
        f"; nodes that may be meant are {', '.join(custom)}: --plugins loads their definitions" if custom else ""
    )


def _covered(path: Path, model: onnx.ModelProto, builder: NetworkBuilder, beside: Counter[str]) -> Network:
    """The network of the calls alone: without the tensors and dimensions that only other nodes use."""
    made = [name for call in builder.calls for name in call.outputs]
    read = {name for call in builder.calls for name in call.inputs}
    elsewhere = {o.name for o in model.graph.output}
    for node in model.graph.node:
        if not set(node.output) & set(made):
            elsewhere |= reads(node)
    outputs = [name for name in made if name in elsewhere or name not in read]
    builder.tensors = {name: tensor for name, tensor in builder.tensors.items() if name in {*made, *read}}
    used = {symbol for tensor in builder.tensors.values() for d in tensor.shape for symbol in d.symbols}
    builder.ranges = {name: r for name, r in builder.ranges.items() if name in used}
    return replace(builder.finish(path.stem, str(path), outputs), beside=dict(sorted(beside.items())))


class _Reader:
    """Adds a model's plugin nodes to a network, in order."""

    def __init__(
        self,
        path: Path,
        model: onnx.ModelProto,
        builder: NetworkBuilder,
        plugins: frozenset[str],
        shapes: Shapes,
        unbound: frozenset[str],
    ) -> None:
        self.path, self.model, self.builder, self.plugins, self.shapes = path, model, builder, plugins, shapes
        self.unbound = unbound
        self.own: dict[Expr, Symbol] = {}

    def add_calls(self) -> Counter[str]:
        """Returns the number of the other nodes, by operator."""
        labels: set[str] = set()
        beside: Counter[str] = Counter()
        count = sum(plugin_id(node) in self.plugins for node in self.model.graph.node)
        if count > LIMITS["calls"]:
            limit = f"more than {LIMITS['calls']} (limit calls)"
            raise OnnxFileError(f"{self.path} has {count} plugin nodes, {limit}", hint="split the model")
        for index, node in enumerate(self.model.graph.node):
            self._refuse_plugins_inside(node)
            found = plugin_id(node)
            if found is not None and found in self.plugins:
                # Variants and their kernels are named after the call.
                label = re.sub(r"\W", "_", node.name or f"{node.op_type}_{index}", flags=re.ASCII)
                label = label if label not in labels else f"{label}_{index}"
                labels.add(label)
                self._add_call(label, index, node, found)
                continue
            if found is not None and any(a.name == "plugin_namespace" for a in node.attribute):
                definitions.find(found)  # raises: it is meant to be a plugin's
            self.shapes.add(index, node)
            beside[node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"] += 1
        if self.builder.calls:
            self.shapes.finish()
        return beside

    def _add_call(self, label: str, index: int, node: onnx.NodeProto, found: str) -> None:
        where = f"{self.path}: {title(node, index)}"
        plugin = definitions.find(found)
        version = next((a.s for a in node.attribute if a.name == "plugin_version"), b"1")
        if version != b"1":
            raise OnnxNodeError(
                f"plugin_version is {version.decode(errors='replace')!r}",
                where=where,
                hint="quickly deployable plugins are version 1: write plugin_version '1', or leave it out",
            )
        for name in node.input:
            if name not in self.builder.tensors:
                self.builder.add_tensor(self._tensor(name, found, where))
        attributes = {
            a.name: onnx_attributes.read(a, plugin.attributes.get(a.name), where)
            for a in node.attribute
            if a.name not in RESERVED
        }
        made = outputs(node, plugin.definition.num_outputs, where)
        self.builder.add_call(label, found, attributes, list(node.input), list(made), where=where)
        for name in made:
            self.shapes.check_stated(self.builder.tensors[name], where)

    def _refuse_plugins_inside(self, outer: onnx.NodeProto) -> None:
        for graph in subgraphs(outer):
            for node in all_nodes(graph.node):
                if plugin_id(node) in self.plugins:
                    raise OnnxNodeError(
                        f"{self.path}: {plugin_id(node)} is inside a branch or body of {outer.op_type} {outer.name!r}",
                        hint="only plugin nodes of the main graph can be built; take it out of the subgraph",
                    )

    def _tensor(self, name: str, plugin: str, where: str) -> Tensor:
        """A tensor that an initializer or another node makes; to the bundle it is an input."""
        what = f"{name!r}, an input of {plugin}"
        if not name:
            raise OnnxNodeError(f"{plugin} leaves an input out", where=where, hint="a plugin's inputs are not optional")
        element, shape = self.shapes.find(name)
        if not element or shape is None:
            raise OnnxShapeError(
                f"{self.path}: the shape of {what}, is not known",
                hint=f"state type and shape of {name!r} in the model's value_info, or fold the model's constants: "
                f"polygraphy surgeon sanitize --fold-constants MODEL -o FOLDED ({install_command('fold')})",
            )
        dims: list[Expr] = []
        for axis, d in enumerate(shape):
            if d is None:
                raise OnnxShapeError(
                    f"{self.path}: dimension {axis} of {what}, is not known",
                    hint=f"state the shape of {name!r} in the model's value_info, over the dimensions' names of its "
                    "inputs, or give the model's inputs static shapes: --shape NAME=1x3x32x32",
                )
            dims.append(d if not d.symbols & self.unbound else self._own(d, symbol(name, axis, "")))
        return Tensor(name=name, role="input", dtype=_dtype(element, f"{self.path}: {what}"), shape=tuple(dims))

    def _own(self, extent: Expr, name: str) -> Symbol:
        """A dimension that stands for an expression, with the range that the expression has."""
        if extent not in self.own:
            bounds = proofs.bounds(extent, {n: Interval(r.min, r.max) for n, r in self.builder.ranges.items()})
            opt = extent.evaluate({n: r.opt for n, r in self.builder.ranges.items()})
            self.builder.ranges[name] = Range(min=max(bounds.low, 0), opt=opt, max=bounds.high)
            self.own[extent] = Symbol(name)
        return self.own[extent]


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """The dimensions of a model's input as the file has them: "" where it says nothing; -1 means that, too."""
    dims = value.type.tensor_type.shape.dim
    return [(d.dim_value if d.dim_value >= 0 else "") if d.HasField("dim_value") else d.dim_param for d in dims]


def _input(value: onnx.ValueInfoProto, names: list[str], request: TargetOptions) -> NetworkInput:
    where = f"input {value.name!r}"
    if not value.type.HasField("tensor_type"):
        raise OnnxShapeError(f"{where} is not a tensor in the model", hint="TensorRT takes tensors only")
    kind = value.type.tensor_type
    asked = profile_of(request, value.name, names)
    if not kind.HasField("shape"):
        if asked is None:
            raise OnnxShapeError(f"the shape of {where} is open in the model", hint=f"--shape {value.name}=1x3x32x32")
        dims: list[int | str] = [""] * len(asked.max)
    else:
        dims = _dims(value)
    asked = asked or _from_dims(dims, request, where, value.name)
    for point in (asked.min, asked.max):
        if len(point) != len(dims) or any(isinstance(d, int) and d != n for d, n in zip(dims, point, strict=True)):
            shape = shape_text(d or "?" for d in dims)
            raise OnnxShapeError(
                f"{where} is {shape} in the model, not {shape_text(point)}",
                hint="only dimensions that the model leaves open (a name, ? or -1) can be chosen",
            )
    for axis, d in enumerate(dims):
        wanted = request.dims.get(d) if isinstance(d, str) else None
        if wanted is not None and wanted != (asked.min[axis], asked.opt[axis], asked.max[axis]):
            raise OnnxShapeError(
                f"--dim {d} and the shape given for {where} contradict each other in dimension {axis}",
                hint="give one of them",
            )
    symbols = tuple(symbol(value.name, axis, d) for axis, d in enumerate(dims))
    return NetworkInput(name=value.name, dtype=_dtype(kind.elem_type, where), profile=asked, dims=symbols)


def _from_dims(dims: list[int | str], request: TargetOptions, where: str, name: str) -> Profile:
    """The profile of an input for which no shape was given: numbers are the model's, names those of ``--dim``."""
    ends = []
    for d in dims:
        if isinstance(d, str) and d not in request.dims:
            raise OnnxShapeError(
                f"dimension {d or '?'} of {where} is open in the model",
                hint=(f"--dim {d}=1:8:64, " if d else "")
                + f"--shape {name}=1x3x32x32, or --min-shape, --opt-shape and "
                "--max-shape",
            )
        ends.append(request.dims[d] if isinstance(d, str) else (d, d, d))
    return Profile(min=tuple(e[0] for e in ends), opt=tuple(e[1] for e in ends), max=tuple(e[2] for e in ends))


def symbol(name: str, axis: int, dim: int | str) -> str:
    """The name of a dynamic dimension of a model's input: the model's own, if it can be one here."""
    if isinstance(dim, str) and SYMBOL.fullmatch(dim) and not keyword.iskeyword(dim):
        return dim
    return f"x_{re.sub(r'[^0-9A-Za-z_]', '_', name)[:48]}_{axis}"


def _dtype(element: int, where: str) -> str:
    if element not in ELEMENTS:
        raise OnnxShapeError(
            f"{where} is {element_name(element)} in the model", hint=f"plugins take {', '.join(ELEMENTS.values())}"
        )
    return ELEMENTS[element]
