# SPDX-License-Identifier: Apache-2.0
"""What an artifact is run with to validate it: shapes, data, and the outputs that the recipes' references expect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aotfactory.core.network import Network, Shape
from aotfactory.executors import reference
from aotfactory.executors.inputs import Array, Kind, make_input
from aotfactory.plugins.catalog import Catalog

KINDS: tuple[Kind, ...] = ("random", "adversarial")


LARGEST = 2**28
"""Elements of a tensor whose float64 reference is still computed."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run to make.

    Attributes:
        label: Which shapes: ``min``, ``opt``, ``max`` or ``inside`` the profile.
        expected: Outputs by name, as far as there is a reference.
    """

    label: str
    kind: Kind
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]

    def __str__(self) -> str:
        shapes = (f"{name} {'x'.join(map(str, array.shape))}" for name, array in self.inputs.items())
        return f"{', '.join(shapes)}, {self.kind} data"


def trials(network: Network, catalog: Catalog) -> Iterator[Trial]:
    """Every shape with every kind of data; none where all shapes are `TOO_LARGE`."""
    inputs = [t for t in network.tensors if t.role == "input"]
    for label, shapes in launch_cases(network):
        for kind in KINDS:
            arrays = {t.name: make_input(t.name, t.dtype, s, kind=kind) for t, s in zip(inputs, shapes, strict=True)}
            expected = reference.outputs(network, catalog.for_plugin, arrays)
            yield Trial(label=label, kind=kind, inputs=arrays, expected=expected)


def launch_cases(network: Network) -> list[tuple[str, list[Shape]]]:
    """Input shapes to launch at: min, opt and max of the profile, and one odd shape inside it."""
    cases = [case for case in shape_cases(network, (), LARGEST) if case[0] != "reduced"]
    if network.ranges:
        rng = np.random.default_rng(0)
        inside = {n: int(rng.integers(r.min, r.max, endpoint=True)) | 1 for n, r in network.ranges.items()}
        at = {n: min(v, network.ranges[n].max) for n, v in inside.items()}
        inputs = [t for t in network.tensors if t.role == "input"]
        shapes = [tuple(d.evaluate(at) for d in t.shape) for t in inputs]
        if all(fits(shape, LARGEST) for shape in shapes):
            cases.append(("inside", shapes))
    return cases


REDUCED = 7
"""Extent that the dimensions of a large network are cut down to where it is only run on the CPU."""


def shape_cases(network: Network, odd_shapes: Sequence[Sequence[Shape]], largest: int) -> list[tuple[str, list[Shape]]]:
    """Shapes of the network's inputs to validate at: min, opt and max of the profile, and small odd ones.

    Args:
        odd_shapes: More cases, of any rank that the plugin takes.
        largest: Elements that no tensor may exceed. Where every case of the profile does, there is a ``reduced`` one.
    """
    inputs = [t for t in network.tensors if t.role == "input"]
    cases: dict[tuple[Shape, ...], str] = {}
    for label in ("min", "opt", "max"):
        at = {name: getattr(r, label) for name, r in network.ranges.items()}
        shapes = [tuple(d.evaluate(at) for d in t.shape) for t in inputs]
        if all(fits(s, largest) for s in shapes):
            cases.setdefault(tuple(shapes), label)
    if not cases:
        at = {name: r.min for name, r in network.ranges.items()}
        cut = tuple(tuple(min(d.evaluate(at), REDUCED) for d in t.shape) for t in inputs)
        cases[cut] = "reduced"
    for odd in odd_shapes:
        cases.setdefault(tuple(tuple(s) for s in odd), "odd")
    return [(label, list(case)) for case, label in cases.items()]


def fits(shape: Shape, largest: int) -> bool:
    """Whether a tensor of this shape has `largest` elements at most."""
    return int(np.prod(shape, dtype=np.int64)) <= largest
