# SPDX-License-Identifier: Apache-2.0
"""Find a plugin by its id, fit for ahead-of-time compilation, and blame its functions for what they raise."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from aotfactory.core.errors import PluginError, TargetError
from aotfactory.plugins import absent, loader
from aotfactory.plugins.mistakes import explained
from aotfactory.plugins.registry import Plugin, lookup, registered


def find(plugin_id: str) -> Plugin:
    """The registered plugin of this id, fit for ahead-of-time compilation.

    Raises:
        UsageError: No module that was loaded registers it.
        DefinitionError: It has no `aot_impl`, or one that TensorRT could not call.
    """
    if plugin_id not in registered():
        ids = sorted(registered(), key=lambda known: (known.startswith("aotfactory::"), known))
        close = difflib.get_close_matches(plugin_id[:200], ids, 1)
        meant = f"did you mean {close[0]}? " if close else ""
        ways = f"--plugins {' or '.join(loader.registering()[:3])}" if loader.registering() else "--plugins PATH"
        raise TargetError(
            f"no plugin {plugin_id!r} is registered",
            hint=f"{meant}{ways} loads more; registered are {', '.join(ids) or 'none'}{_left_out()}",
        )
    plugin = lookup(plugin_id)
    if not plugin.inputs:
        raise PluginError(
            f"plugin {plugin_id} has no input",
            where=plugin.where("register"),
            hint="TensorRT's plugins have at least one: begin with inp0: trtp.TensorDesc",
        )
    if plugin.function("aot_impl") is None:
        only = ", only an impl, which Python would run" if plugin.function("impl") else ""
        raise PluginError(
            f"plugin {plugin_id} has no aot_impl{only}",
            where=plugin.where("register"),
            hint=f'add @trtp.aot_impl("{plugin_id}"){" (docs/how-to/jit-to-aot.md)" if only else ""}; if a function of '
            f"the module registers it: --plugins {' or '.join(loader.registering()[:3]) or 'PATH:FUNC'}{_left_out()}",
        )
    if list(plugin.definition.aot_impl_attr_names) != list(plugin.attributes):
        raise PluginError(
            f"aot_impl of {plugin_id} takes the attributes ({', '.join(plugin.definition.aot_impl_attr_names)}), "
            f"but TensorRT calls it with all of register's: ({', '.join(plugin.attributes)})",
            where=plugin.where("aot_impl"),
            hint="give the aot_impl every attribute, in register's order",
        )
    return plugin


def _left_out() -> str:
    """Where a module was not read whole, which may be why something is missing."""
    return "".join(f"; {gap}" for gap in absent.gaps())


@contextmanager
def blame(plugin: Plugin, kind: str) -> Iterator[None]:
    """Turn what a definition's function raises into an error that names the function, its file and its line."""
    with explained(plugin.file(kind), what=f"{kind} of {plugin.id}", otherwise=lambda: plugin.where(kind)):
        yield
