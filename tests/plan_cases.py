# SPDX-License-Identifier: Apache-2.0
"""Samples with inputs and expected outputs, and a small ONNX model, for all tests of plans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from doubles.samples import SHAPES, Sample, sample

from aotfactory.core import dtypes
from aotfactory.core.recipe import Tolerance
from aotfactory.executors import compare as comparison
from aotfactory.executors.inputs import Array, make_input
from aotfactory.plugins.catalog import Catalog

DYNAMIC = {"min_shape": {"x": (1, 3, 8, 8)}, "opt_shape": {"x": (2, 3, 9, 9)}, "max_shape": {"x": (4, 3, 16, 16)}}


def case(name: str, point: str = "opt") -> tuple[Sample, dict[str, Array], dict[str, Array]]:
    """A sample with input data and what its recipe's reference makes of it."""
    item = sample(name)
    network = item.bundle.network
    at = {symbol: getattr(r, point) for symbol, r in network.ranges.items()}
    inputs = {
        t.name: make_input(t.name, t.dtype, tuple(d.evaluate(at) for d in t.shape))
        for t in network.tensors
        if t.role == "input"
    }
    recipe = Catalog().find(SHAPES[name][0])
    values = tuple(inputs.values())
    for call in network.calls:
        made = recipe.reference(*values, **call.attributes)
        values = made if isinstance(made, tuple) else (made,)
    outputs = [t for t in network.tensors if t.role == "output"]
    references = {
        t.name: np.asarray(v).astype(dtypes.find(t.dtype).array) for t, v in zip(outputs, values, strict=True)
    }
    return item, inputs, references


def check_outputs(outputs, references: dict[str, Array]) -> None:
    """The outputs of a real plan; a sum may be rounded otherwise than the reference."""
    assert sorted(outputs) == sorted(references)
    for name, expected in references.items():
        assert comparison.mismatch(outputs[name], expected, Tolerance(atol=1e-6, rtol=1e-6)) is None, name


def chain_model(path: Path, shape, pads=((1, 1, 1, 1), (1, 1, 1, 1)), first=None) -> Path:
    """circ_pad twice, as a user's model would have it: `aot` is not set, and another node may come first."""
    x, a, b, y = (gs.Variable(n, np.float32) for n in "xaby")
    x.shape = shape
    nodes = [gs.Node("Relu", inputs=[x], outputs=[a])] if first else []
    attributes = [{"pads": np.array(p, np.int32), "plugin_namespace": "aotfactory"} for p in pads]
    nodes += [
        gs.Node("circ_pad", "one", attributes[0], [a if first else x], [b]),
        gs.Node("circ_pad", "two", attributes[1], [b], [y]),
    ]
    onnx.save(gs.export_onnx(gs.Graph(nodes, [x], [y], opset=17), do_type_check=False), path)
    return path
