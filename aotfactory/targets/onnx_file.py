# SPDX-License-Identifier: Apache-2.0
"""ONNX files and their nodes: which are plugins', as TensorRT's parser decides it."""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
from onnx import TensorProto

from aotfactory.core.errors import OnnxFileError, OnnxNodeError
from aotfactory.core.files import read_file
from aotfactory.core.limits import LIMITS


def read_model(
    path: Path, plugins: Collection[str], *, hint: str = "TARGET is a path to a .onnx file"
) -> onnx.ModelProto:
    """A model without its external data, its functions inlined except where a plugin has the function's name.

    TensorRT's parser prefers a plugin to a function of the same name, where the node says ``plugin_namespace``; and
    aotfactory writes that attribute into the model that TensorRT gets.

    Args:
        plugins: Ids of the plugins that there are.
        hint: What to do where there is no such file.

    Raises:
        UsageError: It cannot be read, or is not a model.
    """
    try:
        model = onnx.ModelProto.FromString(read_file(path, limit=LIMITS["onnx_bytes"]))
    except OSError as error:
        raise OnnxFileError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    except Exception as error:
        raise OnnxFileError(f"{path} is not an ONNX model: {error}") from error
    if not model.HasField("graph"):
        raise OnnxFileError(f"{path} is not an ONNX model: it has no graph")
    _require_bounded(model, path)
    if bad := next(_not_utf8(model), None):
        raise OnnxFileError(f"{path} is not an ONNX model: {bad!r:.80} in it is not UTF-8")
    if model.functions:
        nodes = [*all_nodes(model.graph.node), *(n for f in model.functions for n in all_nodes(f.node))]
        kept = {(n.domain, n.op_type) for n in nodes if plugin_id(n) in plugins}
        inlined = [(f.domain, f.name) for f in model.functions if (f.domain, f.name) not in kept]
        try:
            model = onnx.inliner.inline_selected_functions(model, inlined)
        except Exception as error:
            raise OnnxFileError(
                f"{path}: its functions cannot be inlined: {error}", hint="is the model valid?"
            ) from error
    _sort(model.graph, path)
    return model


def _require_bounded(model: onnx.ModelProto, path: Path) -> None:
    """Count the nodes that a model has with its functions inlined: 30 levels that call twice are a billion.

    Raises:
        UsageError: They are too many, or a function calls itself.
    """
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int | None] = {}

    def size(nodes: Sequence[onnx.NodeProto], depth: int) -> int:
        total = 0
        for node in all_nodes(nodes):
            total += inlined((node.domain, node.op_type), depth)
            if total > LIMITS["onnx_nodes"]:
                limit = f"{LIMITS['onnx_nodes']} nodes (limit onnx_nodes)"
                raise OnnxFileError(
                    f"{path} has more than {limit}", hint="its functions are inlined: are they meant so?"
                )
        return total

    def inlined(key: tuple[str, str], depth: int) -> int:
        if key not in functions:
            return 1
        if key not in sizes:
            sizes[key] = None
            if depth > LIMITS["json_depth"]:
                raise OnnxFileError(f"{path}: functions that call functions more than {depth} deep")
            sizes[key] = size(functions[key].node, depth + 1)
        found = sizes[key]
        if found is None:
            raise OnnxFileError(f"{path}: the function {'::'.join(key)} calls itself", hint="is the model valid?")
        return found

    size(model.graph.node, 0)


def _not_utf8(message: Any) -> Iterator[bytes]:
    """Texts that are none: protobuf hands them out as bytes, or fails where they are used."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in [value] if hasattr(value, "ListFields") else value:
                yield from _not_utf8(inner)
        elif field.type == field.TYPE_STRING:
            texts = [value] if isinstance(value, str | bytes) else value
            yield from (text for text in texts if isinstance(text, bytes))


def element_name(element: int) -> str:
    """ONNX's name of an element type; for one that it does not have, the number."""
    return str(TensorProto.DataType.Name(element)) if element in TensorProto.DataType.values() else f"type {element}"


def plugin_id(node: onnx.NodeProto) -> str | None:
    """``namespace::name`` of the plugin that a node would be: by ``plugin_namespace``, or else by its domain."""
    given = next((a for a in node.attribute if a.name == "plugin_namespace"), None)
    namespace = node.domain if given is None else given.s.decode(errors="replace")
    return f"{namespace}::{node.op_type}" if namespace else None


def title(node: onnx.NodeProto, index: int) -> str:
    """A node, for messages: ``node '/block/pad' (CircPad)``."""
    return f"node {node.name!r} ({node.op_type})" if node.name else f"node {index} ({node.op_type})"


def all_nodes(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes, and those inside their branches and bodies."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from all_nodes(graph.node)


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Branches and bodies of If, Loop and Scan."""
    return [graph for a in node.attribute for graph in ([a.g] if a.HasField("g") else a.graphs)]


def reads(node: onnx.NodeProto) -> set[str]:
    """Names of the tensors that a node reads, those that only its branches or bodies read included."""
    names = set(node.input)
    for graph in subgraphs(node):
        inner = {name for n in graph.node for name in reads(n)} | {o.name for o in graph.output}
        own = {o for n in graph.node for o in n.output} | {i.name for i in (*graph.input, *graph.initializer)}
        names |= inner - own
    return names - {""}


def outputs(node: onnx.NodeProto, count: int, where: str) -> tuple[str, ...]:
    """A name for each of the plugin's `count` outputs; those that the node leaves out get one.

    TensorRT's parser skips empty names; newer ones want as many others as the plugin has outputs.

    Raises:
        UsageError: The node has more outputs than the plugin.
    """
    named = [name for name in node.output if name]
    if len(named) == count:
        return tuple(named)
    given = list(node.output)
    while given and not given[-1]:
        given.pop()
    if len(given) > count:
        raise OnnxNodeError(
            f"the node has {len(named)} outputs ({', '.join(named)}), the plugin {count}",
            where=where,
            hint="take the others out of the model",
        )
    if not named:
        raise OnnxNodeError("the node's outputs have no names", where=where, hint="name them, or take the node out")
    given += [""] * (count - len(given))
    return tuple(name or f"{named[0]}.{i}" for i, name in enumerate(given))


def _sort(graph: onnx.GraphProto, path: Path) -> None:
    """Nodes in the order in which they can run, as TensorRT's parser takes them; most files have them so."""
    maker = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    needs = {i: {maker[n] for n in reads(node) if n in maker} for i, node in enumerate(graph.node)}
    if all(j < i for i, earlier in needs.items() for j in earlier):
        return
    try:
        order = list(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        raise OnnxNodeError(f"{path}: the nodes feed each other in a circle", hint="is the model valid?") from error
    nodes = [graph.node[i] for i in order]
    del graph.node[:]
    graph.node.extend(nodes)
