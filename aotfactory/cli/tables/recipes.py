# SPDX-License-Identifier: Apache-2.0
"""Recipes, all of them or one in full."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from aotfactory.cli.tables.text import print_table, say, table_of, value_text
from aotfactory.core.network import shape_text

if TYPE_CHECKING:
    from rich.console import Console

    from aotfactory.core.recipe import Recipe


def print_recipes(console: Console, recipes: Iterable[Recipe], bare: Iterable[Mapping[str, Any]] = ()) -> None:
    """Two lines for every recipe, and for every plugin without one."""
    for r in sorted(recipes, key=lambda r: r.name):
        say(console, (r.name, "bold"), f"  {r.summary}")
        inputs = ", ".join(f"{i.name} {shape_text(i.shape)}" for i in r.inputs)
        attributes = [f"{n}={value_text(v)}" for n, v in r.attributes.items()]
        facts = [r.plugin, inputs, " ".join(r.dtypes), *attributes]
        console.print(Padding(Text("; ".join(facts)), (0, 0, 0, 4)))
    for plugin in bare:
        say(console, (plugin["plugin"], "bold"), "  no recipe" if plugin["aot"] else "  no aot_impl")
        attributes = [f"{name}: {kind}" for name, kind in plugin["attribute_types"].items()]
        console.print(Padding(Text("; ".join([", ".join(plugin["inputs"]), *attributes])), (0, 0, 0, 4)))


def print_recipe(console: Console, facts: Mapping[str, Any]) -> None:
    """All about one recipe."""
    say(console, (facts["name"], "bold"), f"  {facts['summary']}")
    say(console, f"plugin {facts['plugin']}, in {facts['file']}")
    table = table_of("input", "shape", "dimensions", "types", "values")
    for item in facts["inputs"]:
        values = item["choices"] or item["limits"] or "any"
        shape, dims = shape_text(item["shape"]), " ".join(item["dims"])
        table.add_row(item["name"], shape, dims, " ".join(item["dtypes"]), value_text(values))
    print_table(console, table)
    if facts["attributes"]:
        table = table_of("attribute", "type", "default")
        for name, kind in facts["attribute_types"].items():
            table.add_row(name, kind, value_text(facts["attributes"].get(name, "")))
        print_table(console, table)
    table = table_of("output of type", "may differ by")
    for dtype in facts["dtypes"]:
        allowed = facts["tolerance"].get(dtype)
        table.add_row(dtype, f"{allowed['rtol']:g} of it, or {allowed['atol']:g}" if allowed else "nothing")
    print_table(console, table)
    dynamic = ", ".join(facts["dynamic"]) or "none"
    say(console, f"dimensions that may be dynamic: {dynamic}", "; not all go together" * facts["constrained"])
    if facts["description"]:
        console.print()
        for paragraph in facts["description"].split("\n\n"):
            _print_paragraph(console, paragraph)


def _print_paragraph(console: Console, paragraph: str) -> None:
    """Prose and lists are wrapped anew, for this width; whatever else was laid out by hand stays as it is."""
    items = re.split(r"^[*-] ", paragraph, flags=re.MULTILINE)[1:]
    if re.match(r"[*-] ", paragraph) and not re.search(r"^(?![*-] |  \S)", paragraph, re.MULTILINE):
        grid = Table.grid(padding=(0, 1, 0, 0))
        for item in items:
            grid.add_row("*", Text(" ".join(item.split())))
        console.print(grid, "", sep="\n")
        return
    plain = "\n" in paragraph and re.search(r"^[ |*-]", paragraph, re.MULTILINE)
    console.print(Text(paragraph if plain else " ".join(paragraph.split())), "", sep="\n")
