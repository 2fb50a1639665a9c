# SPDX-License-Identifier: Apache-2.0
"""The network that an engine is built from: plugin calls in order, their tensors, and the optimization profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aotfactory.core.expressions import Expr

Shape = tuple[int, ...]


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


@dataclass(frozen=True, kw_only=True)
class Network:
    """Plugin calls in execution order.

    Attributes:
        name: Of the engine.
        target: What the user asked to build: a recipe, a plugin id or an ONNX file.
        ranges: The optimization profile, by symbol.
    """

    name: str
    target: str
    ranges: Mapping[str, Range]
    tensors: tuple[Tensor, ...]
    calls: tuple[Call, ...]

    def tensor(self, name: str) -> Tensor:
        return next(t for t in self.tensors if t.name == name)
