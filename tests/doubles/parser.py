# SPDX-License-Identifier: Apache-2.0
"""A double of the ONNX parser, which turns plugin nodes into layers as onnx-tensorrt's fallback importer does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from aotfactory.core import dtypes
from doubles.library_layer import Creator, handles
from doubles.plugin_layer import Tensor
from doubles.signatures import Double, trt

FIELD_OF_TENSOR = {
    TensorProto.FLOAT: "FLOAT32",
    TensorProto.INT8: "INT8",
    TensorProto.INT32: "INT32",
    TensorProto.FLOAT16: "FLOAT16",
    TensorProto.DOUBLE: "FLOAT32",
}
"""Types of tensor attributes that become plugin fields, as NVIDIA's own parser was seen to make them
(tests/plan/test_nvidia_parser.py); int64, bool and the unsigned ones do not."""


class ParserError(Double, real="ParserError"):
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text


class OnnxParser(Double, real="OnnxParser"):
    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._errors = network, []

    def parse(self, model: Any, path: Any = None) -> bool:
        try:
            self._parse(onnx.load_model_from_string(bytes(model)))
        except Exception as error:
            self._errors.append(ParserError(str(error)))
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index]

    def _parse(self, model: onnx.ModelProto) -> None:
        tensors: dict[str, Tensor] = {}
        for value in model.graph.input:
            kind = value.type.tensor_type
            shape = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
            name = dtypes.of_array(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))).trt
            tensors[value.name] = self._network.add_input(value.name, getattr(trt.DataType, name), shape)
        for node in model.graph.node:
            inputs = [tensors[name] for name in node.input]
            if node.op_type in ("Relu", "Identity"):
                outputs = [Tensor.of("", inputs[0].dtype, inputs[0].exprs)]
            else:
                plugin = self._plugin(node)
                if isinstance(plugin, trt.IPluginV3QuickCore):
                    layer = self._network.add_plugin((inputs, [], plugin))
                else:
                    layer = self._network.add_plugin_v3(inputs, [], plugin)
                layer.name = node.name
                outputs = [layer.get_output(i) for i in range(len(node.output))]
            for name, tensor in zip(node.output, outputs, strict=True):
                tensor.name = name
                tensors[name] = tensor
        for value in model.graph.output:
            self._network.mark_output(tensors[value.name])

    def _plugin(self, node: onnx.NodeProto) -> Any:
        attributes = {a.name: a for a in node.attribute}
        version = attributes["plugin_version"].s.decode() if "plugin_version" in attributes else "1"
        namespace = attributes["plugin_namespace"].s.decode() if "plugin_namespace" in attributes else node.domain
        creator = trt.get_plugin_registry().get_creator(node.op_type, version, namespace)
        if creator is None:
            raise ValueError(
                f"Plugin not found, are the plugin name, version, and namespace correct? {namespace}::{node.op_type}"
            )
        aot = attributes.get("aot")
        if aot is not None and aot.type != AttributeProto.INT:
            raise ValueError(f"attribute aot of {node.name} is not an integer")
        request = self._network._request(None if aot is None else bool(aot.i))
        # The creator's own list says which attributes are looked up; TensorRT warns of those that are missing.
        fields = [_field(attributes[f.name]) for f in creator.field_names if f.name in attributes]
        if isinstance(creator, trt.IPluginCreatorV3One):
            made = Creator._of(creator, f"{namespace}::{node.op_type}", next(reversed(handles)))
            return made.create_plugin(node.op_type, trt.PluginFieldCollection(fields), trt.TensorRTPhase.BUILD)
        return creator.create_plugin(
            node.op_type, namespace, trt.PluginFieldCollection(fields), trt.TensorRTPhase.BUILD, request
        )


def _field(attribute: AttributeProto) -> Any:
    kind = attribute.type
    if kind == AttributeProto.FLOAT:
        return trt.PluginField(attribute.name, np.array([attribute.f], np.float32), trt.PluginFieldType.FLOAT32)
    if kind == AttributeProto.INT:
        return trt.PluginField(attribute.name, np.array([attribute.i]).astype(np.int32), trt.PluginFieldType.INT32)
    if kind == AttributeProto.STRING:
        return trt.PluginField(attribute.name, attribute.s + b"\0", trt.PluginFieldType.CHAR)
    if kind == AttributeProto.FLOATS:
        return trt.PluginField(attribute.name, np.array(attribute.floats, np.float32), trt.PluginFieldType.FLOAT32)
    if kind == AttributeProto.INTS:
        return trt.PluginField(attribute.name, np.array(attribute.ints).astype(np.int32), trt.PluginFieldType.INT32)
    if kind == AttributeProto.TENSOR and attribute.t.data_type in FIELD_OF_TENSOR:
        data = np.ravel(numpy_helper.to_array(attribute.t))
        data = data.astype(np.float32) if data.dtype == np.float64 else data
        return trt.PluginField(
            attribute.name, data, getattr(trt.PluginFieldType, FIELD_OF_TENSOR[attribute.t.data_type])
        )
    raise ValueError(f"attribute {attribute.name} has a type that is unsupported in plugin fields")
