# SPDX-License-Identifier: Apache-2.0
"""ONNX models on the CPU, with onnx's reference evaluator; plugin nodes are computed by their recipes' references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from aotfactory.core import dtypes
from aotfactory.core.errors import CheckError, ReferenceCheckError
from aotfactory.core.memory import limited_memory
from aotfactory.core.network import id_parts
from aotfactory.core.processor_time import limited_time
from aotfactory.executors.inputs import Array
from aotfactory.executors.reference import FindRecipe
from aotfactory.plugins import registry
from aotfactory.plugins.attributes import attribute_values
from aotfactory.targets import onnx_attributes
from aotfactory.targets.onnx_file import plugin_id
from aotfactory.targets.onnx_model import RESERVED

MOST_SECONDS = 600.0
"""Processor time for a model: the evaluator is slow, and takes any size."""


def run(model: onnx.ModelProto, find_recipe: FindRecipe, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor of a model at these inputs, those between the nodes included.

    Raises:
        CheckError: A node cannot be computed here: the evaluator lacks its operator, or a plugin has no recipe. Or all
            of them take more than `MOST_SECONDS`.
    """
    model = _prepared(model)
    operators = {
        (n.domain, n.op_type): _operator(n, find_recipe) for n in model.graph.node if plugin_id(n) in _plugins()
    }
    try:
        evaluator = ReferenceEvaluator(model, new_ops=list(operators.values()))
        with np.errstate(all="ignore"), limited_memory(), limited_time(MOST_SECONDS, _out_of_time):
            found: dict[str, Array] = evaluator.run(None, dict(inputs), intermediate=True)
    except CheckError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        text = str(error).splitlines()[0] if str(error) else ""
        raise ReferenceCheckError(f"the model cannot be computed on the CPU: {type(error).__name__}: {text}") from error
    return {name: array for name, array in found.items() if name}


def _out_of_time() -> ReferenceCheckError:
    return ReferenceCheckError(
        f"the model was not computed within {MOST_SECONDS:g} s of processor time",
        hint="give it smaller shapes, or leave --model out",
    )


def _plugins() -> frozenset[str]:
    return frozenset(registry.registered())


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every plugin node has its namespace as domain, and the domain is imported."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    plugins = _plugins()
    for node in copy.graph.node:
        found = plugin_id(node)
        if found in plugins:
            node.domain = id_parts(str(found))[0]
    known = {o.domain for o in copy.opset_import}
    for domain in sorted({n.domain for n in copy.graph.node} - known - {"ai.onnx"}):
        copy.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    return copy


def _operator(node: onnx.NodeProto, find_recipe: FindRecipe) -> type[OpRun]:
    plugin = registry.lookup(f"{node.domain}::{node.op_type}")
    recipe = find_recipe(plugin.id)

    class Operator(OpRun):  # type: ignore[misc]
        op_domain = node.domain

        def _run(self, *inputs: Any, **ignored: Any) -> tuple[Array, ...]:
            if recipe is None:
                raise ReferenceCheckError(f"{plugin.id} has no recipe, whose reference would compute it")
            own = {
                a.name: onnx_attributes.read(a, plugin.attributes.get(a.name), plugin.id)
                for a in self.onnx_node.attribute
                if a.name not in RESERVED
            }
            result = recipe.reference(*inputs, **attribute_values(plugin, own, where=plugin.id))
            arrays: Sequence[Any] = result if isinstance(result, tuple) else (result,)
            first = inputs[0].dtype
            return tuple(_rounded(np.asarray(a), first) for a in arrays)

    Operator.__name__ = node.op_type
    return Operator


def _rounded(array: Array, like: np.dtype[Any]) -> Array:
    """A reference's float64 in the type of the node's first input; other types as they are."""
    if array.dtype == np.float64 and like in [d.array for d in dtypes.DTYPES.values()]:
        return array.astype(like)
    return array
