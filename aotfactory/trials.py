# SPDX-License-Identifier: Apache-2.0
"""What an artifact is run with to validate it: shapes, data, and the outputs that the recipes' references expect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aotfactory import data, reference
from aotfactory.catalog import Catalog
from aotfactory.data import Array
from aotfactory.errors import UsageError
from aotfactory.network import Network, Shape

KINDS: tuple[data.Kind, ...] = ("random", "adversarial")

LARGEST = 2**28
"""Elements of a tensor whose float64 reference is still computed."""

NO_GPU = "no GPU or NVIDIA driver on this machine"
TOO_LARGE = f"a tensor has more than {LARGEST} elements, too many for the reference"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run to make.

    Attributes:
        label: Which shapes: ``min``, ``opt``, ``max`` or ``inside`` the profile.
        expected: Outputs by name, as far as there is a reference.
    """

    label: str
    kind: data.Kind
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
            arrays = {t.name: data.make(t.name, t.dtype, s, kind=kind) for t, s in zip(inputs, shapes, strict=True)}
            expected = reference.outputs(network, catalog.for_plugin, arrays)
            yield Trial(label=label, kind=kind, inputs=arrays, expected=expected)


def launch_cases(network: Network) -> list[tuple[str, list[Shape]]]:
    """Input shapes to launch at: min, opt and max of the profile, and one odd shape inside it."""
    cases = [case for case in data.shape_cases(network, (), LARGEST) if case[0] != "reduced"]
    if network.ranges:
        rng = np.random.default_rng(0)
        inside = {n: int(rng.integers(r.min, r.max, endpoint=True)) | 1 for n, r in network.ranges.items()}
        at = {n: min(v, network.ranges[n].max) for n, v in inside.items()}
        inputs = [t for t in network.tensors if t.role == "input"]
        shapes = [tuple(d.evaluate(at) for d in t.shape) for t in inputs]
        if all(data.fits(shape, LARGEST) for shape in shapes):
            cases.append(("inside", shapes))
    return cases


def passed(labels: Iterable[str], only: str) -> str:
    """What it means that the trials of these labels were right.

    Args:
        only: What was checked where there was no reference to compare with; empty if there always was one.
    """
    against = f"{only} only: the plugins have no recipe" if only else "against the reference"
    return f"{against}, at {', '.join(dict.fromkeys(labels))}"


def require_executors(wanted: Sequence[str], offered: Sequence[str], artifact: str) -> None:
    """Refuse an executor that is not for this kind of artifact.

    Raises:
        UsageError: With those that are.
    """
    for name in wanted:
        if name not in offered:
            raise UsageError(f"executor {name} does not run a {artifact}", hint=f"use {' or '.join(offered)}")


def catalog_for(network: Network, plugins: Iterable[str]) -> Catalog:
    """The recipes of a network's plugins, from --plugins, the shipped kernels and installed packages."""
    catalog = Catalog(plugins)
    if any(catalog.for_plugin(call.plugin) is None for call in network.calls):
        catalog.load_all()
    return catalog
