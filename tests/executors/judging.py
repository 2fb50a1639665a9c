# SPDX-License-Identifier: Apache-2.0
"""A process of its own that judges every recipe of a module, static and dynamic, without compiling it.

python judging.py MODULE.py [DTYPE]: JSON of what came of each, by recipe and mode.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from judge_score import judged

from aotfactory.core.recipe import Recipe
from aotfactory.executors.interpreter import worker
from aotfactory.plugins import device
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve

SECONDS = 20.0

LARGEST: dict[str, tuple[int, ...]] = {"offsets_beyond_int32": (70000, 40000), "offsets_in_int16": (1, 50000)}
"""Largest shapes of some recipes, by name; of others twice their own."""


def outcomes(module: str, dtype: str | None) -> dict[str, dict[str, list[str]]]:
    stream, sys.stdout = sys.stdout, sys.stderr  # kernels print
    worker.prepare("sm_90")
    catalog = Catalog([module])
    found: dict[str, dict[str, list[str]]] = {}
    with device.answering():
        for name, recipe in catalog.recipes.items():
            for mode, request in requests(recipe, dtype).items():
                state = judged(resolve(name, catalog, request), catalog, None, SECONDS)
                found.setdefault(name, {})[mode] = list(state)
    sys.stdout = stream
    return found


def requests(recipe: Recipe, dtype: str | None) -> dict[str, TargetOptions]:
    own = {item.name: item.shape for item in recipe.inputs}
    low = {name: (1,) * len(shape) for name, shape in own.items()}
    high = {name: LARGEST.get(recipe.name, tuple(2 * n for n in shape)) for name, shape in own.items()}
    types: dict[str | None, str] = {None: dtype} if dtype else {}
    return {
        "static": TargetOptions(shape=own, dtype=types),
        "dynamic": TargetOptions(min_shape=low, opt_shape=own, max_shape=high, dtype=types),
    }


if __name__ == "__main__":
    print(json.dumps(outcomes(sys.argv[1], *sys.argv[2:3] or [None])))
