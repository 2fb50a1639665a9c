# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels launched on PyTorch's tensors and stream, with the CUDA driver."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.compile import compile_network
from aotfactory.compiler.options import Options
from aotfactory.compiler.variant import Variant
from aotfactory.core.arch import PORTABLE, native_arch
from aotfactory.core.cache import open_cache
from aotfactory.core.dimensions import dimension, over_inputs
from aotfactory.core.errors import ConfigError, OperatorError, ProgramError
from aotfactory.core.expressions import Constant, Expr, SizeTensor
from aotfactory.core.network import Call, Network, NetworkInput, Profile, id_parts, shape_text
from aotfactory.plugins.plugin_call import PluginCall
from aotfactory.plugins.registry import Plugin
from aotfactory.targets.network_builder import chain
from aotfactory.torch.tensors import TORCH, name_of

SMALL_SHARED = 48 * 1024


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel: grid, block, dynamic shared memory, and the int32 extra arguments."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_mem: int
    extra_args: tuple[int, ...]


def launch_of(network: Network, variant: Variant, shapes: Sequence[Sequence[int]]) -> Launch:
    """The launch of a variant at these shapes of its call's inputs."""
    call = next(c for c in network.calls if c.name == variant.call)
    inputs = [network.tensor(name).shape for name in call.inputs]
    values = {dimension(i, axis): n for i, shape in enumerate(shapes) for axis, n in enumerate(shape)}
    launch = {name: over_inputs(e, inputs).evaluate(values) for name, e in variant.launch.items()}
    return Launch(
        grid=(launch["grid_x"], launch["grid_y"], launch["grid_z"]),
        block=(launch["block_x"], launch["block_y"], launch["block_z"]),
        shared_mem=launch["shared_mem"],
        extra_args=tuple(over_inputs(e, inputs).evaluate(values) for e in variant.extra_args if isinstance(e, Expr)),
    )


def choose(
    network: Network, variants: Sequence[Variant], plugin: str, attributes: Mapping[str, Any], combination: Any,
    shapes: Sequence[Sequence[int]], archs: Sequence[str],
) -> Variant:  # fmt: skip
    """The first variant of a call with this plugin, attributes and types that takes inputs of these shapes.

    Raises:
        UsageError: The bundle has none.
    """
    fitting = {c.name for c in network.calls if c.plugin == plugin and _fits(network, c, attributes, shapes)}
    for arch in archs:
        for variant in variants:
            if (variant.arch, variant.dtypes, variant.formats) == (arch, combination.dtypes, combination.formats) and (
                variant.call in fitting and not variant.needs_library
            ):
                return variant
    texts = ", ".join(map(shape_text, shapes))
    raise OperatorError(
        f"the bundle has no kernel of {plugin} for {combination} at {texts} on {archs[0]}",
        hint="build it for these attributes, types, shapes and this GPU, or leave the bundle out",
    )


def _fits(network: Network, call: Call, attributes: Mapping[str, Any], shapes: Sequence[Sequence[int]]) -> bool:
    if len(call.inputs) != len(shapes) or not all(
        np.array_equal(value, attributes[name]) for name, value in call.attributes.items()
    ):
        return False
    low, high = network.at("min"), network.at("max")
    for name, shape in zip(call.inputs, shapes, strict=True):
        known = network.tensor(name).shape
        if len(known) != len(shape) or not all(
            d.evaluate(low) <= n <= d.evaluate(high) for d, n in zip(known, shape, strict=True)
        ):
            return False
    return True


def run(
    plugin: Plugin, call: PluginCall, inputs: list[torch.Tensor], attributes: Mapping[str, Any], bundle: Path | None
) -> list[torch.Tensor]:
    """Launch a plugin's kernel in PyTorch's current stream; outputs that share an input's buffer get a copy of it.

    Raises:
        UsageError: The bundle has no kernel for these inputs, or an output's shape depends on data.
        CheckError: The driver refused the kernel.
    """
    if any(isinstance(d, SizeTensor) for shape in call.output_shapes for d in shape):
        raise OperatorError(
            f"{plugin.id} has outputs whose shape depends on data", hint="run it on the CPU, or in TensorRT"
        )
    shapes = [tuple(int(n) for n in tensor.shape) for tensor in inputs]
    network, variants = _kernels(plugin, call, inputs, attributes, bundle)
    archs = (native_arch().name, PORTABLE.name)
    variant = choose(network, variants, plugin.id, attributes, call.combination, shapes, archs)
    given, outputs = list(inputs), []
    for dtype, shape, alias in zip(call.output_dtypes, call.output_shapes, call.aliases, strict=True):
        if alias is not None:
            given[alias] = inputs[alias].clone()
            outputs.append(given[alias])
        else:
            extents = [d.value for d in shape if isinstance(d, Constant)]
            outputs.append(torch.empty(extents, dtype=TORCH[dtype], device=inputs[0].device))
    if all(tensor.numel() for tensor in outputs):
        with torch.cuda.device(inputs[0].device):
            launch(
                variant,
                launch_of(network, variant, shapes),
                [t.data_ptr() for t in given],
                [t.data_ptr() for t in outputs],
            )
    return outputs


def launch(variant: Variant, how: Launch, inputs: Sequence[int], outputs: Sequence[int]) -> None:
    """Launch a kernel with TensorRT's calling convention: inputs, extra arguments, outputs."""
    import ctypes

    from cuda.bindings import driver

    # A module belongs to one GPU.
    function = _function(variant.text, variant.kernel, how.shared_mem, torch.cuda.current_device())
    values = (*inputs, *how.extra_args, *outputs)
    kinds = (
        *[ctypes.c_void_p] * len(inputs),
        *[ctypes.c_int32] * len(how.extra_args),
        *[ctypes.c_void_p] * len(outputs),
    )
    stream = torch.cuda.current_stream().cuda_stream
    _check(driver.cuLaunchKernel(function, *how.grid, *how.block, how.shared_mem, stream, (values, kinds), 0))


@functools.lru_cache(maxsize=1024)
def _function(text: str, kernel: str, shared_mem: int, device: int) -> Any:
    from cuda.bindings import driver

    module = _check(driver.cuModuleLoadData(text.encode() + b"\0"))
    function = _check(driver.cuModuleGetFunction(module, kernel.encode()))
    if shared_mem > SMALL_SHARED:
        attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        _check(driver.cuFuncSetAttribute(function, attribute, shared_mem))
    return function


def _check(result: tuple[Any, ...]) -> Any:
    error, *values = result
    if int(error):
        raise ProgramError(f"the CUDA driver refused the kernel: {error.name}")
    return values[0] if values else None


_compiled: dict[Any, tuple[Network, tuple[Variant, ...]]] = {}


def _kernels(
    plugin: Plugin, call: PluginCall, inputs: list[torch.Tensor], attributes: Mapping[str, Any], bundle: Path | None
) -> tuple[Network, tuple[Variant, ...]]:
    """The kernels of the bundle, or the first that compiles for inputs of these types and shapes."""
    key = bundle or (plugin.id, repr(attributes), tuple((name_of(t), tuple(t.shape)) for t in inputs))
    if key not in _compiled:
        if bundle is not None:
            made = bundles.read(bundle)
            _compiled[key] = made.network, made.variants
        else:
            _compiled[key] = _compile(plugin, call, inputs, attributes)
    return _compiled[key]


def _compile(
    plugin: Plugin, call: PluginCall, inputs: list[torch.Tensor], attributes: Mapping[str, Any]
) -> tuple[Network, tuple[Variant, ...]]:
    network = network_of(plugin, inputs, attributes)
    refused: ConfigError | None = None
    for tactic in next(tactics for c, tactics in call.combinations() if c == call.combination):
        options = Options(archs=(native_arch(),), tactic=tactic)
        try:
            results = compile_network(network, options, lambda name: None, cache=open_cache())
        except ConfigError as error:  # no launch can have this one
            refused = refused or error
            continue
        return network, tuple(r.variant for r in results if r.variant is not None)
    raise refused or OperatorError(f"{plugin.id} offers no tactic for {call.combination}")


def network_of(plugin: Plugin, inputs: Sequence[torch.Tensor], attributes: Mapping[str, Any]) -> Network:
    """One call of a plugin at the types and shapes of these tensors."""
    items = [
        NetworkInput(
            name=name,
            dtype=name_of(tensor),
            profile=Profile.static(tuple(int(n) for n in tensor.shape)),
            dims=tuple(f"{name}_{axis}" for axis in range(tensor.ndim)),
        )
        for name, tensor in zip(plugin.inputs, inputs, strict=True)
    ]
    name = id_parts(plugin.id)[1]
    return chain(name=name, target=plugin.id, plugin_id=plugin.id, inputs=items, attributes=attributes)
