# SPDX-License-Identifier: Apache-2.0
"""From a bundle to a plan: the network, its profiles, the builder. Nothing else in the project uses `trt.Builder`."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aotfactory import dtypes, plugins, tensorrt_api
from aotfactory.arch import PORTABLE, Arch, native_arch
from aotfactory.bundle import Bundle, Variant
from aotfactory.bundled_kernels import bundled_kernels
from aotfactory.engine_log import make_logger, make_monitor
from aotfactory.errors import AotError, CheckError, MissingError, UsageError
from aotfactory.network import Network, Profile
from aotfactory.plugin_answers import Served
from aotfactory.symbolic import Constant

OLDEST, NEWEST_MAJOR = (10, 9), 11
BROKEN = (10, 14)

HARDWARE = {"none": "NONE", "ampere+": "AMPERE_PLUS", "same-compute-capability": "SAME_COMPUTE_CAPABILITY"}
VERBOSITY = {"layer-names": "LAYER_NAMES_ONLY", "detailed": "DETAILED", "none": "NONE"}


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """How to build a plan.

    Attributes:
        mode: ``network``: through `INetworkDefinition`; ``onnx``: from an ONNX model, which is the only way for a
            bundle that was compiled from one.
        jit: Take the plugins' `impl`, which runs in Python, instead of the bundle's kernels.
        tactic: The only tactic to offer, for calls that have it.
        arch: Of the GPU; None: this machine's.
        model: The ONNX file, if not where the bundle was compiled from.
        shapes: Of the model's inputs whose open dimensions the bundle says nothing of.
        version_compatible: The plan runs in later TensorRT versions of the same major version, through the lean
            runtime, which the plan contains unless `exclude_lean_runtime`.
        hardware_compatibility: One of `HARDWARE`; ``ampere+`` takes a bundle with portable kernels.
        workspace: Bytes that layers may use while they run.
        optimization_level: 0 to 5; how long the builder may search.
        timing_cache: A directory; there is one file in it for each bundle, since AOT plugins give TensorRT no cache ID.
        profiling_verbosity: One of `VERBOSITY`: what the plan says of its layers.
    """

    mode: Literal["network", "onnx"] = "network"
    jit: bool = False
    tactic: int | None = None
    arch: Arch | None = None
    model: Path | None = None
    shapes: Mapping[str, Profile] = field(default_factory=dict)
    version_compatible: bool = False
    exclude_lean_runtime: bool = False
    hardware_compatibility: str = "none"
    workspace: int | None = None
    optimization_level: int | None = None
    timing_cache: Path | None = None
    profiling_verbosity: str = "detailed"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A built plan.

    Attributes:
        data: The serialized engine.
        arch: What its kernels were chosen for.
        kernels: Variants whose entry name is in the plan: those that run. Empty if the plan hides its kernels.
        offered: Variants that TensorRT asked for and could choose from.
        layers: What the engine inspector says of each layer.
        flags: Builder and network flags and preview features that were set.
        messages: TensorRT's warnings.
        seconds: The build took.
    """

    data: bytes
    arch: Arch
    kernels: tuple[Variant, ...]
    offered: tuple[Variant, ...]
    layers: tuple[Any, ...]
    flags: tuple[str, ...]
    messages: tuple[str, ...]
    seconds: float

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def require_supported(version: str) -> None:
    """Refuse versions of TensorRT that cannot build these plans.

    Raises:
        MissingError: With the reason.
    """
    release = tuple(int(n) for n in version.split(".")[:2])
    if release < OLDEST:
        reason = "ahead-of-time plugins came with 10.9"
    elif release == BROKEN:
        reason = "10.14 has a bug that breaks quickly deployable plugins"
    elif release[0] > NEWEST_MAJOR:
        reason = f"aotfactory knows the interface up to {NEWEST_MAJOR}.x"
    else:
        return
    raise MissingError(
        f"TensorRT {version} cannot be used: {reason}", hint=f"install 10.9 to {NEWEST_MAJOR}.x, but not 10.14"
    )


def build_plan(
    bundle: Bundle, *, sha256: str, options: PlanOptions, progress: Callable[[str], None] = lambda text: None
) -> Plan:
    """Build a plan from a bundle, on a machine with TensorRT's builder and a GPU.

    Args:
        sha256: Of the bundle's manifest; names the timing cache.
        progress: Told the builder's phases.

    Raises:
        MissingError: No builder or GPU, or a version of TensorRT or a bundle that does not do here.
        UsageError: The options contradict each other or the bundle.
        DefinitionError: A plugin failed inside the builder.
        CheckError: TensorRT refused the network, or the plan is not what was asked for.
        KeyboardInterrupt: Ctrl-C; the builder was told to stop.
    """
    _check(options)
    tensorrt = tensorrt_api.require_builder()
    require_supported(tensorrt.version)
    gpu = options.arch or native_arch()
    arch = PORTABLE if options.hardware_compatibility == "ampere+" else gpu
    started = time.monotonic()
    build = _Build(tensorrt.trt, tensorrt.trtp, bundle, options, progress)
    serving = nullcontext(Served()) if options.jit else bundled_kernels(bundle, arch=arch, tactic=options.tactic)
    with serving as served:
        try:
            data = build.run(_cache_file(options, sha256, arch, tensorrt.version))
        except CheckError as error:
            raise served.error or error from error
    if served.error is not None:
        raise served.error
    return Plan(
        data=data,
        arch=arch,
        kernels=tuple(v for v in served.variants if v.kernel.encode() in data),
        offered=tuple(served.variants),
        layers=tuple(build.inspect(data)),
        flags=tuple(build.flags),
        messages=tuple(build.logger.warnings),
        seconds=round(time.monotonic() - started, 3),
    )


def _check(options: PlanOptions) -> None:
    if options.exclude_lean_runtime and not options.version_compatible:
        raise UsageError("--exclude-lean-runtime is for version-compatible plans", hint="add --version-compatible")
    if options.hardware_compatibility not in HARDWARE:
        raise UsageError(
            f"unknown hardware compatibility {options.hardware_compatibility!r}", hint=f"use {', '.join(HARDWARE)}"
        )
    if options.profiling_verbosity not in VERBOSITY:
        raise UsageError(
            f"unknown profiling verbosity {options.profiling_verbosity!r}", hint=f"use {', '.join(VERBOSITY)}"
        )
    if options.optimization_level is not None and not 0 <= options.optimization_level <= 5:
        raise UsageError(f"optimization level {options.optimization_level}", hint="it is 0 to 5")
    if options.workspace is not None and options.workspace < 0:
        raise UsageError(f"a workspace of {options.workspace} bytes", hint="give 0 or more")
    if options.jit and options.tactic is not None:
        raise UsageError("--tactic is for the bundle's kernels", hint="leave out --jit or --tactic")


def _cache_file(options: PlanOptions, sha256: str, arch: Arch, version: str) -> Path | None:
    """The timing cache of this bundle and nothing else: kernels and tactics are not part of TensorRT's own keys."""
    if options.timing_cache is None:
        return None
    key = f"{sha256} {arch} {version} {options.tactic} {options.jit}"
    return options.timing_cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.timing"


class _Build:
    """One run of the builder. Holds what must outlive it: TensorRT's objects point to each other."""

    def __init__(
        self, trt: Any, trtp: Any, bundle: Bundle, options: PlanOptions, progress: Callable[[str], None]
    ) -> None:
        self.trt, self.trtp, self.options = trt, trtp, options
        self.network: Network = bundle.network
        self.progress = progress
        self.flags: list[str] = []
        self.logger = make_logger(trt)
        self.builder = trt.Builder(self.logger)
        self.config = self.builder.create_builder_config()
        typed = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        self.flags.append(typed.name)
        self.definition = self.builder.create_network(flags=1 << int(typed))
        self.definition.name = bundle.network.name
        self.parser: Any = None

    def run(self, cache: Path | None) -> bytes:
        if self.options.mode == "onnx" or self.network.target.endswith(".onnx"):
            profiles = self._parse()
        else:
            profiles = self._add_calls()
        self._configure(profiles)
        self._read_cache(cache)
        monitor = make_monitor(self.trt, self.progress)
        self.config.progress_monitor = monitor
        plan = self.builder.build_serialized_network(self.definition, self.config)
        if monitor.interrupted:
            raise KeyboardInterrupt
        if plan is None:
            raise self._failed("TensorRT could not build the plan")
        self._write_cache(cache)
        return bytes(memoryview(plan))

    def inspect(self, data: bytes) -> list[Any]:
        """What the plan says of its layers; also proves that it can be loaded, and has the tensors asked for."""
        trt = self.trt
        runtime = trt.Runtime(self.logger)
        if self.options.version_compatible and not self.options.exclude_lean_runtime:
            runtime.engine_host_code_allowed = True  # the lean runtime inside a plan that was just made here
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise self._failed("TensorRT cannot load the plan that it built")
        made = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
        wanted = {self.definition.get_input(i).name for i in range(self.definition.num_inputs)} | {
            self.definition.get_output(i).name for i in range(self.definition.num_outputs)
        }
        if made != wanted:
            raise CheckError(f"the plan has the tensors {sorted(made)} instead of {sorted(wanted)}")
        for tensor in self.network.tensors:
            if tensor.name in made and engine.get_tensor_dtype(tensor.name) != self._dtype(tensor.dtype):
                raise CheckError(
                    f"{tensor.name} is {engine.get_tensor_dtype(tensor.name).name} in the plan, not {tensor.dtype}"
                )
        text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
        layers: list[Any] = json.loads(text).get("Layers", [])
        return layers

    # --- the network ---

    def _add_calls(self) -> dict[str, Profile]:
        tensors: dict[str, Any] = {}
        profiles = {}
        for tensor in self.network.tensors:
            if tensor.role == "input":
                shape = [d.value if isinstance(d, Constant) else -1 for d in tensor.shape]
                tensors[tensor.name] = self.definition.add_input(tensor.name, self._dtype(tensor.dtype), shape)
                profiles[tensor.name] = _profile(self.network, tensor.name)
        for call in self.network.calls:
            plugin = self._plugin(call.plugin)
            with plugins.blame(plugin, "impl" if self.options.jit else "register"):
                create = getattr(getattr(self.trtp.op, call.plugin.split("::")[0]), call.plugin.split("::")[1])(
                    *(tensors[name] for name in call.inputs), **call.attributes
                )
                layer = self.definition.add_plugin(create, aot=not self.options.jit)
            if layer is None:
                raise self._failed(f"TensorRT refused the call {call.name} of {call.plugin}")
            layer.name = call.name
            for i, name in enumerate(call.outputs):
                tensors[name] = layer.get_output(i)
                tensors[name].name = name
        for tensor in self.network.tensors:
            if tensor.role == "output":
                self.definition.mark_output(tensors[tensor.name])
        return profiles

    def _plugin(self, plugin_id: str) -> plugins.Plugin:
        from tensorrt.plugin import _lib

        definition = _lib.QDP_REGISTRY.get(plugin_id)
        if definition is None or (self.options.jit and definition.impl_func is None):
            raise UsageError(
                f"{plugin_id} has no impl that --jit could use" if definition else f"{plugin_id} is not loaded",
                hint="give its module: --plugins PATH; or leave out --jit",
            )
        return plugins.Plugin(plugin_id, definition)

    def _parse(self) -> dict[str, Profile]:
        from aotfactory import onnx_export

        for call in self.network.calls:
            self._plugin(call.plugin)
        target, aot = self.network.target, not self.options.jit
        if target.endswith(".onnx") or self.options.model:
            path = self.options.model or Path(target)
            model, profiles = onnx_export.mark(path, self.network, self.options.shapes, aot=aot)
        else:
            path = Path(f"{self.network.name}.onnx")
            model = onnx_export.export(self.network, aot=aot)
            inputs = [t.name for t in self.network.tensors if t.role == "input"]
            profiles = {name: _profile(self.network, name) for name in inputs}
        self.parser = self.trt.OnnxParser(self.definition, self.logger)
        if not self.parser.parse(model.SerializeToString(), path=str(path)):
            errors = [self.parser.get_error(i).desc() for i in range(self.parser.num_errors)]
            raise self._failed("TensorRT's ONNX parser refused the model" + "".join(f"\n  {e}" for e in errors))
        return profiles

    # --- the builder's configuration ---

    def _configure(self, profiles: Mapping[str, Profile]) -> None:
        trt, config, options = self.trt, self.config, self.options
        if any(tensor.aliases for tensor in self.network.tensors):
            feature = trt.PreviewFeature.ALIASED_PLUGIN_IO_10_03
            config.set_preview_feature(feature, True)
            self.flags.append(feature.name)
        if options.version_compatible:
            self._set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if options.exclude_lean_runtime:
            self._set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
        if options.hardware_compatibility != "none":
            name = HARDWARE[options.hardware_compatibility]
            if not hasattr(trt.HardwareCompatibilityLevel, name):
                raise MissingError(f"TensorRT {trt.__version__} does not have hardware compatibility {name}")
            config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, name)
        config.profiling_verbosity = getattr(trt.ProfilingVerbosity, VERBOSITY[options.profiling_verbosity])
        if options.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
        if options.optimization_level is not None:
            config.builder_optimization_level = options.optimization_level
        dynamic = {name: p for name, p in profiles.items() if p.min != p.max}
        if dynamic:
            profile = self.builder.create_optimization_profile()
            for name, p in dynamic.items():
                profile.set_shape(name, p.min, p.opt, p.max)
            if config.add_optimization_profile(profile) < 0:
                raise self._failed("TensorRT refused the optimization profile")

    def _set_flag(self, flag: Any) -> None:
        self.config.set_flag(flag)
        self.flags.append(flag.name)

    def _read_cache(self, path: Path | None) -> None:
        if path is None:
            return
        stored = path.read_bytes() if path.is_file() else b""
        cache = self.config.create_timing_cache(stored)
        # False: a cache of another GPU or version is refused, not used.
        if not self.config.set_timing_cache(cache, False):
            self.logger.warnings.append(f"the timing cache {path} was not accepted, and is replaced")
            self.config.set_timing_cache(self.config.create_timing_cache(b""), False)

    def _write_cache(self, path: Path | None) -> None:
        from aotfactory.files import replace_file

        if path is not None:
            replace_file(path, bytes(memoryview(self.config.get_timing_cache().serialize())))

    def _dtype(self, name: str) -> Any:
        return getattr(self.trt.DataType, dtypes.find(name).trt)

    def _failed(self, what: str) -> AotError:
        said = "".join(f"\n  {text}" for text in self.logger.errors[-8:])
        return CheckError(f"{what}{said}", hint="TensorRT's own messages are above; --verbose shows all of them")


def _profile(network: Network, name: str) -> Profile:
    shape = network.tensor(name).shape
    ends = {}
    for point in ("min", "opt", "max"):
        at = {symbol: getattr(r, point) for symbol, r in network.ranges.items()}
        ends[point] = tuple(d.evaluate(at) for d in shape)
    return Profile(**ends)
