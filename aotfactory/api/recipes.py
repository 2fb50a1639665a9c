# SPDX-License-Identifier: Apache-2.0
"""Recipes as ``aotfactory list`` shows them."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from aotfactory.core.recipe import Input, Recipe
from aotfactory.plugins import definitions, registry
from aotfactory.plugins.attributes import type_name
from aotfactory.plugins.catalog import Catalog


def to_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe as ``aotfactory list --format json`` prints it."""
    return {
        "name": recipe.name,
        "plugin": recipe.plugin,
        "summary": recipe.summary,
        "inputs": [{"name": i.name, "shape": list(i.shape), "dtypes": list(i.dtypes)} for i in recipe.inputs],
        "dtypes": list(recipe.dtypes),
        "attributes": {n: v.tolist() if hasattr(v, "tolist") else v for n, v in recipe.attributes.items()},
    }


def bare_plugins(catalog: Catalog) -> list[dict[str, Any]]:
    """The plugins that loaded modules register and that no recipe is of: what a build by their id must be given."""
    found = []
    for plugin_id in registry.registered():
        plugin = registry.lookup(plugin_id)
        if catalog.for_plugin(plugin_id) is None:
            found.append(
                {
                    "plugin": plugin_id,
                    "inputs": plugin.inputs,
                    "attribute_types": {name: type_name(kind) for name, kind in plugin.attributes.items()},
                    "aot": plugin.function("aot_impl") is not None,
                }
            )
    return found


def in_full(recipe: Recipe) -> dict[str, Any]:
    """All that is known of a recipe: its module's words, types and defaults of attributes, limits and tolerances.

    Raises:
        DefinitionError: Its plugin is not one that can be compiled ahead of time.
    """
    plugin = definitions.find(recipe.plugin)
    module = sys.modules.get(recipe.reference.__module__)
    return {
        **to_json(recipe),
        "description": inspect.cleandoc(module.__doc__ or "") if module else "",
        "file": str(plugin.file("register")),
        "inputs": [_input(item, recipe) for item in recipe.inputs],
        "attribute_types": {name: type_name(kind) for name, kind in plugin.attributes.items()},
        "dynamic": list(recipe.dynamic) or sorted({d for item in recipe.inputs for d in item.dims}),
        "constrained": recipe.constraint is not None,
        "tolerance": {
            dtype: {"atol": t.atol, "rtol": t.rtol} for dtype, t in recipe.tolerance.items() if dtype in recipe.dtypes
        },
        "odd_shapes": [[list(shape) for shape in case] for case in recipe.odd_shapes],
    }


def _input(item: Input, recipe: Recipe) -> dict[str, Any]:
    limits = list(item.limits) if isinstance(item.limits, tuple) else item.limits
    return {
        "name": item.name,
        "shape": list(item.shape),
        "dims": list(item.dims),
        "dtypes": list(item.dtypes or recipe.dtypes),
        "limits": limits,
        "choices": list(item.choices),
    }
