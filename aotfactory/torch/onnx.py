# SPDX-License-Identifier: Apache-2.0
"""A plugin's node in the models that PyTorch's two ONNX exporters write."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import onnx
import torch

from aotfactory.core.dtypes import DTYPES
from aotfactory.core.network import id_parts
from aotfactory.plugins.attributes import attribute_values, element_type
from aotfactory.plugins.registry import Plugin

TENSORS = tuple(dtype.onnx.lower() for dtype in DTYPES.values())
"""The types that plugins take, as ONNX's schemas write them."""


def translation(plugin: Plugin, defaults: Mapping[str, Any]) -> Callable[..., Any]:
    """For the exporter of `torch.export`: makes the node of one call (onnxscript traces it)."""
    import onnxscript

    namespace, name = id_parts(plugin.id)
    node = onnxscript.values.Op(onnxscript.values.Opset(namespace, 1), name, schema(plugin))
    inputs = len(plugin.inputs)

    def translate(*given: Any, **named: Any) -> Any:
        attributes = _attributes(plugin, defaults, given[inputs:], named)
        return node(*given[:inputs], **attributes)

    translate.__name__ = name
    return translate


def schema(plugin: Plugin) -> onnx.defs.OpSchema:
    """The plugin in ONNX's terms: any tensors, and its attributes."""
    kinds = {int: "INT", bool: "INT", float: "FLOAT", str: "STRING"}
    attributes = {"plugin_namespace": "STRING"}
    for name, kind in plugin.attributes.items():
        element = element_type(kind)
        attributes[name] = kinds[kind] if element is None else "FLOATS" if element.kind == "f" else "INTS"
    formal, attribute = onnx.defs.OpSchema.FormalParameter, onnx.defs.OpSchema.Attribute
    types = [f"tensor({t})" for t in TENSORS]
    inputs = [formal(n, f"T{i}") for i, n in enumerate(plugin.inputs)]
    outputs = [formal(f"output{i}", f"U{i}") for i in range(plugin.definition.num_outputs)]
    namespace, name = id_parts(plugin.id)
    return onnx.defs.OpSchema(
        name,
        namespace,
        1,
        inputs=inputs,
        outputs=outputs,
        type_constraints=[(p.type_str, types, "any tensor") for p in (*inputs, *outputs)],
        attributes=[
            attribute(n, getattr(onnx.defs.OpSchema.AttrType, t), required=True) for n, t in attributes.items()
        ],
    )


def register_symbolic(plugin: Plugin, defaults: Mapping[str, Any]) -> None:
    """For the TorchScript exporter (`torch.onnx.export(..., dynamo=False)`)."""
    helper = torch.onnx.symbolic_helper
    kinds = ["v"] * len(plugin.inputs)
    suffixes = []
    for kind in plugin.attributes.values():
        element = element_type(kind)
        if element is None:
            kinds.append({int: "i", float: "f", bool: "b", str: "s"}[kind])
            suffixes.append({int: "i", float: "f", bool: "i", str: "s"}[kind])
        else:
            kinds.append("fs" if element.kind == "f" else "is")
            suffixes.append("f" if element.kind == "f" else "i")

    def symbolic(g: Any, *given: Any) -> Any:
        inputs, values = given[: len(plugin.inputs)], given[len(plugin.inputs) :]
        attributes = _attributes(plugin, defaults, values, {})
        namespace = attributes.pop("plugin_namespace")
        named = {f"{name}_{suffix}": value for (name, value), suffix in zip(attributes.items(), suffixes, strict=True)}
        return g.op(plugin.id, *inputs, plugin_namespace_s=namespace, outputs=plugin.definition.num_outputs, **named)

    # parse_args matches kinds with the parameters' names.
    names = ["g", *plugin.inputs, *plugin.attributes]
    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names]
    symbolic.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    torch.onnx.register_custom_op_symbolic(plugin.id, helper.parse_args(*kinds)(symbolic), 9)


def _attributes(
    plugin: Plugin, defaults: Mapping[str, Any], given: tuple[Any, ...], named: Mapping[str, Any]
) -> dict[str, Any]:
    """The node's attributes as plain Python values, in the plugin's order."""
    values = {**defaults, **dict(zip(plugin.attributes, given, strict=False)), **named}
    found = attribute_values(plugin, {n: v for n, v in values.items() if n in plugin.attributes})
    plain = {n: v.tolist() if hasattr(v, "tolist") else v for n, v in found.items()}
    return {
        **{n: int(v) if isinstance(v, bool) else v for n, v in plain.items()},
        "plugin_namespace": id_parts(plugin.id)[0],
    }
