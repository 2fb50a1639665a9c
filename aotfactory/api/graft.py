# SPDX-License-Identifier: Apache-2.0
"""Plugins in place of what a stock ONNX model computes with its own operators, each replacement proved by numbers.

Patterns are matched with onnxscript's rewriter. A match is replaced only if both sides, computed on the CPU with random
data at the match's own constants, agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from aotfactory.api.graft_rules import RULES, Rule
from aotfactory.core.errors import AotError, NoPackageError, OnnxFileError, RulesError
from aotfactory.core.files import read_file, replace_file
from aotfactory.core.limits import LIMITS
from aotfactory.core.memory import limited_memory
from aotfactory.core.network import id_parts
from aotfactory.executors import onnx_reference
from aotfactory.plugins import loader
from aotfactory.plugins.catalog import Catalog

SCHEMA = "aotfactory.graft/1"
TOLERANCE = {np.dtype(np.float32): 2e-4, np.dtype(np.float16): 2e-2}
"""A share of the largest value: the two sides add and multiply in other orders."""

LARGEST = 2**27
"""Elements of a tensor that is made to compare both sides of a match."""


@dataclass(frozen=True, kw_only=True)
class Graft:
    """One match of a rule.

    Attributes:
        outputs: Names of the tensors that the match makes.
        nodes: Operators of the nodes that go.
        replaced: False where both sides do not agree, and the model's own nodes stay.
        detail: How far the sides are apart, or why nothing was replaced.
    """

    rule: str
    plugin: str
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]
    replaced: bool
    detail: str


def graft(
    path: Path,
    out: Path | None,
    *,
    rules: Iterable[str] = (),
    plugins: Iterable[str] = (),
    progress: Callable[[str], None] = lambda text: None,
) -> list[Graft]:
    """Replace what plugins do better in a model, and write it to `out`; None: only say what would be replaced.

    Args:
        rules: Python files with a list ``RULES`` of `Rule`, tried before aotfactory's own.
        plugins: Modules of definitions and recipes that these rules use.

    Raises:
        MissingError: onnxscript is not installed.
        UsageError: The model or a file of rules cannot be read.
    """
    try:
        import onnx_ir as ir
        from onnx_ir.passes.common import LiftConstantsToInitializersPass
        from onnxscript import optimizer, rewriter
    except ModuleNotFoundError as error:
        raise NoPackageError("graft needs onnxscript", hint="pip install onnxscript") from error
    catalog = Catalog(plugins)
    wanted = [*(rule for file in rules for rule in _rules_of(file)), *RULES]
    catalog.load_all()
    try:
        proto = onnx.ModelProto.FromString(read_file(path, limit=LIMITS["onnx_bytes"]))
        onnx.load_external_data_for_model(proto, str(path.parent))
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        model = ir.from_proto(proto)
    except OSError as error:
        raise OnnxFileError(f"cannot read {path}: {error.strerror}", hint="give a .onnx file") from error
    except MemoryError:
        raise
    except Exception as error:
        raise OnnxFileError(f"{path} is not an ONNX model: {error}") from error
    found: list[Graft] = []
    with limited_memory():  # a few bytes of a model may ask for any amount
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        optimizer.fold_constants(model)
        for rule in wanted:
            progress(rule.name)
            found += _apply(ir, rewriter, model, rule, catalog)
    if out is not None:
        replace_file(out, ir.to_proto(model).SerializeToString())
    return found


def _apply(ir: Any, rewriter: Any, model: Any, rule: Rule, catalog: Catalog) -> list[Graft]:
    found = []
    for target in rule.patterns:
        matcher = rewriter.pattern.RewriteRule(target, lambda op, **bound: None)
        for variant in matcher.commute():
            for node in list(model.graph):
                if node.graph is None:
                    continue  # it went with an earlier match
                match = variant.match(model, model.graph, node)
                if match:
                    result = _replace(ir, model, rule, match, catalog)
                    found += [result] if result else []
    return found


def _replace(ir: Any, model: Any, rule: Rule, match: Any, catalog: Catalog) -> Graft | None:
    """Try a match; None where the rule does not want it."""
    bound = dict(match.bindings)
    outputs = list(match.outputs)
    tape = ir.tape.Tape()
    made = rule.build(Builder(ir, tape, rule.plugin), bound, match)
    if made is None:
        return None
    new_outputs = made if isinstance(made, tuple) else (made,)
    place = {id(node): i for i, node in enumerate(model.graph)}
    nodes = sorted(match.nodes, key=lambda node: place[id(node)])
    for i, value in enumerate(v for n in tape.nodes for v in n.outputs):
        value.name = value.name or f"{outputs[0].name}.graft{i}"
    names = tuple(v.name for v in outputs)
    operators = tuple(n.op_type for n in nodes)
    try:
        apart = _distance(ir, model, nodes, list(tape.nodes), list(tape.initializers), outputs, new_outputs, catalog)
    except AotError as error:
        return Graft(
            rule=rule.name, plugin=rule.plugin, outputs=names, nodes=operators, replaced=False, detail=error.message
        )
    if apart is not None:
        return Graft(rule=rule.name, plugin=rule.plugin, outputs=names, nodes=operators, replaced=False, detail=apart)
    for initializer in tape.initializers:
        model.graph.register_initializer(initializer)
    model.opset_imports.setdefault(id_parts(rule.plugin)[0], 1)
    ir.convenience.replace_nodes_and_values(model.graph, nodes[-1], nodes, list(tape.nodes), outputs, list(new_outputs))
    return Graft(
        rule=rule.name,
        plugin=rule.plugin,
        outputs=names,
        nodes=operators,
        replaced=True,
        detail="equal on random data",
    )


class Builder:
    """Makes the nodes of a replacement.

    Attributes:
        plugin: Id of the rule's plugin.
    """

    def __init__(self, ir: Any, tape: Any, plugin: str) -> None:
        self._ir, self._tape, self.plugin = ir, tape, plugin

    def node(self, operator: str, *inputs: Any, **attributes: Any) -> Any:
        """A node of ONNX's own operators."""
        return self._tape.op(operator, list(inputs), attributes)

    def call(self, *inputs: Any, **attributes: Any) -> Any:
        """A node of the rule's plugin."""
        namespace, name = id_parts(self.plugin)
        given = {**attributes, "plugin_namespace": namespace, "plugin_version": "1"}
        return self._tape.op(name, list(inputs), given, domain=namespace)

    def constant(self, name: str, array: Any) -> Any:
        """An initializer."""
        return self._tape.initializer(self._ir.tensor(np.ascontiguousarray(array)), name=name)


def _distance(
    ir: Any,
    model: Any,
    old: list[Any],
    new: list[Any],
    initializers: list[Any],
    outputs: list[Any],
    new_outputs: tuple[Any, ...],
    catalog: Catalog,
) -> str | None:
    """How far the two sides are apart on random data, or None where they agree.

    Raises:
        CheckError: One of them cannot be computed.
    """
    made = {v.name for n in old for v in n.outputs}
    values = {v.name: v for n in (*old, *new) for v in n.inputs if v is not None and v.name not in made}
    inner = {v.name for n in new for v in n.outputs} | {v.name for v in initializers}
    rng = np.random.default_rng(0)
    extents: dict[str, int] = {}
    feeds: dict[str, Any] = {}
    for name, value in values.items():
        if name in inner:
            continue
        if value.const_value is not None:
            feeds[name] = value.const_value.numpy()
            continue
        if value.shape is None or value.dtype is None:
            return f"the shape of {name} is not known"
        shape = [d if isinstance(d, int) else extents.setdefault(str(d), 3 + len(extents)) for d in value.shape]
        if min(shape, default=0) < 0 or math.prod(shape) > LARGEST:
            return f"{name} has negative extents, or more than {LARGEST} elements, which are not compared"
        feeds[name] = (rng.standard_normal(shape) * 0.7).astype(value.dtype.numpy())
    feeds |= {v.name: v.const_value.numpy() for v in initializers}
    before = _evaluate(ir, model, old, feeds, [v.name for v in outputs], catalog)
    after = _evaluate(ir, model, new, feeds, [v.name for v in new_outputs], catalog)
    for ours, theirs in zip(after, before, strict=True):
        if ours.shape != theirs.shape:
            return f"the shapes differ: {theirs.shape} before, {ours.shape} after"
        a, b = ours.astype(np.float64), theirs.astype(np.float64)
        scale = max(float(np.max(np.abs(b), initial=0.0)), 1e-3)
        apart = float(np.max(np.abs(a - b), initial=0.0)) / scale
        if not apart <= TOLERANCE.get(theirs.dtype, 5e-2):
            return f"the values differ by {apart:.2g} of the largest"
    return None


def _evaluate(ir: Any, model: Any, nodes: list[Any], feeds: dict[str, Any], names: list[str], catalog: Catalog) -> Any:
    protos = [ir.to_proto(node) for node in nodes]
    for attribute in (a for p in protos for a in p.attribute if (p.op_type, a.name) == ("GridSample", "mode")):
        attribute.s = {b"bilinear": b"linear", b"bicubic": b"cubic"}.get(attribute.s, attribute.s)  # up to opset 19
    made = {name for p in protos for name in p.output}
    needed = {name: feeds[name] for p in protos for name in p.input if name in feeds and name not in made}
    inputs = [
        onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in needed.items()
    ]
    results = [onnx.helper.make_empty_tensor_value_info(name) for name in names]
    graph = onnx.helper.make_graph(protos, "side", inputs, results)
    opsets = [onnx.helper.make_opsetid(d, v) for d, v in model.opset_imports.items()]
    side = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    computed = onnx_reference.run(side, catalog.for_plugin, needed)
    return [computed[name] for name in names]


def _rules_of(file: str) -> list[Rule]:
    module = loader.load(str(Path(file).resolve()))
    rules = getattr(module, "RULES", None)
    if not isinstance(rules, list | tuple) or not all(isinstance(r, Rule) for r in rules):
        raise RulesError(f"{file} has no list RULES of rules", hint="RULES = [aotfactory.api.graft_rules.Rule(...)]")
    return list(rules)
