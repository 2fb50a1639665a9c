# SPDX-License-Identifier: Apache-2.0
"""Networks put together call by call; output shapes and types come from the plugin's own definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aotfactory.core.errors import (
    DefinitionError,
    DocumentError,
    OnnxNodeError,
    PluginError,
    ShapeError,
    UnsupportedError,
)
from aotfactory.core.expressions import Constant, Expr, Symbol
from aotfactory.core.network import Call, Network, NetworkInput, Range, Shape, Tensor, id_parts
from aotfactory.core.network_rules import require_possible
from aotfactory.plugins import definitions
from aotfactory.plugins.attributes import attribute_values
from aotfactory.plugins.plugin_call import PluginCall


def plugin_call(network: Network, call: Call) -> PluginCall:
    """A fresh plugin object for a call of the network, as the builder would make it."""
    inputs = [network.tensor(name) for name in call.inputs]
    shapes = [(t.dtype, t.shape) for t in inputs]
    return PluginCall(definitions.find(call.plugin), call.attributes, shapes, network.ranges)


def at_shapes(network: Network, shapes: Mapping[str, Shape], dtypes: Mapping[str, str]) -> Network:
    """The same calls on inputs of other, static shapes, and of other data types where `dtypes` names one.

    Raises:
        UsageError, DefinitionError: The plugins do not take these shapes or types.
    """
    builder = NetworkBuilder()
    for tensor in network.inputs:
        shape = tuple(Constant(extent) for extent in shapes[tensor.name])
        dtype = dtypes.get(tensor.name, tensor.dtype)
        builder.add_tensor(Tensor(name=tensor.name, role="input", dtype=dtype, shape=shape))
    for call in network.calls:
        builder.add_call(call.name, call.plugin, call.attributes, call.inputs, call.outputs)
    outputs = [t.name for t in network.outputs]
    return builder.finish(network.name, network.target, outputs)


def with_types(network: Network, dtypes: Mapping[str, str]) -> Network:
    """The same calls on inputs of the same shapes and profile, and of other data types where `dtypes` names one.

    Raises:
        UsageError, DefinitionError: The plugins do not take these types.
    """
    builder = NetworkBuilder()
    builder.ranges.update(network.ranges)
    for tensor in network.inputs:
        builder.add_tensor(replace(tensor, dtype=dtypes.get(tensor.name, tensor.dtype)))
    for call in network.calls:
        builder.add_call(call.name, call.plugin, call.attributes, call.inputs, call.outputs)
    outputs = [t.name for t in network.outputs]
    return builder.finish(network.name, network.target, outputs)


class NetworkBuilder:
    """Adds inputs, then calls, and gives the finished network; shapes come from the definitions themselves."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.ranges: dict[str, Range] = {}
        self.calls: list[Call] = []
        self._seen: dict[str, tuple[tuple[int, int, int], str]] = {}

    def add_input(self, item: NetworkInput) -> None:
        """Add a network input.

        Raises:
            UsageError: Its profile contradicts itself or a dimension of the same name.
        """
        low, opt, high = item.profile.min, item.profile.opt, item.profile.max
        if not len(low) == len(opt) == len(high) == len(item.dims):
            raise ShapeError(f"input {item.name}: min, opt and max shapes have different ranks")
        shape: list[Expr] = []
        for axis, name in enumerate(item.dims):
            extent = (low[axis], opt[axis], high[axis])
            where = f"{item.name}[{axis}]"
            if not 0 <= extent[0] <= extent[1] <= extent[2]:
                raise ShapeError(
                    f"dimension {axis} of {item.name} has min {extent[0]}, opt {extent[1]}, max {extent[2]}",
                    hint="a profile needs 0 <= min <= opt <= max in every dimension",
                )
            known, first = self._seen.setdefault(name, (extent, where))
            if known != extent:
                raise ShapeError(
                    f"{where} and {first} are both dimension {name}, but one is {_extent(extent)} and the other "
                    f"{_extent(known)}",
                    hint="give both the same extent",
                )
            if extent[0] == extent[2]:
                shape.append(Constant(extent[0]))
            else:
                self.ranges[name] = Range(min=extent[0], opt=extent[1], max=extent[2])
                shape.append(Symbol(name))
        tensor = Tensor(name=item.name, role="input", dtype=item.dtype, shape=tuple(shape))
        try:
            require_possible(tensor, self.ranges)
        except DocumentError as error:
            raise ShapeError(error.message, hint="docs/bundle.md lists the limits") from None
        self.add_tensor(tensor)

    def add_tensor(self, tensor: Tensor) -> None:
        if tensor.name in self.tensors:
            raise OnnxNodeError(f"two tensors are called {tensor.name!r}", hint="give each tensor its own name")
        self.tensors[tensor.name] = tensor

    def add_call(
        self,
        name: str,
        plugin_id: str,
        attributes: Mapping[str, Any],
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        where: str | None = None,
    ) -> None:
        """Add a call; `outputs` names its outputs, which take type, shape and aliasing from the definitions.

        Args:
            where: The node of a model that the call is from; None where the command line describes it.

        Raises:
            UsageError: The inputs or attributes do not fit the plugin.
            DefinitionError: The definitions are wrong.
        """
        plugin = definitions.find(plugin_id)
        if len(inputs) != len(plugin.inputs):
            raise UnsupportedError(
                f"{plugin_id} takes {len(plugin.inputs)} inputs ({', '.join(plugin.inputs)}), not {len(inputs)}",
                where=where,
            )
        values = attribute_values(plugin, attributes, where=where)
        made = PluginCall(plugin, values, [(self.tensors[n].dtype, self.tensors[n].shape) for n in inputs], self.ranges)
        if len(outputs) != len(made.output_shapes):
            raise PluginError(
                f"register of {plugin_id} returns {len(made.output_shapes)} tensors; expected {len(outputs)}",
                where=plugin.where("register"),
                hint="return as many tensors as the return annotation names",
            )
        for i, output in enumerate(outputs):
            alias = made.aliases[i]
            tensor = Tensor(
                name=output,
                role="output",
                dtype=made.output_dtypes[i],
                shape=made.output_shapes[i],
                aliases=None if alias is None else inputs[alias],
            )
            try:
                require_possible(tensor, self.ranges)
            except DefinitionError as error:
                raise PluginError(
                    f"{plugin_id}: {error.message}",
                    where=where or plugin.where("register"),
                    hint="let register give shapes that every shape of the profile allows, or narrow the profile",
                ) from error
            self.add_tensor(tensor)
        self.calls.append(
            Call(name=name, plugin=plugin_id, attributes=values, inputs=tuple(inputs), outputs=tuple(outputs))
        )

    def finish(self, name: str, target: str, outputs: Sequence[str]) -> Network:
        """The network; tensors that calls make and that are not among `outputs` are internal."""
        tensors = [
            t
            if t.role == "input" or t.name in outputs
            else Tensor(name=t.name, role="internal", dtype=t.dtype, shape=t.shape, aliases=t.aliases)
            for t in self.tensors.values()
        ]
        return Network(name=name, target=target, ranges=self.ranges, tensors=tuple(tensors), calls=tuple(self.calls))


def chain(
    *,
    name: str,
    target: str,
    plugin_id: str,
    inputs: Sequence[NetworkInput],
    attributes: Mapping[str, Any],
    outputs: Sequence[str] = (),
    length: int = 1,
) -> Network:
    """A network of one plugin, applied `length` times in a row, its outputs feeding the first inputs of the next."""
    builder = NetworkBuilder()
    for item in inputs:
        builder.add_input(item)
    plugin = definitions.find(plugin_id)
    if len(inputs) != len(plugin.inputs):
        raise UnsupportedError(
            f"{plugin_id} takes {len(plugin.inputs)} inputs ({', '.join(plugin.inputs)}), not {len(inputs)}",
            hint="give each one a shape: --shape NAME=1x3x32x32",
        )
    count = plugin.definition.num_outputs
    final = list(outputs) or _free_names(count, {item.name for item in inputs})
    short = id_parts(plugin_id)[1]
    feed = [item.name for item in inputs]
    for step in range(1, length + 1):
        made = final if step == length else [f"{output}_{step}" for output in final]
        builder.add_call(short if length == 1 else f"{short}_{step}", plugin_id, attributes, feed, made)
        feed = [*made, *feed[len(made) :]]
    return builder.finish(name, target, final)


def _free_names(count: int, taken: set[str]) -> list[str]:
    """Names for outputs: y, or y0, y1, ...; with an underscore more where an input is called so."""
    stem = "y"
    while taken & set(names := [stem] if count == 1 else [f"{stem}{i}" for i in range(count)]):
        stem += "_"
    return names


def _extent(extent: tuple[int, int, int]) -> str:
    return str(extent[0]) if extent[0] == extent[2] else f"{extent[0]} to {extent[2]} (opt {extent[1]})"
