# SPDX-License-Identifier: Apache-2.0
"""The command `list`: the recipes, or one of them in full."""

from __future__ import annotations

from typing import Annotated

import typer

from aotfactory.cli.complete import recipe_names
from aotfactory.cli.options import FormatOption, Plugins
from aotfactory.cli.terminal import Format, print_json, say, show, working


def list_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Show this one in full.", autocompletion=recipe_names)
    ] = "",
    plugins: Plugins = [],  # noqa: B006
    format: FormatOption = Format.text,
) -> None:
    """List the recipes, aotfactory's own, those of installed packages and those in --plugins, or show one in full.

    Plugins in --plugins that have no recipe come last, with what a build by their id must be given.

    Example: aotfactory list rope
    """
    with working():
        from aotfactory.plugins.catalog import Catalog

        catalog = Catalog(plugins)
        wanted = catalog.require(name) if name else None
        if wanted is None:
            catalog.load_all()
    for problem in catalog.problems:
        say(f"warning: {problem}")
    from aotfactory.api import recipes
    from aotfactory.cli.tables.recipes import print_recipe, print_recipes

    found = [wanted] if wanted else list(catalog.recipes.values())
    if format is Format.json:
        entries = [recipes.in_full(wanted)] if wanted else [recipes.to_json(recipe) for recipe in found]
        bare = {} if wanted else {"plugins": recipes.bare_plugins(catalog)}
        print_json({"schema": "aotfactory.list/1", "recipes": entries, **bare})
    elif wanted:
        facts = recipes.in_full(wanted)
        show(lambda console: print_recipe(console, facts))
    else:
        show(lambda console: print_recipes(console, found, recipes.bare_plugins(catalog)))
