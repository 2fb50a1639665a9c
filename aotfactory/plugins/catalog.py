# SPDX-License-Identifier: Apache-2.0
"""Where recipes come from: modules the user names, the kernels that ship with aotfactory, and installed packages."""

from __future__ import annotations

import difflib
import os
import re
import types
from collections.abc import Iterable
from importlib import metadata, resources
from pathlib import Path

from aotfactory.core.errors import AotError, PluginModuleError, RecipeError, TargetError
from aotfactory.core.recipe import Recipe
from aotfactory.plugins import loader

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
        sources: The modules that were loaded, as `modules.load` takes them.
        problems: Why a module that the user did not name could not be loaded.

    Raises:
        UsageError: A module does not exist.
        DefinitionError: A definition or recipe is wrong.
    """

    def __init__(self, specs: Iterable[str] = ()) -> None:
        self.sources: list[str] = []
        self.problems: list[str] = []
        self.recipes: dict[str, Recipe] = {}
        self._modules: set[str] = set()
        self._all = False
        for spec in specs:
            for source in _expand(spec):
                for recipe in self._load(source):
                    if recipe.name in self.recipes:
                        raise RecipeError(
                            f"two recipes are called {recipe.name!r}", where=source, hint="give each its own name"
                        )
                    _require_own_name(recipe, source)
                    self.recipes[recipe.name] = recipe

    def find(self, name: str) -> Recipe | None:
        """The recipe of this name: the user's own first, then aotfactory's, then those of installed packages."""
        if name not in self.recipes and name in shipped():
            self._add(f"aotfactory.kernels.{name}")
        if name not in self.recipes:
            self.load_all()
        return self.recipes.get(name)

    def require(self, name: str) -> Recipe:
        """The recipe of this name; see `find`.

        Raises:
            UsageError: There is none; with those that there are.
        """
        recipe = self.find(name)
        if recipe is None:
            left_out = "".join(f"; {problem}" for problem in self.problems)
            close = difflib.get_close_matches(name[:100], self.recipes, 1)
            meant = f"did you mean {close[0]}? " if close else ""
            raise TargetError(
                f"no recipe {name!r}",
                hint=f"{meant}there are {', '.join(sorted(self.recipes))}; a plugin without a recipe is built by its "
                f"id, namespace::name; --plugins PATH loads your own{left_out}",
            )
        return recipe

    def for_plugin(self, plugin_id: str) -> Recipe | None:
        """A loaded recipe of this plugin, for its reference and tolerance."""
        return next((r for r in self.recipes.values() if r.plugin == plugin_id), None)

    def load_all(self) -> None:
        """Load everything that ships with aotfactory or that an installed package offers.

        A module that cannot be loaded, for example because the user's own has registered its plugins, is left out and
        told in `problems`; a name that is taken keeps its recipe.
        """
        if self._all:
            return
        self._all = True
        others = [(entry.value, f"entry point {entry.name}") for entry in metadata.entry_points(group=ENTRY_POINTS)]
        for source, origin in [*((f"aotfactory.kernels.{name}", name) for name in shipped()), *others]:
            try:
                self._add(source)
            except AotError as error:
                self.problems.append(f"{origin} is left out: {error}")

    def _add(self, source: str) -> None:
        for recipe in self._load(source):
            self.recipes.setdefault(recipe.name, recipe)

    def _load(self, source: str) -> tuple[Recipe, ...]:
        """Load a module; the recipes in it, unless they were given before."""
        module = loader.load(source)
        if source not in self.sources:
            self.sources.append(source)
        if module.__name__ in self._modules:
            return ()
        self._modules.add(module.__name__)
        return _recipes(module)


def _require_own_name(recipe: Recipe, source: str) -> None:
    """Refuse a recipe that hides one of aotfactory's own, unless it is that one."""
    shipped_as = f"aotfactory.kernels.{recipe.name}"
    path = Path(loader.split(source)[0])
    if recipe.name not in shipped() or source.startswith(shipped_as):
        return
    own = Path(str(resources.files("aotfactory.kernels") / f"{recipe.name}.py"))
    if path.suffix != ".py" or (own.exists() and os.path.exists(path) and own.samefile(path)):
        return
    lines = path.read_text(errors="replace").splitlines() if os.path.exists(path) else []
    line = next((n for n, text in enumerate(lines, 1) if re.search(rf"name\s*=\s*[\"']{recipe.name}[\"']", text)), 1)
    raise RecipeError(
        f"recipe {recipe.name!r} hides aotfactory's own of that name",
        where=f"{path}:{line}",
        hint=f"give it another name; aotfactory build {recipe.plugin} builds it by its plugin's id",
    )


def _recipes(module: types.ModuleType) -> tuple[Recipe, ...]:
    found = getattr(module, "RECIPES", None) or ((module.RECIPE,) if hasattr(module, "RECIPE") else ())
    for recipe in found if isinstance(found, tuple | list) else (found,):
        if not isinstance(recipe, Recipe):
            raise RecipeError(
                f"RECIPE is a {type(recipe).__name__}",
                where=module.__file__,
                hint="RECIPE is an aotfactory.core.recipe.Recipe, RECIPES is a tuple of them",
            )
        if not re.fullmatch(r"\w[\w.-]*", recipe.name) or recipe.name.endswith(".onnx"):
            raise RecipeError(
                f"{recipe.name!r} is not a valid recipe name", where=module.__file__, hint="use letters, digits and _"
            )
    return tuple(found)


def _expand(spec: str) -> list[str]:
    """A directory's files; a file by its absolute path, which also holds in another process."""
    name, function = loader.split(spec)
    path = Path(name)
    if not name or not os.path.isdir(path) or (not {"/", "."} & set(name) and function is not None):
        suffix = f":{function}" if function is not None else ""
        return [f"{path.resolve()}{suffix}" if name.endswith(".py") else spec]
    if function is not None:
        raise PluginModuleError(
            f"{path} is a directory: it has no function {function!r}", hint="name the file: FILE.py:FUNC"
        )
    files = sorted(str(p.resolve()) for p in path.glob("*.py") if not p.name.startswith("_"))
    if not files:
        raise PluginModuleError(
            f"no Python files in {path}", hint="--plugins takes a file, a directory or a dotted name"
        )
    return files
