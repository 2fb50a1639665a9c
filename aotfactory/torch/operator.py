# SPDX-License-Identifier: Apache-2.0
"""A `torch.library` operator of a plugin: shapes from its `register`, CPU values from its recipe's reference, the
compiled kernel on a GPU, a fake implementation for `torch.export` and `torch.compile`, and its node in ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aotfactory.core.errors import OperatorError, RecipeError
from aotfactory.core.expressions import Constant, Expr, SizeTensor, Symbol
from aotfactory.core.network import Range, id_parts
from aotfactory.core.recipe import Recipe
from aotfactory.plugins import definitions
from aotfactory.plugins.attributes import attribute_values, element_type
from aotfactory.plugins.catalog import Catalog
from aotfactory.plugins.plugin_call import PluginCall
from aotfactory.plugins.registry import Plugin
from aotfactory.torch import onnx
from aotfactory.torch.symbolic import evaluate
from aotfactory.torch.tensors import TORCH, from_array, name_of, to_array

SCALARS = {int: "int", float: "float", bool: "bool", str: "str"}
LARGEST = 2**31 - 1

_operators: dict[str, Operator] = {}


class Operator:
    """A plugin as an operator of PyTorch; called with its inputs, and its attributes by name.

    An output that shares an input's buffer in TensorRT is a tensor of its own here: PyTorch's exporters want operators
    that change no argument.

    Attributes:
        id: ``namespace::name``, of plugin and operator.
        schema: In PyTorch's schema language.
        recipe: Its reference makes the values on a CPU; None where no recipe of the plugin was found.
        bundle: Where the kernels for a GPU are from; None: they are compiled when they are first used.
    """

    def __init__(self, plugin: Plugin, recipe: Recipe | None, bundle: Path | None) -> None:
        self.id, self.plugin, self.recipe, self.bundle = plugin.id, plugin, recipe, bundle
        self.defaults = dict(recipe.attributes) if recipe else {}
        self.schema = _schema(plugin, self.defaults)
        namespace, name = id_parts(plugin.id)
        self._library = torch.library.Library(namespace, "FRAGMENT")
        self._library.define(f"{name}{self.schema}")
        self._library.impl(name, self._on_cpu, "CPU")
        self._library.impl(name, self._on_gpu, "CUDA")
        torch.library.register_fake(plugin.id, self._fake, lib=self._library)
        self.overload = getattr(getattr(torch.ops, namespace), name).default
        onnx.register_symbolic(plugin, self.defaults)

    def __call__(self, *inputs: torch.Tensor, **attributes: Any) -> Any:
        return self.overload(*inputs, **attributes)

    def _split(self, given: tuple[Any, ...]) -> tuple[list[torch.Tensor], dict[str, Any]]:
        """Inputs, and the attributes in their declared types."""
        count = len(self.plugin.inputs)
        values = dict(zip(self.plugin.attributes, given[count:], strict=False))
        return list(given[:count]), attribute_values(self.plugin, {**self.defaults, **values})

    def _call(self, inputs: list[torch.Tensor], attributes: Mapping[str, Any]) -> tuple[PluginCall, dict[str, Any]]:
        """The plugin at these inputs, and the value (an int or PyTorch's symbolic one) of each symbol in its shapes."""
        symbols: dict[str, Any] = {}
        ranges: dict[str, Range] = {}
        shapes = []
        for index, tensor in enumerate(inputs):
            dims: list[Expr] = []
            for axis, extent in enumerate(tensor.shape):
                if isinstance(extent, int):
                    dims.append(Constant(extent))
                    continue
                symbol = next((s for s, known in symbols.items() if str(known) == str(extent)), f"d{index}_{axis}")
                symbols[symbol] = extent
                ranges[symbol] = Range(min=1, opt=8, max=LARGEST)
                dims.append(Symbol(symbol))
            shapes.append((name_of(tensor), tuple(dims)))
        return PluginCall(self.plugin, attributes, shapes, ranges), symbols

    def _fake(self, *given: Any, **named: Any) -> Any:
        inputs, attributes = self._split((*given, *named.values()))
        call, symbols = self._call(inputs, attributes)
        outputs = []
        for dtype, shape in zip(call.output_dtypes, call.output_shapes, strict=True):
            extents = [
                torch.library.get_ctx().new_dynamic_size() if isinstance(d, SizeTensor) else evaluate(d, symbols)
                for d in shape
            ]
            outputs.append(inputs[0].new_empty(extents, dtype=TORCH[dtype]))
        return _result(outputs)

    def _on_cpu(self, *given: Any, **named: Any) -> Any:
        inputs, attributes = self._split((*given, *named.values()))
        if self.recipe is None:
            raise OperatorError(
                f"{self.id} has no recipe, whose reference would make its values on a CPU",
                where=self.plugin.where("register"),
                hint="add a RECIPE with a reference to the plugin's module (docs/writing-kernels.md)",
            )
        call, _ = self._call(inputs, attributes)
        with np.errstate(all="ignore"):
            result = self.recipe.reference(*map(to_array, inputs), **attributes)
        arrays = result if isinstance(result, tuple) else (result,)
        if len(arrays) != len(call.output_dtypes):
            raise RecipeError(
                f"the reference of recipe {self.recipe.name} returns {len(arrays)} arrays, {self.id} has "
                f"{len(call.output_dtypes)} outputs",
                where=self.plugin.where("register"),
                hint="return an array for each output, as a tuple",
            )
        return _result([from_array(np.asarray(a), d) for a, d in zip(arrays, call.output_dtypes, strict=True)])

    def _on_gpu(self, *given: Any, **named: Any) -> Any:
        from aotfactory.torch import gpu

        inputs, attributes = self._split((*given, *named.values()))
        inputs = [tensor.detach().contiguous() for tensor in inputs]
        call, _ = self._call(inputs, attributes)
        return _result(gpu.run(self.plugin, call, inputs, attributes, self.bundle))


def operator(plugin_id: str, *, plugins: Iterable[str] = (), bundle: str | Path | None = None) -> Operator:
    """The PyTorch operator of a plugin; ``torch.ops.namespace.name`` from then on.

    Args:
        plugin_id: ``namespace::name``.
        plugins: Modules of definitions to load, as for ``--plugins``.
        bundle: A bundle whose kernels to use on a GPU; by default they are compiled when they are first used.

    Raises:
        UsageError: There is no such plugin, or an attribute has a type that PyTorch's operators cannot have.
        DefinitionError: A definition is wrong.
    """
    if plugin_id in _operators:
        return _operators[plugin_id]
    catalog = Catalog(plugins)
    recipe = catalog.for_plugin(plugin_id)
    if recipe is None:
        catalog.load_all()
        recipe = catalog.for_plugin(plugin_id)
    made = Operator(definitions.find(plugin_id), recipe, None if bundle is None else Path(bundle))
    _operators[plugin_id] = made
    return made


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For `torch.onnx.export(..., dynamo=True, custom_translation_table=...)`: the nodes of all operators made here."""
    return {made.overload: onnx.translation(made.plugin, made.defaults) for made in _operators.values()}


def _result(tensors: list[torch.Tensor]) -> Any:
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _schema(plugin: Plugin, defaults: Mapping[str, Any]) -> str:
    """``(Tensor x, float alpha=0.25) -> Tensor``."""
    parameters = [f"Tensor {name}" for name in plugin.inputs]
    known = all(name in defaults for name in plugin.attributes)
    for name, kind in plugin.attributes.items():
        element = element_type(kind)
        if element is not None:
            text = {"i": "int[]", "u": "int[]", "b": "bool[]"}.get(element.kind, "float[]")
        elif kind in SCALARS:
            text = SCALARS[kind]
        else:
            raise OperatorError(
                f"attribute {name} of {plugin.id} is {kind.__name__}, which PyTorch's operators cannot take",
                where=plugin.where("register"),
                hint="declare it as str, int, float, bool or an array",
            )
        parameters.append(f"{text} {name}" + (f"={_literal(defaults[name])}" if known else ""))
    count = plugin.definition.num_outputs
    returns = "Tensor" if count == 1 else f"({', '.join(['Tensor'] * count)})"
    return f"({', '.join(parameters)}) -> {returns}"


def _literal(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"[{', '.join(_literal(v) for v in value.tolist())}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
