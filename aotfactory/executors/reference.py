# SPDX-License-Identifier: Apache-2.0
"""The outputs that a network should have, computed by its recipes' NumPy references."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from aotfactory.core import dtypes
from aotfactory.core.errors import ReferenceCheckError
from aotfactory.core.network import Call, Network, Tensor
from aotfactory.core.recipe import Recipe, Tolerance
from aotfactory.executors import compare as comparison
from aotfactory.executors.inputs import Array

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
        for name, array in zip(call.outputs, of_call(recipe, call, values), strict=True):
            found[name] = array
            values[name] = rounded(array, network.tensor(name))
    return found


def of_call(recipe: Recipe, call: Call, values: Mapping[str, Array]) -> tuple[Array, ...]:
    """The outputs of one call by its recipe's reference.

    Raises:
        CheckError: The reference raises, or does not return an array for every output.
    """
    try:
        with np.errstate(all="ignore"):
            result = recipe.reference(*(values[name] for name in call.inputs), **call.attributes)
    except MemoryError:
        raise
    except Exception as error:
        raise ReferenceCheckError(
            f"the reference of recipe {recipe.name} raises {type(error).__name__}: {error}"
        ) from error
    arrays = tuple(np.asarray(array) for array in (result if isinstance(result, tuple) else (result,)))
    if len(arrays) != len(call.outputs):
        raise ReferenceCheckError(
            f"the reference of recipe {recipe.name} returns {len(arrays)} arrays, {call.plugin} has "
            f"{len(call.outputs)} outputs"
        )
    return arrays


def rounded(array: Array, tensor: Tensor) -> Array:
    """An expected output as the tensor holds it, for the calls that read it."""
    with np.errstate(all="ignore"):
        return array.astype(dtypes.find(tensor.dtype).array)


def tolerances(network: Network, find_recipe: FindRecipe) -> dict[str, Tolerance]:
    """How far each tensor may be from its reference, by the recipe of the call that makes it."""
    found: dict[str, Tolerance] = {}
    for call in network.calls:
        if recipe := find_recipe(call.plugin):
            found |= {output: tolerance(network, recipe, call, output)[1] for output in call.outputs}
    return found


def tolerance(network: Network, recipe: Recipe, call: Call, output: str) -> tuple[str, Tolerance]:
    """How far an output may be from the reference, and the data type by which the recipe says so: the network's.

    That is the type of the first input that has no types of its own in the recipe, as indices have. Where all have, it
    is the output's type, or else the first input's. An output whose type the network cannot have, such as one that is
    quantized, may be given a tolerance of its own.
    """
    own = network.tensor(output).dtype
    if own in recipe.tolerance and own not in recipe.dtypes:
        return own, recipe.tolerance[own]
    typed = [name for item, name in zip(recipe.inputs, call.inputs, strict=False) if not item.dtypes]
    keys = [network.tensor(name).dtype for name in (typed[:1] or [output, *call.inputs[:1]])]
    key = next((key for key in keys if key in recipe.tolerance), keys[0])
    return key, recipe.tolerance.get(key, Tolerance())


def mismatch(network: Network, recipe: Recipe, call: Call, output: str, out: Array, expected: Array) -> str | None:
    """The problem with one output of a call, by its recipe's tolerance, or None."""
    key, allowed = tolerance(network, recipe, call, output)
    return comparison.mismatch(out, expected, allowed, key)


def compare(
    network: Network, find_recipe: FindRecipe, got: Mapping[str, Array], expected: Mapping[str, Array]
) -> str | None:
    """The problems with the outputs, or None; each by the tolerance of the recipe of the call that makes it."""
    for call in network.calls:
        recipe = find_recipe(call.plugin)
        for name in call.outputs:
            if recipe is None or name not in got or name not in expected:
                continue
            wrong = mismatch(network, recipe, call, name, got[name], expected[name])
            if wrong:
                return f"{name} of {call.name}: {wrong}"
    return None
