# SPDX-License-Identifier: Apache-2.0
"""What ``aotfactory build TARGET`` means: a recipe, a plugin id or an ONNX file becomes a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aotfactory import dtypes, network_builder, plugins
from aotfactory.catalog import Catalog
from aotfactory.errors import UsageError
from aotfactory.network import Network, NetworkInput, Profile, Shape
from aotfactory.recipe import Recipe

LARGEST_DIMENSION = 2**31 - 1
MAX_RANK = 8
"""Limits of a tensor in TensorRT (NvInferRuntimeBase.h, Dims)."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for beside the target.

    The keys are input names; None is the option given without a name, which means the only input.

    Attributes:
        shape, min_shape, opt_shape, max_shape: In elements. `shape` is a static shape, or the opt of a dynamic one.
        dtype: Data types; None as key stands for every input that follows the network's data type.
        attributes: Values or their command-line text.
    """

    shape: Mapping[str | None, Shape] = field(default_factory=dict)
    min_shape: Mapping[str | None, Shape] = field(default_factory=dict)
    opt_shape: Mapping[str | None, Shape] = field(default_factory=dict)
    max_shape: Mapping[str | None, Shape] = field(default_factory=dict)
    dtype: Mapping[str | None, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


def resolve(target: str, catalog: Catalog, request: Request) -> Network:
    """The network of a target.

    Raises:
        UsageError: There is no such target, or the request does not fit it.
        DefinitionError: A plugin definition is wrong.
    """
    if target.endswith(".onnx"):
        from aotfactory import onnx_network

        return onnx_network.load(Path(target), catalog, request)
    if "::" in target:
        recipe = catalog.for_plugin(target)
        if recipe is None and (target not in plugins.registered() or target.startswith("aotfactory::")):
            catalog.load_all()
            recipe = catalog.for_plugin(target)
        return _of_recipe(recipe, target, request) if recipe else _of_plugin(target, request)
    recipe = catalog.find(target)
    if recipe is None:
        left_out = "".join(f"; {problem}" for problem in catalog.problems)
        raise UsageError(
            f"no recipe {target!r}",
            hint=f"there are {', '.join(sorted(catalog.recipes))}; a plugin without a recipe is built by its id, "
            f"namespace::name; --plugins PATH loads your own{left_out}",
        )
    return _of_recipe(recipe, target, request)


def _of_recipe(recipe: Recipe, target: str, request: Request) -> Network:
    names = [item.name for item in recipe.inputs]
    check_names(request, names, recipe.name)
    common = request.dtype.get(None, recipe.dtypes[0])
    if common not in recipe.dtypes:
        raise UsageError(f"{recipe.name} cannot be {common}", hint=f"use one of {', '.join(recipe.dtypes)}")
    profiles = {item.name: profile_of(request, item.name, names) for item in recipe.inputs}
    # An input without a shape of its own takes the dimensions that it shares with one that has.
    known: dict[str, tuple[int, int, int]] = {}
    for item in recipe.inputs:
        profile = profiles[item.name]
        if profile and len(item.dims) == len(profile.max):
            known |= dict(zip(item.dims, zip(profile.min, profile.opt, profile.max, strict=True), strict=True))
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
            raise UsageError(f"{item.name} of {recipe.name} cannot be {dtype}", hint=f"use one of {offered}")
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


def _of_plugin(plugin_id: str, request: Request) -> Network:
    plugin = plugins.find(plugin_id)
    names = plugin.inputs
    check_names(request, names, plugin_id)
    inputs = []
    for name in names:
        profile = profile_of(request, name, names)
        if profile is None:
            raise UsageError(f"{plugin_id} needs a shape for {name}", hint=f"--shape {name}=1x3x32x32")
        inputs.append(_input(name, request.dtype.get(name, request.dtype.get(None, "fp32")), profile, None))
    return network_builder.chain(
        name=plugin_id.split("::")[1],
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


def profile_of(request: Request, name: str, names: list[str]) -> Profile | None:
    """The profile asked for an input: static from ``--shape``; dynamic from min, opt and max."""

    def given(shapes: Mapping[str | None, Shape]) -> Shape | None:
        return shapes.get(name, shapes.get(None) if len(names) == 1 else None)

    shape, low, high, opt = map(given, (request.shape, request.min_shape, request.max_shape, request.opt_shape))
    if low is None and high is None:
        if opt is not None:
            raise UsageError(f"--opt-shape of {name} without --min-shape and --max-shape", hint="give all three")
        return Profile.static(shape) if shape is not None else None
    if low is None or high is None:
        missing = "--min-shape" if low is None else "--max-shape"
        raise UsageError(f"a dynamic shape for {name} needs {missing} too", hint="give --min-shape and --max-shape")
    if shape is not None and opt is not None:
        raise UsageError(f"--shape and --opt-shape of {name} mean the same", hint="give one of them")
    opt = opt or shape or high
    if not len(low) == len(opt) == len(high):
        texts = ", ".join("x".join(map(str, s)) for s in (low, opt, high))
        raise UsageError(f"min, opt and max shapes of {name} have different ranks: {texts}", hint="use one rank")
    return Profile(min=low, opt=opt, max=high)


def check_names(request: Request, names: list[str], target: str) -> None:
    """Every option names an input of the target, and says which where there are several.

    Raises:
        UsageError: One does not.
    """
    for option, given in (
        ("--shape", request.shape),
        ("--min-shape", request.min_shape),
        ("--opt-shape", request.opt_shape),
        ("--max-shape", request.max_shape),
        ("--dtype", request.dtype),
    ):
        unknown = [n for n in given if n is not None and n not in names]
        if unknown:
            raise UsageError(f"{option}: {target} has no input {unknown[0]!r}", hint=f"its inputs: {', '.join(names)}")
        if option != "--dtype" and None in given and len(names) > 1:
            raise UsageError(
                f"{option} must say which input: {target} has {', '.join(names)}", hint=f"{option} {names[0]}=1x3x32x32"
            )
        if option != "--dtype" and None in given and names[0] in given:
            raise UsageError(f"{option} is given twice for {names[0]}", hint="with and without its name")


def parse_shape(text: str) -> Shape:
    """``1x3x32x32`` as a shape.

    Raises:
        UsageError: It is not one.
    """
    if not re.fullmatch(r"\d+(x\d+)*", text, re.ASCII):
        raise UsageError(
            f"{text!r} is not a shape", hint="write 1x3x32x32; a dynamic one takes --min-shape and --max-shape"
        )
    shape = tuple(int(n) for n in text.split("x") if len(n) < 20)
    if len(shape) < text.count("x") + 1 or max(shape) > LARGEST_DIMENSION:
        raise UsageError(f"{text!r} has a dimension above {LARGEST_DIMENSION}", hint="TensorRT has none so large")
    if len(shape) > MAX_RANK:
        raise UsageError(f"{text!r} has {len(shape)} dimensions", hint=f"TensorRT has at most {MAX_RANK}")
    return shape
