# SPDX-License-Identifier: Apache-2.0
"""What the wrappers of tests/corpus give to `aot_kernel`, for `corpus_gpu.py` to launch through Triton instead."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotfactory.core.network import Network
from aotfactory.plugins import definitions, loader
from aotfactory.targets.network_builder import plugin_call

import tensorrt.plugin._tensor as _tensor  # isort: skip  (after aotfactory, which decides on it)


@dataclass(frozen=True)
class Launch:
    """A call of `aot_kernel`: tensors by their name in the network, dimensions as numbers."""

    kernel: Any
    grid: tuple[int, ...] | Callable[[Mapping[str, Any]], tuple[int, ...]]
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Tensor:
    """An argument that is a tensor of the network, by name."""

    name: str


class _Called(BaseException):
    """Carries a call out of the `aot_impl`; no Exception, which would be explained to an author."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch


def launch_of(network: Network, spec: Path) -> Launch:
    """What the wrapper's `aot_impl` gives to `aot_kernel` in this network, whose shapes are static."""
    (call,) = network.calls
    module = loader.load(str(spec))

    def number(value: Any) -> Any:
        return value._expr.get_constant_value() if hasattr(value, "_expr") else value

    def numbers(grid: Any) -> tuple[int, ...]:
        return tuple(number(g) for g in (grid if isinstance(grid, (tuple, list)) else [grid]))

    def with_dimensions(grid: Any, meta: Mapping[str, Any]) -> tuple[int, ...]:
        _tensor.SymIntExpr._exprBuilder = plugin.builder  # as while aot_impl runs
        try:
            return numbers(grid(meta))
        finally:
            _tensor.SymIntExpr._exprBuilder = None

    def record(kernel: Any, *, grid: Any, config: Any = None, unused: Any = (), **arguments: Any) -> Any:
        local = sys._getframe(1).f_locals
        names = {
            id(local[given]): name
            for given, name in zip(definitions.find(call.plugin).inputs, call.inputs, strict=True)
        }
        for output, alias, name in zip(local["outputs"], plugin.aliases, call.outputs, strict=True):
            names[id(output)] = name if alias is None else call.inputs[alias]
        given = {n: Tensor(names[id(v)]) if id(v) in names else number(v) for n, v in arguments.items()}
        if not callable(grid) or isinstance(grid, _tensor.SymIntExpr):
            raise _Called(Launch(kernel, numbers(grid), given))
        raise _Called(Launch(kernel, lambda meta: with_dimensions(grid, meta), given))

    plugin = plugin_call(network, call)
    original, module.aot_kernel = module.aot_kernel, record  # type: ignore[attr-defined]
    try:
        plugin.kernel(plugin.combination, next(t for c, t in plugin.combinations() if c == plugin.combination)[0])
    except _Called as called:
        return called.launch
    finally:
        module.aot_kernel = original  # type: ignore[attr-defined]
    raise RuntimeError(f"{spec.name} does not call aot_kernel")
