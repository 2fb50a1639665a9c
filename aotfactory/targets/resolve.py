# SPDX-License-Identifier: Apache-2.0
"""From the TARGET of ``aotfactory build``, a recipe, a plugin id or an ONNX file, to a network."""

from __future__ import annotations

import re
from pathlib import Path

from aotfactory.core import dtypes
from aotfactory.core.errors import DataTypeError, DimensionError, ShapeError
from aotfactory.core.network import Network, NetworkInput, Profile, id_parts
from aotfactory.core.recipe import Recipe
from aotfactory.plugins import definitions, registry
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets import network_builder
from aotfactory.targets.request import TargetOptions, check_names, profile_of


def resolve(target: str, catalog: Catalog, request: TargetOptions) -> Network:
    """The network of a target.

    Raises:
        UsageError: There is no such target, or the request does not fit it.
        DefinitionError: A plugin definition is wrong.
    """
    if target.endswith(".onnx"):
        from aotfactory.targets import onnx_model

        return onnx_model.load(Path(target), catalog, request)
    if "::" in target:
        recipe = catalog.for_plugin(target)
        if recipe is None and (target not in registry.registered() or target.startswith("aotfactory::")):
            catalog.load_all()
            recipe = catalog.for_plugin(target)
        return _of_recipe(recipe, target, request) if recipe else _of_plugin(target, request)
    return _of_recipe(catalog.require(target), target, request)


def _of_recipe(recipe: Recipe, target: str, request: TargetOptions) -> Network:
    names = [item.name for item in recipe.inputs]
    check_names(request, names, recipe.name)
    common = request.dtype.get(None, recipe.dtypes[0])
    if common not in recipe.dtypes:
        raise DataTypeError(f"{recipe.name} cannot be {common}", hint=f"use one of {', '.join(recipe.dtypes)}")
    profiles = {item.name: profile_of(request, item.name, names) for item in recipe.inputs}
    # An input without a shape of its own takes the dimensions that it shares with one that has.
    known: dict[str, tuple[int, int, int]] = {}
    for item in recipe.inputs:
        profile = profiles[item.name]
        if profile and len(item.dims) == len(profile.max):
            known |= dict(zip(item.dims, zip(profile.min, profile.opt, profile.max, strict=True), strict=True))
    names = sorted({d for item in recipe.inputs for d in item.dims})
    for name, extent in request.dims.items():
        if name not in names:
            raise DimensionError(
                f"--dim: {recipe.name} has no dimension {name!r}", hint=f"it has {', '.join(names) or 'none'}"
            )
        if known.setdefault(name, extent) != extent:
            raise DimensionError(f"--dim {name} and a shape contradict each other", hint="give one of them")
    inputs = []
    for item in recipe.inputs:
        profile = profiles[item.name]
        if profile is None:
            dims = item.dims or ("",) * len(item.shape)
            extents = [known.get(d, (n, n, n)) for d, n in zip(dims, item.shape, strict=True)]
            profile = Profile(**{k: tuple(e[i] for e in extents) for i, k in enumerate(("min", "opt", "max"))})
        dtype = request.dtype.get(item.name, item.dtypes[0] if item.dtypes else common)
        if dtype not in (item.dtypes or recipe.dtypes):
            offered = ", ".join(item.dtypes or recipe.dtypes)
            raise DataTypeError(f"{item.name} of {recipe.name} cannot be {dtype}", hint=f"use one of {offered}")
        named = len(item.dims) == len(profile.max)
        inputs.append(_input(item.name, dtype, profile, item.dims if named else None))
    return network_builder.chain(
        name=recipe.name,
        target=target,
        plugin_id=recipe.plugin,
        inputs=inputs,
        attributes={**recipe.attributes, **request.attributes},
        outputs=recipe.outputs,
        length=recipe.chain,
    )


def _of_plugin(plugin_id: str, request: TargetOptions) -> Network:
    plugin = definitions.find(plugin_id)
    names = plugin.inputs
    check_names(request, names, plugin_id)
    if request.dims:
        raise DimensionError(
            f"--dim: the dimensions of {plugin_id} have no names", hint="use --min-shape and --max-shape"
        )
    profiles = {name: profile_of(request, name, names) for name in names}
    if lacking := [name for name, profile in profiles.items() if profile is None]:
        raise ShapeError(
            f"{plugin_id} needs a shape for {', '.join(lacking)}",
            hint=" ".join(f"--shape {name}=1x3x32x32" for name in lacking),
        )
    inputs = [
        _input(name, request.dtype.get(name, request.dtype.get(None, "fp32")), profile, None)
        for name, profile in profiles.items()
        if profile is not None
    ]
    return network_builder.chain(
        name=id_parts(plugin_id)[1],
        target=plugin_id,
        plugin_id=plugin_id,
        inputs=inputs,
        attributes=request.attributes,
    )


def _input(name: str, dtype: str, profile: Profile, dims: tuple[str, ...] | None) -> NetworkInput:
    identifier = re.sub(r"\W", "_", name, flags=re.ASCII)[:48]
    if not identifier.isidentifier():
        identifier = f"x{identifier}"
    default = tuple(f"{identifier}_{axis}" for axis in range(len(profile.max)))
    return NetworkInput(name=name, dtype=dtypes.find(dtype).name, profile=profile, dims=dims or default)
