# SPDX-License-Identifier: Apache-2.0
"""Doubles of the builder, the network and the configuration. The plan that comes out is JSON with the kernels."""

from __future__ import annotations

import json
import sys
from typing import Any

from aotfactory.core.expressions import Constant, Symbol
from doubles.library_layer import LibraryLayer, Registry
from doubles.plugin_layer import BuildError, PluginLayer, Tensor
from doubles.signatures import Double, RefusedError, trt

MAGIC = b"ftrt-double\0"
CACHE = b"timing-double\0"


class HostMemory(bytes):
    real = "IHostMemory"


class TimingCache(Double, real="ITimingCache"):
    def __init__(self, entries: dict[str, Any]) -> None:
        self._entries = entries

    def serialize(self) -> Any:
        return HostMemory(CACHE + json.dumps(self._entries).encode())


class Profile(Double, real="IOptimizationProfile"):
    def __init__(self) -> None:
        self._shapes: dict[str, tuple[Any, Any, Any]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        if not all(0 <= a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
            raise RefusedError(f"the profile of {input} is not min <= opt <= max")
        self._shapes[input] = (tuple(min), tuple(opt), tuple(max))


class Config(Double, real="IBuilderConfig"):
    def __init__(self) -> None:
        self._flags: set[Any] = set()
        self._features: set[Any] = set()
        self._profiles: list[Profile] = []
        self._pools: dict[Any, int] = {}
        self._monitor: Any = None
        self._libraries: list[str] = []
        self._cache = TimingCache({})
        self._level, self._verbosity = 3, trt.ProfilingVerbosity.LAYER_NAMES_ONLY
        self._hardware = trt.HardwareCompatibilityLevel.NONE

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag)

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        (self._features.add if enable else self._features.discard)(feature)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool] = pool_size

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: Any) -> Any:
        data = bytes(serialized_timing_cache)
        if data and not data.startswith(CACHE):
            return None
        return TimingCache(json.loads(data[len(CACHE) :]) if data else {})

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if cache._entries.get("gpu") not in (None, "here") and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._cache

    @property
    def builder_optimization_level(self) -> int:
        return self._level

    @builder_optimization_level.setter
    def builder_optimization_level(self, value: int) -> None:
        self._level = value

    @property
    def profiling_verbosity(self) -> Any:
        return self._verbosity

    @profiling_verbosity.setter
    def profiling_verbosity(self, value: Any) -> None:
        self._verbosity = value

    @property
    def hardware_compatibility_level(self) -> Any:
        return self._hardware

    @hardware_compatibility_level.setter
    def hardware_compatibility_level(self, value: Any) -> None:
        self._hardware = value

    @property
    def plugins_to_serialize(self) -> Any:
        return self._libraries

    @plugins_to_serialize.setter
    def plugins_to_serialize(self, value: Any) -> None:
        self._libraries = list(value)

    @property
    def progress_monitor(self) -> Any:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, value: Any) -> None:
        self._monitor = value


class Network(Double, real="INetworkDefinition"):
    def __init__(self, flags: int) -> None:
        known = sum(1 << int(flag) for flag in trt.NetworkDefinitionCreationFlag.__members__.values())
        if flags & ~known:
            raise RefusedError(f"unknown network flags {flags:b}")
        self._flags, self._name = flags, ""
        self._inputs: list[Tensor] = []
        self._layers: list[PluginLayer | LibraryLayer] = []
        self._outputs: list[Tensor] = []

    def add_input(self, name: str, dtype: Any, shape: Any) -> Any:
        if any(t.name == name for t in self._inputs):
            return None
        dims = tuple(Symbol(f"{name}_{i}") if n == -1 else Constant(int(n)) for i, n in enumerate(shape))
        self._inputs.append(Tensor.of(name, dtype, dims, is_input=True))
        return self._inputs[-1]

    def add_plugin(self, *args: Any, **keywords: Any) -> Any:
        first = next(iter((*args, *keywords.values())))
        if callable(first):
            aot = keywords.get("aot", args[1] if len(args) > 1 else None)
            first = first(self._request(aot))
        inputs, shape_inputs, plugin = first
        if shape_inputs or not all(isinstance(t, Tensor) for t in inputs):
            raise RefusedError("inputs of add_plugin that are not tensors of this network")
        try:
            layer = PluginLayer(inputs, plugin, len(self._layers))
        except RefusedError:
            raise
        except BaseException as error:  # as the bindings do
            print(f"[ERROR] Exception thrown from get_output_data_types() {error}", file=sys.stderr)
            return None
        self._layers.append(layer)
        return layer

    def add_plugin_v3(self, inputs: Any, shape_inputs: Any, plugin: Any) -> Any:
        if shape_inputs:
            raise RefusedError("inputs of add_plugin_v3 that are not tensors of this network")
        layer = LibraryLayer(inputs, plugin, len(self._layers))
        self._layers.append(layer)
        return layer

    def _request(self, aot: bool | None) -> Any:
        if aot is not None:
            return getattr(trt.QuickPluginCreationRequest, "STRICT_AOT" if aot else "STRICT_JIT")
        for kind in ("AOT", "JIT"):
            if self._has(getattr(trt.NetworkDefinitionCreationFlag, f"PREFER_{kind}_PYTHON_PLUGINS")):
                return getattr(trt.QuickPluginCreationRequest, f"PREFER_{kind}")
        return trt.QuickPluginCreationRequest.UNKNOWN

    def mark_output(self, tensor: Any) -> None:
        if any(t is tensor for t in self._outputs):
            raise RefusedError(f"{tensor.name} is an output already")
        self._outputs.append(tensor)

    def get_input(self, index: int) -> Any:
        return self._inputs[index]

    def get_output(self, index: int) -> Any:
        return self._outputs[index]

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    def _has(self, flag: Any) -> bool:
        return bool(self._flags >> int(flag) & 1)


class Builder(Double, real="Builder"):
    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._config, self._registry = Config(), Registry()

    def get_plugin_registry(self) -> Any:
        return self._registry

    def create_network(self, flags: int = 0) -> Any:
        return Network(flags)

    def create_builder_config(self) -> Any:
        return self._config

    def create_optimization_profile(self) -> Any:
        return Profile()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        try:
            return HostMemory(MAGIC + json.dumps(self._build(network, config)).encode())
        except (BuildError, RefusedError) as error:
            self._logger.log(trt.ILogger.ERROR, str(error))
        except BaseException as error:  # as the bindings do: printed, and lost
            print(f"[ERROR] Exception thrown from a plugin: {error}", file=sys.stderr)
            self._logger.log(trt.ILogger.ERROR, "the plugin failed")
        return None

    def _build(self, network: Network, config: Config) -> dict[str, Any]:
        flags = {flag.name for flag in config._flags}
        if not network._has(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED):
            raise BuildError("the network is not strongly typed")
        if "EXCLUDE_LEAN_RUNTIME" in flags and "VERSION_COMPATIBLE" not in flags:
            raise BuildError("kEXCLUDE_LEAN_RUNTIME needs kVERSION_COMPATIBLE")
        if not network._outputs:
            raise BuildError("Network must have at least one output")
        tensors = [*network._inputs, *network._outputs]
        if len({t.name for t in tensors}) != len(tensors):
            raise BuildError("two network inputs or outputs have one name")
        aliased = any(i >= 0 for layer in network._layers for i in layer._aliases())
        if aliased and trt.PreviewFeature.ALIASED_PLUGIN_IO_10_03 not in config._features:
            raise BuildError("plugin I/O is aliased, but kALIASED_PLUGIN_IO_10_03 is not enabled")
        points = _points(network, config)
        layers = []
        monitor = config._monitor
        if monitor is not None:
            monitor.phase_start("Building Engine", None, len(network._layers))
        for step, layer in enumerate(network._layers):
            layers.append(layer._build(points, config._cache._entries))
            if monitor is not None and not monitor.step_complete("Building Engine", step):
                raise BuildError("the build was stopped")
        if monitor is not None:
            monitor.phase_finish("Building Engine")
        config._cache._entries["gpu"] = "here"
        return {
            "name": network._name,
            "flags": sorted(flags),
            "features": sorted(f.name for f in config._features),
            "hardware": config._hardware.name,
            "verbosity": config._verbosity.name,
            "level": config._level,
            "pools": {pool.name: size for pool, size in config._pools.items()},
            "points": points,
            "tensors": [{"name": t.name, "dtype": t.dtype.name, "input": t.is_input} for t in tensors],
            "layers": layers,
            "libraries": config._libraries if "VERSION_COMPATIBLE" in flags else [],
        }


def _points(network: Network, config: Config) -> dict[str, tuple[int, int, int]]:
    points = {}
    for tensor in network._inputs:
        dims = tensor.exprs or ()
        if all(isinstance(d, Constant) for d in dims):
            continue
        if len(config._profiles) != 1 or tensor.name not in config._profiles[0]._shapes:
            raise BuildError(f"Network has dynamic inputs, but no optimization profile for {tensor.name}")
        ends = config._profiles[0]._shapes[tensor.name]
        for axis, dim in enumerate(dims):
            extent = tuple(end[axis] for end in ends)
            if isinstance(dim, Constant) and set(extent) != {dim.value}:
                raise BuildError(f"the profile of {tensor.name} differs from its static dimension {axis}")
            if isinstance(dim, Symbol):
                points[dim.name] = extent
    return points
