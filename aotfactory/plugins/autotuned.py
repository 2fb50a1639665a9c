# SPDX-License-Identifier: Apache-2.0
"""Kernels under `triton.autotune`, `triton.heuristics` and wrappers like them: their configs are tactics.

Triton tries an autotuner's configs on the GPU when the kernel is first launched. Ahead of time TensorRT does that: each
config is a tactic, and what Triton does around its own trials (`reset_to_zero`, `restore_value`, `pre_hook` and
`post_hook` of the autotuner, `perf_model`) has no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from aotfactory.core.errors import ConfigError, KernelArgumentError
from aotfactory.plugins import symbolic_ints
from aotfactory.plugins.kernel_arguments import is_kernel
from aotfactory.plugins.tensor_argument import TensorArgument

_INNER = ("fn", "jit_function", "kernel")
"""Where a wrapper keeps what it wraps: Triton's own and FlagGems'; torch's `wrap_triton` has `kernel`."""

_wanted: ContextVar[int | None] = ContextVar("_wanted", default=None)


class ConfigRefused(ConfigError):
    """A plan cannot launch a kernel with one of its configs: the tactic is left out, the others stay."""


class ConfigName(str):
    """The entry name of a kernel that was compiled with a config, and which one: 1 is the autotuner's first."""

    config: int

    @classmethod
    def of(cls, name: str, config: int) -> ConfigName:
        made = cls(name)
        made.config = config
        return made


@dataclass(frozen=True)
class Config:
    """One config of an autotuner, by its number from 1; number 0: the kernel is not tuned, or by hand.

    Attributes:
        values: Of parameters, and of launch options such as `num_warps`.
    """

    number: int
    values: Mapping[str, Any]
    total: int = 1

    def __str__(self) -> str:
        return f"config {self.number} of {self.total} ({', '.join(f'{k}={v}' for k, v in self.values.items())})"


UNTUNED = Config(0, {})


def tactics_of(kernel: Any) -> list[int]:
    """A tactic for each config of an autotuned kernel, for the `autotune` function of a plugin; 1 if it is not tuned.

    The `aot_impl` hands its tactic on: ``aot_kernel(kernel, ..., config=tactic)``.
    """
    layers, _ = unwrap(kernel)
    return list(range(1, 1 + max([len(_configs(layer)) for layer in layers], default=1)))


def is_tuned(kernel: Any) -> bool:
    """Whether a kernel has an autotuner's configs."""
    return any(_configs(layer) for layer in unwrap(kernel)[0])


@contextmanager
def preferring(config: int | None) -> Iterator[None]:
    """Let an `aot_kernel` that names no config take this one, so that a second run of it makes the same choice."""
    token = _wanted.set(config)
    try:
        yield
    finally:
        _wanted.reset(token)


def unwrap(fn: Any) -> tuple[list[Any], Any]:
    """The wrappers around a kernel, outermost first, and what `@triton.jit` made.

    Raises:
        DefinitionError: There is none inside.
    """
    layers: list[Any] = []
    inner = fn
    while not is_kernel(inner):
        name = next((n for n in _INNER if hasattr(inner, n)), None)
        if name is None or len(layers) > 20:
            raise KernelArgumentError(f"{fn!r} is not a Triton kernel", hint="decorate the function with @triton.jit")
        layers.append(inner)
        inner = getattr(inner, name)
    return layers, inner


def configs(layers: list[Any], arguments: Mapping[str, Any], number: int | None) -> list[Config]:
    """The configs to try, in order: the one that is asked for, else all that the kernel's own pruning leaves.

    Raises:
        ConfigRefused: The one that is asked for is pruned, or needs Python before each launch.
        DefinitionError: There is none of this number.
    """
    tuner = next((layer for layer in layers if _configs(layer)), None)
    if tuner is None:
        if number not in (None, 0, 1):
            raise ConfigError(f"config={number}, but the kernel is not autotuned", hint="drop config")
        return [UNTUNED]
    every = _own_making(tuner, arguments) or _configs(tuner)
    found = [Config(i, _values(config), len(every)) for i, config in enumerate(every, 1)]
    wanted = number or _wanted.get()
    if not wanted:
        if {name for config in every for name in config.kwargs} <= arguments.keys():
            return [UNTUNED]  # tuned by hand
        kept = [c for c in found if _refusal(tuner, every[c.number - 1], arguments) is None]
        return kept or found
    if not 0 < wanted <= max(len(every), len(_configs(tuner))):
        raise ConfigError(
            f"config={wanted}, but the kernel has {len(every)}", hint="offer tactics_of(kernel) in autotune"
        )
    if wanted > len(every):
        raise ConfigRefused(f"config {wanted} is pruned by the kernel itself, which makes {len(every)} for these sizes")
    if reason := _refusal(tuner, every[wanted - 1], arguments):
        raise ConfigRefused(f"{found[wanted - 1]} {reason}")
    return [found[wanted - 1]]


def settle(layers: list[Any], arguments: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """The arguments, with what the config and the heuristics give; an argument that is given stays as it is."""
    settled = dict(arguments)
    for layer in layers:
        if _configs(layer):
            settled = {**config.values, **settled}
        for name, heuristic in _heuristics(layer).items():
            if name not in arguments:
                settled[name] = heuristic(
                    _as_seen(settled, f"the heuristic for {name}", f"give aot_kernel {name}=..., right for every shape")
                )
    return settled


def _configs(layer: Any) -> list[Any]:
    found = getattr(layer, "configs", None)
    return list(found) if isinstance(found, list | tuple) and all(hasattr(c, "kwargs") for c in found) else []


def _heuristics(layer: Any) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    found = getattr(layer, "values", None)
    return dict(found) if isinstance(found, dict) and all(map(callable, found.values())) else {}


def _values(config: Any) -> dict[str, Any]:
    options = {n: getattr(config, n, None) for n in ("num_warps", "num_stages", "num_ctas", "maxnreg", "ir_override")}
    return {**config.kwargs, **{n: v for n, v in options.items() if v is not None and (n, v) != ("num_ctas", 1)}}


def _refusal(tuner: Any, config: Any, arguments: Mapping[str, Any]) -> str | None:
    """Why a config cannot be launched, before it is compiled."""
    if getattr(config, "pre_hook", None) is not None:
        return "has a pre_hook: Python that would run before every launch"
    kept = _pruned(tuner, arguments)
    if not kept or any(c is config or c == config or _values(c) == _values(config) for c in kept):
        return None
    return "is pruned by the kernel itself"


def _pruned(tuner: Any, arguments: Mapping[str, Any]) -> list[Any]:
    """The configs that the kernel's own pruning leaves; none: all."""
    prune = getattr(tuner, "early_config_prune", None)
    if prune is None:
        return []
    seen = _as_seen(arguments, "early_config_prune", "")
    try:
        return list(prune(list(_configs(tuner)), dict(seen), **seen))
    except Exception:  # it asks for what is not known yet, or for a GPU: then nothing is pruned, and TensorRT times all
        return []


def _own_making(tuner: Any, arguments: Mapping[str, Any]) -> list[Any]:
    """The configs that pruning makes for these arguments, where it returns none of those that the kernel lists."""
    listed, kept = _configs(tuner), _pruned(tuner, arguments)
    return [] if any(k is c or k == c for k in kept for c in listed) else kept


def _as_seen(arguments: Mapping[str, Any], asked_by: str, remedy: str) -> dict[str, Any]:
    """Arguments as Python code around a launch sees them: numbers, tensors with a shape and a type."""
    return {name: _seen(value, name, asked_by, remedy) for name, value in arguments.items()}


def _seen(value: Any, *about: str) -> Any:
    value = symbolic_ints.folded(value)
    if isinstance(value, symbolic_ints.SymInt):
        return symbolic_ints.RunTimeInt.of(value, *about)
    return TensorArgument(value, *about) if TensorArgument.stands_for(value) else value
