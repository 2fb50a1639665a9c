# SPDX-License-Identifier: Apache-2.0
"""The parts that variants of one combination share in one situation: network, data, references; and their buffers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aotfactory.core import dimensions, dtypes
from aotfactory.core.network import Call, Network, shape_text
from aotfactory.core.recipe import Recipe
from aotfactory.executors import reference
from aotfactory.executors.data import Data, make_inputs
from aotfactory.executors.inputs import Array
from aotfactory.executors.interpreter.kernel import Buffer
from aotfactory.executors.interpreter.situation import CannotRun, Situation
from aotfactory.plugins.catalog import Catalog
from aotfactory.plugins.plugin_call import PluginCall
from aotfactory.targets.network_builder import at_shapes, with_types

LARGEST = 2**24
"""Elements of a tensor whose float64 reference is computed; beyond, memory accesses alone are checked."""

LARGEST_BYTES = 2**29
"""Bytes of a tensor that is filled with data; a larger one is zeros, and its memory accesses alone are checked."""


@dataclass
class Prepared:
    """The parts that variants of one combination share in one situation: the network, its data and references.

    Attributes:
        vast: A tensor that is too large for data, if there is one.
    """

    network: Network
    catalog: Catalog
    symbols: Mapping[str, int]
    data: Data
    expected: dict[str, Array]
    vast: str | None = None
    references: dict[str, tuple[Array, ...]] = field(default_factory=dict)

    def recipe(self, call: Call) -> Recipe | None:
        """The recipe that judges a call, unless its tensors are too large for a reference."""
        recipe = self.catalog.for_plugin(call.plugin)
        if recipe is None:
            return None
        for name in (*call.inputs, *call.outputs):
            shape = [d.evaluate(self.symbols) for d in self.network.tensor(name).shape]
            if int(np.prod(shape, dtype=object)) > LARGEST:
                return None
        return recipe

    def expected_of(self, recipe: Recipe, call: Call) -> tuple[Array, ...]:
        """The call's outputs by its reference, computed once."""
        if call.name not in self.references:
            self.references[call.name] = reference.of_call(recipe, call, self.expected)
        return self.references[call.name]


class Preparations:
    """Prepares situations of one network."""

    def __init__(self, network: Network, catalog: Catalog) -> None:
        self.network, self.catalog = network, catalog
        self._prepared: dict[Any, Prepared] = {}
        self._networks: dict[Any, Network] = {}

    def of(self, call: Call, job: Mapping[str, Any], situation: Situation) -> Prepared:
        """The situation for a variant of the call; a few are kept, for the tactics that come next."""
        roles = {t.name: t.role for t in self.network.tensors}
        types = {t.name: t.dtype for t in self.network.inputs}
        types |= {n: d for n, d in zip(call.inputs, job["dtypes"], strict=False) if roles[n] == "input"}
        key = (str(situation), situation.draw, situation.profile, tuple(types.items()))
        if key not in self._prepared:
            while len(self._prepared) > 2:
                self._prepared.pop(next(iter(self._prepared)))
            self._prepared[key] = self._new(types, situation)
        return self._prepared[key]

    def _new(self, types: Mapping[str, str], situation: Situation) -> Prepared:
        if situation.profile:
            key = tuple(types.items())
            if key not in self._networks:
                self._networks[key] = with_types(self.network, types)
            network = self._networks[key]
        else:
            network = at_shapes(self.network, situation.shapes, types)
        symbols = dimensions.bind(self.network, situation.shapes) if situation.profile else {}
        extents: list[int] = []
        vast: str | None = None
        for tensor in network.tensors:
            shape = tuple(d.evaluate(symbols) for d in tensor.shape)
            size = int(np.prod(shape, dtype=object)) * dtypes.find(tensor.dtype).itemsize
            if size > LARGEST_BYTES:
                vast = vast or f"{tensor.name} is {shape_text(shape)}, {size} bytes"
            extents += shape
        if situation.arrays is not None:
            data = Data(arrays=dict(situation.arrays))
        elif vast:
            data = Data(notes=[f"{vast}: of zeros, only memory accesses were checked"])
        else:
            data = make_inputs(
                network,
                self.catalog.for_plugin,
                situation.shapes,
                types,
                situation.kind,
                tuple(extents),
                situation.draw,
            )
        return Prepared(
            network=network, catalog=self.catalog, symbols=symbols, data=data, expected=dict(data.arrays), vast=vast
        )


def outputs_of(
    network: Network,
    call: Call,
    plugin: PluginCall,
    symbols: Mapping[str, int],
    buffers: dict[str, Buffer],
    *,
    vast: bool = False,
) -> None:
    """Buffers for a call's outputs; its inputs become read-only, but for those that an output shares."""
    for name in call.inputs:
        buffers[name].writable = False
    for name, alias in zip(call.outputs, plugin.aliases, strict=True):
        if alias is not None:
            buffers[name] = buffers[call.inputs[alias]]
            buffers[name].writable = True
            continue
        if vast:
            buffers[name] = vast_buffer(network, name, symbols, initialised=False)
            continue
        tensor = network.tensor(name)
        shape = tuple(d.evaluate(symbols) for d in tensor.shape)
        buffers[name] = Buffer(name, np.zeros(shape, dtypes.find(tensor.dtype).array), initialised=False)


def vast_buffer(network: Network, name: str, symbols: Mapping[str, int], *, initialised: bool) -> Buffer:
    """Zeros for a tensor that is too large for data."""
    tensor = network.tensor(name)
    size = int(np.prod([d.evaluate(symbols) for d in tensor.shape], dtype=object)) * dtypes.find(tensor.dtype).itemsize
    try:
        return Buffer.vast(name, size, initialised=initialised)
    except (OSError, ValueError, OverflowError) as error:
        raise CannotRun(f"{name} has {size} bytes, for which there is no room: {error}") from error
