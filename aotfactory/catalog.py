# SPDX-License-Identifier: Apache-2.0
"""Where recipes come from: the kernels that ship with aotfactory, installed packages, and modules the user names."""

from __future__ import annotations

import types
from collections.abc import Iterable
from importlib import metadata, resources
from pathlib import Path

from aotfactory import plugins
from aotfactory.errors import DefinitionError, UsageError
from aotfactory.recipe import Recipe

ENTRY_POINTS = "aotfactory.recipes"
"""Group of entry points; each names a module with recipes, and is loaded as ``--plugins`` would."""


def shipped() -> list[str]:
    """Names of the kernel modules that ship with aotfactory."""
    names = (
        Path(str(item)).stem for item in resources.files("aotfactory.kernels").iterdir() if item.name.endswith(".py")
    )
    return sorted(name for name in names if not name.startswith("_"))


class Catalog:
    """The recipes and plugin modules of one run.

    Args:
        specs: What ``--plugins`` was given: files, directories, dotted names, each with an optional ``:function``.

    Attributes:
        sources: The modules that were loaded, as `plugins.load` takes them.

    Raises:
        UsageError: A module does not exist.
        DefinitionError: A definition or recipe is wrong.
    """

    def __init__(self, specs: Iterable[str] = ()) -> None:
        self.sources: list[str] = []
        self.recipes: dict[str, Recipe] = {}
        for spec in specs:
            for source in _expand(spec):
                self._load(source)

    def find(self, name: str) -> Recipe | None:
        """The recipe of this name: the user's own first, then aotfactory's, then those of installed packages."""
        if name not in self.recipes and name in shipped():
            self._load(f"aotfactory.kernels.{name}")
        if name not in self.recipes:
            self.load_all()
        return self.recipes.get(name)

    def for_plugin(self, plugin_id: str) -> Recipe | None:
        """A loaded recipe of this plugin, for its reference and tolerance."""
        return next((r for r in self.recipes.values() if r.plugin == plugin_id), None)

    def load_all(self) -> None:
        """Load everything that ships with aotfactory or that an installed package offers."""
        for name in shipped():
            self._load(f"aotfactory.kernels.{name}")
        for entry_point in metadata.entry_points(group=ENTRY_POINTS):
            self._load(entry_point.value)

    def _load(self, source: str) -> None:
        if source in self.sources:
            return
        module = plugins.load(source)
        self.sources.append(source)
        for recipe in _recipes(module):
            if recipe.name in self.recipes:
                raise DefinitionError(
                    f"two recipes are called {recipe.name!r}", where=module.__file__, hint="give each its own name"
                )
            self.recipes[recipe.name] = recipe


def _recipes(module: types.ModuleType) -> tuple[Recipe, ...]:
    found = getattr(module, "RECIPES", None) or ((module.RECIPE,) if hasattr(module, "RECIPE") else ())
    for recipe in found:
        if not isinstance(recipe, Recipe):
            raise DefinitionError(
                f"RECIPE is a {type(recipe).__name__}",
                where=module.__file__,
                hint="make it an aotfactory.recipe.Recipe",
            )
    return tuple(found)


def _expand(spec: str) -> list[str]:
    path = Path(spec)
    if not path.is_dir():
        return [str(path.resolve()) if spec.endswith(".py") else spec]
    files = sorted(str(p.resolve()) for p in path.glob("*.py") if not p.name.startswith("_"))
    if not files:
        raise UsageError(f"no Python files in {path}", hint="--plugins takes a file, a directory or a dotted name")
    return files
