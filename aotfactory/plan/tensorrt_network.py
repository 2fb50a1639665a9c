# SPDX-License-Identifier: Apache-2.0
"""TensorRT's network of a bundle: call by call through `INetworkDefinition`, or parsed from an ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aotfactory.core import dtypes
from aotfactory.core.errors import BuilderError, OptionsError, TargetError
from aotfactory.core.expressions import Constant
from aotfactory.core.network import Network, Profile
from aotfactory.plan.library_plugins import library_plugin
from aotfactory.plan.options import PlanOptions
from aotfactory.plugins import definitions, registry


def add_calls(
    trt: Any, trtp: Any, definition: Any, network: Network, options: PlanOptions, registry_of_libraries: Any = None
) -> dict[str, Profile]:
    """Add the calls of a bundle's network; returns the profile of each input.

    Args:
        registry_of_libraries: The plugin registry that has the library, where the plan is built with one.

    Raises:
        UsageError: A plugin is not loaded, or lacks the implementation asked for.
        DefinitionError: The plugin's `register` failed.
        CheckError: TensorRT refused a call.
    """
    tensors: dict[str, Any] = {}
    profiles = {}
    for tensor in network.tensors:
        if tensor.role == "input":
            shape = [d.value if isinstance(d, Constant) else -1 for d in tensor.shape]
            tensors[tensor.name] = definition.add_input(tensor.name, trt_dtype(trt, tensor.dtype), shape)
            profiles[tensor.name] = _profile(network, tensor.name)
    for call in network.calls:
        inputs = [tensors[n] for n in call.inputs]
        if registry_of_libraries is not None:
            layer = definition.add_plugin_v3(inputs, [], library_plugin(trt, registry_of_libraries, call))
        else:
            plugin = _plugin(call.plugin, options)
            namespace, name = call.id_parts
            with definitions.blame(plugin, "register"):
                create = getattr(getattr(trtp.op, namespace), name)(*inputs, **call.attributes)
                layer = definition.add_plugin(create, aot=not options.jit)
        if layer is None:
            raise BuilderError(f"TensorRT refused the call {call.name} of {call.plugin}")
        layer.name = call.name
        for i, output in enumerate(call.outputs):
            tensors[output] = layer.get_output(i)
            tensors[output].name = output
    for tensor in network.tensors:
        if tensor.role == "output":
            definition.mark_output(tensors[tensor.name])
    return profiles


def parse_model(parser: Any, network: Network, options: PlanOptions) -> dict[str, Profile]:
    """Have TensorRT's ONNX parser fill its network; returns the profile of each input.

    The model is the one that the bundle was compiled from, or is written for the bundle.

    Raises:
        UsageError: The model is not there or is another one, or as `add_calls`.
        CheckError: The parser refused it.
    """
    from aotfactory.plan import onnx_export

    for call in network.calls if options.library is None else ():
        _plugin(call.plugin, options)
    aot = None if options.library else not options.jit
    if uses_model(network, options):
        path = options.model or Path(network.target)
        model, profiles = onnx_export.mark(path, network, options.shapes, aot=aot)
    else:
        path = Path(f"{network.name}.onnx")
        model = onnx_export.export(network, aot=aot)
        profiles = {t.name: _profile(network, t.name) for t in network.inputs}
    if not parser.parse(model.SerializeToString(), path=str(path)):
        errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise BuilderError("TensorRT's ONNX parser refused the model" + "".join(f"\n  {e}" for e in errors))
    return profiles


def uses_model(network: Network, options: PlanOptions) -> bool:
    """Whether the plan is built from the user's own ONNX model."""
    return network.target.endswith(".onnx") or options.model is not None


def trt_dtype(trt: Any, name: str) -> Any:
    """TensorRT's data type of this name."""
    return dtypes.to_trt(name, trt.DataType)


def _plugin(plugin_id: str, options: PlanOptions) -> registry.Plugin:
    from tensorrt.plugin import _lib

    definition = _lib.QDP_REGISTRY.get(plugin_id)
    if definition is None:
        raise TargetError(f"{plugin_id} is not loaded", hint="give its module: --plugins PATH; or leave out --jit")
    if options.jit and definition.impl_func is None:
        raise OptionsError(f"{plugin_id} has no impl", hint="leave out --jit: its kernels are in the bundle")
    return registry.Plugin(plugin_id, definition)


def _profile(network: Network, name: str) -> Profile:
    shape = network.tensor(name).shape
    ends = {}
    for point in ("min", "opt", "max"):
        at = network.at(point)
        ends[point] = tuple(d.evaluate(at) for d in shape)
    return Profile(**ends)
