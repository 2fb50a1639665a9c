# SPDX-License-Identifier: Apache-2.0
"""Types and shapes between a model's plugin nodes.

They come from ONNX's own inference, which is told what the plugins' definitions give; a dimension's expression travels
through it as its text. Where it finds a dimension only in part, the file's own ``value_info`` and what follows from the
other dimensions (`onnx_symbolic`) complete it. The nodes are inferred in stretches, each once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import TensorProto, shape_inference

from aotfactory.core.dtypes import DTYPES
from aotfactory.core.errors import DefinitionError, OnnxShapeError
from aotfactory.core.expressions import Constant, Expr, parse
from aotfactory.core.network import Tensor
from aotfactory.targets.network_builder import NetworkBuilder
from aotfactory.targets.onnx_file import element_name, reads, title
from aotfactory.targets.onnx_opsets import modernized
from aotfactory.targets.onnx_symbolic import complete

ELEMENTS = {int(TensorProto.DataType.Value(dtype.onnx)): dtype.name for dtype in DTYPES.values()}
"""ONNX's element types, under the names that aotfactory writes."""

NUMBERS = {name: element for element, name in ELEMENTS.items()}
SMALL = 4096
"""Elements of an initializer that may be a shape or part of one; larger ones are only told by their type."""

Shape = list[Expr | None]


class Shapes:
    """Shapes and types of a model's tensors, as far as they are known while its nodes are added in order.

    Args:
        symbols: What the names of the inputs' dimensions stand for.
        builder: The network that the plugin nodes are added to; its tensors are known best.
    """

    def __init__(
        self, model: onnx.ModelProto, path: Path, builder: NetworkBuilder, symbols: Mapping[str, Expr]
    ) -> None:
        self.model, self.path, self.builder, self.symbols = model, path, builder, symbols
        graph = model.graph
        self.constants = {i.name: i for i in graph.initializer}
        self.stated = {v.name: v for v in (*graph.value_info, *graph.output) if v.type.HasField("tensor_type")}
        self._inferred: dict[str, onnx.ValueInfoProto] = {}
        self._pending: list[tuple[int, onnx.NodeProto]] = []
        self._integer_makers: dict[str, onnx.NodeProto] = {}
        self._opsets = _opsets(model)

    def add(self, index: int, node: onnx.NodeProto) -> None:
        """Add a node that is not a plugin's."""
        self._pending.append((index, node))

    def finish(self) -> None:
        """Infer what follows the last plugin node, for its contradictions."""
        if self._pending:
            self._infer()

    def find(self, name: str) -> tuple[int, Shape | None]:
        """Element type (0: not known) and shape of a tensor; None for a shape or a dimension that is not known."""
        if name in self.builder.tensors:
            tensor = self.builder.tensors[name]
            return NUMBERS[tensor.dtype], list(tensor.shape)
        if name in self.constants:
            constant = self.constants[name]
            return constant.data_type, [Constant(d) for d in constant.dims]
        if self._pending and name not in self._inferred:
            self._infer()
        return self._known(name)

    def _known(self, name: str) -> tuple[int, Shape | None]:
        inferred, stated = self._inferred.get(name), self.stated.get(name)
        element, shape = self._read(inferred)
        said, written = self._read(stated)
        if shape is None or written is None or len(shape) != len(written):
            return element or said, written if shape is None else shape
        return element or said, [w if d is None else d for d, w in zip(shape, written, strict=True)]

    def _read(self, value: onnx.ValueInfoProto | None) -> tuple[int, Shape | None]:
        if value is None:
            return 0, None
        kind = value.type.tensor_type
        return kind.elem_type, [self.dimension(d) for d in kind.shape.dim] if kind.HasField("shape") else None

    def dimension(self, dim: onnx.TensorShapeProto.Dimension) -> Expr | None:
        """A dimension of the file or of the inference, if it says what it is over the inputs' dimensions."""
        if dim.HasField("dim_value"):
            return Constant(dim.dim_value) if dim.dim_value >= 0 else None
        if dim.dim_param in self.symbols:
            return self.symbols[dim.dim_param]
        try:
            expr = parse(dim.dim_param)
        except DefinitionError:
            return None
        return expr if expr.symbols <= set(self.builder.ranges) else None

    def _infer(self) -> None:
        """Infer the nodes that were added since the last time, and those that computed shapes for them before."""
        pending, self._pending = self._pending, []
        nodes = [*self._earlier(node for _, node in pending), *(node for _, node in pending)]
        made = {name for node in nodes for name in node.output if name}
        values = [self._value(n) for n in sorted({n for node in nodes for n in reads(node)} - made)]
        small = [
            self.constants[v.name]
            for v in values
            if v.name in self.constants
            and self.constants[v.name].data_location != TensorProto.EXTERNAL
            and _count(self.constants[v.name]) <= SMALL
        ]
        told: dict[str, onnx.ValueInfoProto] = {}
        newer, opsets = modernized(nodes, self._opsets)
        while True:
            graph = onnx.helper.make_graph(newer, "between", values, [], initializer=small)
            graph.value_info.extend(told.values())
            model = onnx.helper.make_model(
                graph,
                opset_imports=opsets,
                functions=list(self.model.functions),
                ir_version=self.model.ir_version,
            )
            try:
                found = shape_inference.infer_shapes(model, data_prop=True).graph.value_info
            except Exception as error:
                raise OnnxShapeError(
                    f"{self.path}: ONNX cannot infer the model's shapes: {error}", hint="is it valid with these inputs?"
                ) from error
            self._inferred.update({v.name: v for v in found if v.name in made})
            more = self._completed(nodes, told)
            if not more:
                break
            told |= more
        for index, node in pending:
            self._check_types(index, node)
            for name in node.output:
                if self._known(name)[0] in (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL):
                    self._integer_makers[name] = node

    def _completed(
        self, nodes: list[onnx.NodeProto], told: Mapping[str, onnx.ValueInfoProto]
    ) -> dict[str, onnx.ValueInfoProto]:
        """Complete tensors that the inference found in part, from the file's statements or their other dimensions."""
        more: dict[str, onnx.ValueInfoProto] = {}
        for node in nodes:
            for name in node.output:
                inferred = self._read(self._inferred.get(name))[1]
                if not name or name in told or (inferred is not None and None not in inferred):
                    continue
                element, shape = self._known(name)
                if shape is None or None in shape:
                    shape = complete(node, shape, self.find_known, self.builder.ranges, self._attribute_opset(node))
                if element and shape is not None and shape != inferred:
                    more[name] = self._value_of(name, element, shape)
                    self._inferred[name] = more[name]
            if more:  # what follows may be inferred now
                return more
        return more

    def find_known(self, name: str) -> tuple[int, Shape | None]:
        """As `find`, of what was inferred so far."""
        return self.find(name) if name in self.builder.tensors or name in self.constants else self._known(name)

    def _attribute_opset(self, node: onnx.NodeProto) -> int:
        return next((o.version for o in self._opsets if o.domain == node.domain), 1)

    def _earlier(self, nodes: object) -> list[onnx.NodeProto]:
        """The nodes before that made integers for these: shapes are computed by them."""
        found: dict[int, onnx.NodeProto] = {}

        def follow(node: onnx.NodeProto) -> None:
            for name in sorted(reads(node)):
                maker = self._integer_makers.get(name)
                if maker is not None and id(maker) not in found:
                    follow(maker)
                    found[id(maker)] = maker

        for node in nodes:  # type: ignore[attr-defined]
            follow(node)
        return list(found.values())

    def _value(self, name: str) -> onnx.ValueInfoProto:
        element, shape = self.find_known(name)
        return self._value_of(name, element, shape)

    def _value_of(self, name: str, element: int, shape: Shape | None) -> onnx.ValueInfoProto:
        if not element:
            return onnx.helper.make_empty_tensor_value_info(name)
        dims = None if shape is None else [d.value if isinstance(d, Constant) else d and str(d) for d in shape]
        return onnx.helper.make_tensor_value_info(name, element, dims)

    def _check_types(self, index: int, node: onnx.NodeProto) -> None:
        """Inputs that ONNX wants of one type are of one, where a plugin makes one of them: TensorRT never converts."""
        made = {name for call in self.builder.calls for name in call.outputs}
        if not made & set(node.input):
            return
        try:
            schema = onnx.defs.get_schema(node.op_type, self._attribute_opset(node), node.domain)
        except onnx.defs.SchemaError:
            return
        seen: dict[str, tuple[str, int]] = {}
        for i, name in enumerate(node.input):
            formal = schema.inputs[min(i, len(schema.inputs) - 1)]
            element = self.find_known(name)[0] if name else 0
            if not element or formal.type_str.startswith("tensor("):
                continue
            first, known = seen.setdefault(formal.type_str, (name, element))
            if known != element:
                both = f"{first!r} is {_name(known)} and {name!r} is {_name(element)}"
                plugin = next(c.plugin for c in self.builder.calls if made & set(node.input) & set(c.outputs))
                raise OnnxShapeError(
                    f"{title(node, index)} mixes types: {both}",
                    where=str(self.path),
                    hint=f"{plugin} gives what its register says; put a Cast in between, or change one of the two",
                )

    def check_stated(self, tensor: Tensor, where: str) -> None:
        """Hold the file's statement about a plugin's output against the plugin's own answer.

        Raises:
            UsageError: They differ; TensorRT goes by the plugin.
        """
        kind = self.stated[tensor.name].type.tensor_type if tensor.name in self.stated else None
        if kind is None:
            return
        hint = "TensorRT goes by the plugin: correct the model's outputs and value_info, or the plugin's register"
        if kind.elem_type and ELEMENTS.get(kind.elem_type) != tensor.dtype:
            raise OnnxShapeError(
                f"{tensor.name!r} is {_name(kind.elem_type)} in the model, but the plugin gives {tensor.dtype}",
                where=where,
                hint=hint,
            )
        if not kind.HasField("shape"):
            return
        stated = [self.dimension(d) for d in kind.shape.dim]
        pairs = list(zip(stated, tensor.shape, strict=False))
        wrong = any(isinstance(s, Constant) and isinstance(d, Constant) and s != d for s, d in pairs)
        if wrong or len(stated) != len(tensor.shape):
            said = " x ".join(
                str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in kind.shape.dim
            )
            raise OnnxShapeError(
                f"{tensor.name!r} is {said or 'a scalar'} in the model, but the plugin gives "
                f"{' x '.join(map(str, tensor.shape)) or 'a scalar'}",
                where=where,
                hint=hint,
            )


def _opsets(model: onnx.ModelProto) -> list[onnx.OperatorSetIdProto]:
    """The model's operator sets; plugins need no entry among them for TensorRT, but for ONNX' inference they do."""
    imported = {opset.domain for opset in model.opset_import}
    more = sorted({node.domain for node in model.graph.node} - imported - {"ai.onnx"})
    return [*model.opset_import, *(onnx.helper.make_opsetid(domain, 1) for domain in more)]


def _count(tensor: TensorProto) -> int:
    count = 1
    for extent in tensor.dims:
        count *= extent
    return count


def _name(element: int) -> str:
    return element_name(element)
