# SPDX-License-Identifier: Apache-2.0
"""What the outputs of a network should be, by its recipes' NumPy references."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from aotfactory import data, dtypes
from aotfactory.data import Array
from aotfactory.network import Network
from aotfactory.recipe import Recipe, Tolerance

FindRecipe = Callable[[str], Recipe | None]
"""Gives the recipe of a plugin id, if one is loaded."""


def outputs(network: Network, find_recipe: FindRecipe, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The expected value of every tensor that a reference can tell, call after call.

    Outputs of the network are as the reference gives them (float64 for arithmetic); what goes on to a next call is
    rounded to the tensor's own type first, as it is between kernels.
    """
    found: dict[str, Array] = {}
    values = dict(inputs)
    for call in network.calls:
        recipe = find_recipe(call.plugin)
        if recipe is None or any(name not in values for name in call.inputs):
            continue
        with np.errstate(all="ignore"):
            result = recipe.reference(*(values[name] for name in call.inputs), **call.attributes)
            for name, array in zip(call.outputs, result if isinstance(result, tuple) else (result,), strict=True):
                found[name] = np.asarray(array)
                values[name] = found[name].astype(dtypes.find(network.tensor(name).dtype).array)
    return found


def compare(
    network: Network, find_recipe: FindRecipe, got: Mapping[str, Array], expected: Mapping[str, Array]
) -> str | None:
    """What is wrong with the outputs, or None; each by the tolerance of the recipe of the call that makes it."""
    for call in network.calls:
        recipe = find_recipe(call.plugin)
        for name in call.outputs:
            if recipe is None or name not in got or name not in expected:
                continue
            tolerance = recipe.tolerance.get(network.tensor(call.inputs[0]).dtype, Tolerance())
            wrong = data.mismatch(got[name], expected[name], tolerance)
            if wrong:
                return f"{name} of {call.name}: {wrong}"
    return None
