# SPDX-License-Identifier: Apache-2.0
"""The plugins that loaded modules have registered with `tensorrt.plugin`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotfactory.plugins import tensorrt_api

tensorrt_api.load()
from tensorrt.plugin import _lib  # noqa: E402


@dataclass(frozen=True)
class Plugin:
    """A registered plugin.

    Attributes:
        id: ``namespace::name``.
        definition: NVIDIA's `PluginDef`: the functions, and the names and types of inputs and attributes.
    """

    id: str
    definition: Any

    @property
    def inputs(self) -> list[str]:
        """Names of the input tensors."""
        return list(self.definition.input_tensor_names)

    @property
    def attributes(self) -> dict[str, Any]:
        """Name and annotated type of each attribute."""
        return dict(self.definition.input_attrs)

    def function(self, kind: str) -> Callable[..., Any] | None:
        """The function of a kind: ``register``, ``autotune``, ``aot_impl`` or ``impl``; None where there is none."""
        function: Callable[..., Any] | None = getattr(self.definition, f"{kind}_func")
        return function

    def where(self, kind: str) -> str:
        """File and line of one of the plugin's functions."""
        return f"{self.file(kind)}:{self._code(kind).co_firstlineno}"

    def file(self, kind: str) -> Path:
        """File of one of the plugin's functions."""
        return Path(self._code(kind).co_filename)

    def _code(self, kind: str) -> Any:
        function = self.function(kind) or self.function("register")
        return inspect.unwrap(function).__code__  # type: ignore[arg-type]


def registered() -> list[str]:
    """Ids of the plugins that are registered."""
    return sorted(_lib.QDP_REGISTRY)


def lookup(plugin_id: str) -> Plugin:
    """The plugin that is registered under this id.

    Raises:
        KeyError: None is.
    """
    return Plugin(plugin_id, _lib.QDP_REGISTRY[plugin_id])


def registration(plugin_id: str) -> str:
    """File and line of a plugin's register function."""
    return lookup(plugin_id).where("register")
