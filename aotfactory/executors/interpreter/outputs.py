# SPDX-License-Identifier: Apache-2.0
"""Outputs of an interpreted kernel, compared with the reference as far as they were written."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aotfactory.core import expressions
from aotfactory.core.expressions import Expr
from aotfactory.core.network import Call, Network, Shape
from aotfactory.executors import reference
from aotfactory.executors.inputs import Array
from aotfactory.executors.interpreter.kernel import Buffer
from aotfactory.executors.interpreter.prepared import LARGEST, Prepared
from aotfactory.executors.interpreter.situation import Verdict
from aotfactory.plugins.plugin_call import PluginCall


def compare(
    prepared: Prepared,
    call: Call,
    plugin: PluginCall,
    buffers: Mapping[str, Buffer],
    most: Mapping[str, int],
    verdict: Verdict,
) -> str | None:
    """Compare a call's outputs, as far as they were written, with the reference."""
    network = prepared.network
    whole = verdict.run == verdict.of
    sized = [d for n in call.outputs for d in network.tensor(n).shape if isinstance(d, expressions.SizeTensor)]
    if sized and not whole:
        verdict.notes.append("how large an output is depends on every program: only memory accesses were checked")
        return None
    if prepared.vast:
        return None
    recipe = prepared.recipe(call)
    if recipe is None and prepared.catalog.for_plugin(call.plugin) is not None:
        verdict.notes.append(f"more than {LARGEST} elements: only memory accesses were checked")
    references = prepared.expected_of(recipe, call) if recipe else ()
    verdict.compared = recipe is not None
    shapes: dict[str, Shape] = {}
    for name in reversed(call.outputs):  # a size tensor comes after the output whose extent it is
        shapes[name] = tuple(_extent(d, call, buffers, network, prepared.symbols) for d in network.tensor(name).shape)
    for i, name in enumerate(call.outputs):
        tensor, buffer = network.tensor(name), buffers[name]
        out = buffer.array(tensor.dtype, shapes[name])
        written = buffer.touched(buffer.written, tensor.dtype, shapes[name])
        unwritten = 0 if plugin.aliases[i] is not None else _unwritten(written, whole, most[name] * verdict.of)
        if unwritten and recipe is None and prepared.data.guessed:
            verdict.notes.append(f"{unwritten} of {out.size} elements of {name} were not written, with made-up indices")
            verdict.idle += [name] * (whole and unwritten == out.size)
        elif unwritten:
            return f"{unwritten} of {out.size} elements of {name} were not written"
        if recipe is None:
            continue
        expected = references[i]
        if not whole and out.shape == expected.shape:
            judged = written
            if buffer.atomic is not None:  # other programs would have had their part in these
                judged = judged & ~buffer.touched(buffer.atomic, tensor.dtype, shapes[name])
            out = np.where(judged, out, reference.rounded(expected, tensor))
        wrong = reference.mismatch(network, recipe, call, name, out, expected)
        if wrong:
            return f"{name}: {wrong}"
    return None


def _unwritten(written: Array, whole: bool, at_most: int) -> int:
    """Elements that no program wrote; of a sample, by the most that one program of it wrote."""
    if whole:
        return int(written.size - np.count_nonzero(written))
    return max(written.size - at_most, 0)


def _extent(
    dimension: Expr, call: Call, buffers: Mapping[str, Buffer], network: Network, symbols: Mapping[str, int]
) -> int:
    if isinstance(dimension, expressions.SizeTensor):
        name = call.outputs[dimension.index]
        return min(int(buffers[name].array(network.tensor(name).dtype, ())), dimension.evaluate(symbols))
    return dimension.evaluate(symbols)
