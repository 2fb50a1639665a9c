# SPDX-License-Identifier: Apache-2.0
"""Situations to judge a variant in, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aotfactory.core.network import Shape, shape_text
from aotfactory.executors.inputs import Array, Kind

ROW_IN_PART = "not all programs of its kernels in a row were run"
"""Why nothing was compared: a kernel reads what all programs of those before it have written."""


class CannotRun(Exception):
    """A case that cannot be run, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Shapes and data to judge a variant with.

    Attributes:
        profile: Whether the shapes lie in the network's profile: then the variant's own expressions are evaluated, as
            TensorRT does. Elsewhere the definitions are asked for those of a static network.
        arrays: The inputs' data; None: it is made.
        vast: Whether an input is known to be too large for data.
        draw: Which random data: the first, or other integers, for which there is time left.
    """

    label: str
    shapes: Mapping[str, Shape]
    kind: Kind
    profile: bool = True
    arrays: Mapping[str, Array] | None = None
    vast: bool = False
    draw: int = 0

    def __str__(self) -> str:
        shapes = ", ".join(f"{n} {shape_text(s)}" for n, s in self.shapes.items())
        return f"{shapes}, {'the given' if self.arrays else self.kind} data{' drawn again' if self.draw else ''}"


@dataclass
class Verdict:
    """The outcome of one situation.

    Attributes:
        wrong: What is wrong, or None.
        compared: Whether outputs were compared with a reference.
        run, of: Programs that ran, and of the grid.
        idle: Outputs of which the whole grid wrote no element; made-up indices may be why.
    """

    wrong: str | None = None
    compared: bool = False
    run: int = 0
    of: int = 0
    notes: list[str] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
