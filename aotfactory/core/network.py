# SPDX-License-Identifier: Apache-2.0
"""The network that an engine is built from: plugin calls in order, their tensors, and the optimization profile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aotfactory.core.expressions import Expr

Shape = tuple[int, ...]
Point = Literal["min", "opt", "max"]
"""A corner of the optimization profile."""

POINTS: tuple[Point, ...] = ("min", "opt", "max")


def shape_text(shape: Iterable[object]) -> str:
    """``1x3x32x32``, as options are written; ``scalar`` where there is no dimension."""
    return "x".join(map(str, shape)) or "scalar"


def id_parts(plugin: str) -> tuple[str, str]:
    """Namespace and name of a plugin's id, ``namespace::name``."""
    namespace, _, name = plugin.partition("::")
    return namespace, name


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values that one dynamic dimension takes in the optimization profile."""

    min: int
    opt: int
    max: int


@dataclass(frozen=True, kw_only=True)
class Combination:
    """Data types (``fp32``) and formats (``linear``) of all inputs, then all outputs of a plugin."""

    dtypes: tuple[str, ...]
    formats: tuple[str, ...]

    def __str__(self) -> str:
        return "-".join(d if f == "linear" else f"{d}.{f}" for d, f in zip(self.dtypes, self.formats, strict=True))


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The shapes that one network input may have, in elements; static where the three are equal."""

    min: Shape
    opt: Shape
    max: Shape

    @classmethod
    def static(cls, shape: Shape) -> Profile:
        return cls(min=shape, opt=shape, max=shape)


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """One input of the network: its profile, and a name for each dimension, used where it is dynamic."""

    name: str
    dtype: str
    profile: Profile
    dims: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor of the network.

    Attributes:
        shape: In elements, over the symbols of the profile.
        aliases: Name of the tensor whose buffer this one shares.
    """

    name: str
    role: Literal["input", "output", "internal"]
    dtype: str
    shape: tuple[Expr, ...]
    aliases: str | None = None


@dataclass(frozen=True, kw_only=True)
class Call:
    """One plugin in the network, with tensors by name."""

    name: str
    plugin: str
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def id_parts(self) -> tuple[str, str]:
        """Namespace and name of the plugin."""
        return id_parts(self.plugin)


@dataclass(frozen=True, kw_only=True)
class Network:
    """Plugin calls in execution order.

    Attributes:
        name: Of the engine.
        target: What the user asked to build: a recipe, a plugin id or an ONNX file.
        ranges: The optimization profile, by symbol.
        beside: Number of the ONNX model's other nodes by operator, which TensorRT imports itself. Not in the bundle.
    """

    name: str
    target: str
    ranges: Mapping[str, Range]
    tensors: tuple[Tensor, ...]
    calls: tuple[Call, ...]
    beside: Mapping[str, int] = field(default_factory=dict)

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors that are given to the network."""
        return [t for t in self.tensors if t.role == "input"]

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors that it gives back."""
        return [t for t in self.tensors if t.role == "output"]

    def at(self, point: Point) -> dict[str, int]:
        """The value of every symbol at the profile's min, opt or max."""
        return {symbol: getattr(r, point) for symbol, r in self.ranges.items()}

    def tensor(self, name: str) -> Tensor:
        return next(t for t in self.tensors if t.name == name)

    def likeness(self, call: Call) -> tuple[Any, ...]:
        """Equal for calls that have the same kernels: plugin, attributes, and types and shapes of their tensors."""
        tensors = [self.tensor(name) for name in (*call.inputs, *call.outputs)]
        attributes = tuple((n, repr(v.tolist() if hasattr(v, "tolist") else v)) for n, v in call.attributes.items())
        places = tuple(call.inputs.index(t.aliases) if t.aliases in call.inputs else -1 for t in tensors)
        inputs = tuple(call.inputs.index(name) for name in call.inputs)
        return call.plugin, attributes, tuple((t.dtype, t.shape) for t in tensors), places, inputs
