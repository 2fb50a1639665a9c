# SPDX-License-Identifier: Apache-2.0
"""From a bundle to a plan: the network, its profiles, the builder. Nothing else in the project uses `trt.Builder`."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotfactory.compiler.manifest import Bundle
from aotfactory.compiler.select import usable_variants
from aotfactory.compiler.variant import Variant
from aotfactory.core.arch import PORTABLE, Arch, native_arch
from aotfactory.core.errors import AotError, BuilderError, CheckError, OptionsError, PlanError, TensorRTVersionError
from aotfactory.core.files import read_file, replace_file
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Network, Profile
from aotfactory.plan import library_plugins
from aotfactory.plan.bundled_kernels import bundled_kernels
from aotfactory.plan.log import interruptible, make_logger, make_monitor
from aotfactory.plan.options import HARDWARE, VERBOSITY, PlanOptions, require_consistent, require_supported
from aotfactory.plan.plugin_answers import Served
from aotfactory.plan.tensorrt_network import add_calls, parse_model, trt_dtype, uses_model
from aotfactory.plugins import tensorrt_api
from aotfactory.targets.request import TargetOptions


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A built plan.

    Attributes:
        data: The serialized engine.
        arch: What its kernels were chosen for.
        kernels: Variants whose entry name is in the plan: those that run. Empty if the plan hides its kernels.
        offered: Variants that TensorRT asked for and could choose from.
        inputs: The profile of each of its inputs. Of an ONNX model they are the model's, not the bundle's.
        outputs: Their names.
        layers: What the engine inspector says of each layer.
        flags: Builder and network flags and preview features that were set.
        messages: TensorRT's warnings.
        seconds: How long the build took.
    """

    data: bytes
    arch: Arch
    kernels: tuple[Variant, ...]
    offered: tuple[Variant, ...]
    inputs: Mapping[str, Profile]
    outputs: tuple[str, ...]
    layers: tuple[Any, ...]
    flags: tuple[str, ...]
    messages: tuple[str, ...]
    seconds: float

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


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
    require_consistent(options)
    if options.shapes != TargetOptions() and not uses_model(bundle.network, options):
        raise OptionsError("--shape is for ONNX models", hint="a bundle has the shapes that it was compiled for")
    tensorrt = tensorrt_api.require_builder()
    require_supported(tensorrt.version, library=options.library is not None)
    gpu = options.arch or native_arch()
    arch = PORTABLE if options.hardware_compatibility == "ampere+" else gpu
    started = time.monotonic()
    own = options.jit or options.library is not None
    serving = nullcontext(Served()) if own else bundled_kernels(bundle, arch=arch, tactic=options.tactic)
    with serving as served:
        # TensorRT's objects are gone when this returns, before the plugins that stand for the bundle are.
        built = _built(
            tensorrt, bundle, options, served, _cache_file(options, sha256, arch, tensorrt.version), progress
        )
    return Plan(
        **built,
        arch=arch,
        kernels=tuple(v for v in served.variants if v.kernel.encode() in built["data"]),
        offered=tuple(served.variants) or _of_library(bundle, arch, options),
        seconds=round(time.monotonic() - started, 3),
    )


def _of_library(bundle: Bundle, arch: Arch, options: PlanOptions) -> tuple[Variant, ...]:
    """All that a plugin library offers for the architecture; which of them were chosen, the plan does not show."""
    if options.library is None:
        return ()
    return tuple(v for variants in usable_variants(bundle, arch).values() for v in variants)


def _built(
    tensorrt: tensorrt_api.TensorRT,
    bundle: Bundle,
    options: PlanOptions,
    served: Served,
    cache: Path | None,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    build = _Build(tensorrt.trt, tensorrt.trtp, bundle, options, progress)
    try:
        data = build.run(cache)
        layers = tuple(build.inspect(data))
    except CheckError as error:
        raise served.error or error from error
    if served.error is not None:
        raise served.error
    return {
        "data": data,
        "inputs": build.profiles,
        "outputs": tuple(build.outputs),
        "layers": layers,
        "flags": tuple(build.flags),
        "messages": tuple(build.logger.warnings),
    }


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
        self.libraries: Any = None
        if options.library is not None:
            self.libraries = self.builder.get_plugin_registry()
            library_plugins.load(self.libraries, options.library)
        self.profiles: dict[str, Profile] = {}

    @property
    def outputs(self) -> list[str]:
        return [self.definition.get_output(i).name for i in range(self.definition.num_outputs)]

    def run(self, cache: Path | None) -> bytes:
        if self.options.mode == "onnx" or uses_model(self.network, self.options):
            self.parser = self.trt.OnnxParser(self.definition, self.logger)
            self.profiles = parse_model(self.parser, self.network, self.options)
        else:
            self.profiles = add_calls(self.trt, self.trtp, self.definition, self.network, self.options, self.libraries)
        self._configure()
        self._read_cache(cache)
        monitor = make_monitor(self.trt, self.progress)
        self.config.progress_monitor = monitor
        with interruptible(monitor):
            plan = self.builder.build_serialized_network(self.definition, self.config)
        if plan is None:
            raise self._failed("TensorRT could not build the plan")
        self._write_cache(cache)
        return bytes(memoryview(plan))

    def inspect(self, data: bytes) -> list[Any]:
        """The plan's description of its layers; also proves that it can be loaded, and has the tensors asked for."""
        trt = self.trt
        runtime = trt.Runtime(self.logger)
        if self.options.version_compatible and not self.options.exclude_lean_runtime:
            runtime.engine_host_code_allowed = True  # the lean runtime inside a plan that was just made here
        if self.options.library is not None and not self.options.version_compatible:
            library_plugins.load(runtime.get_plugin_registry(), self.options.library)
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise self._failed("TensorRT cannot load the plan that it built")
        made = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
        wanted = {self.definition.get_input(i).name for i in range(self.definition.num_inputs)} | set(self.outputs)
        if made != wanted:
            raise PlanError(f"the plan has the tensors {sorted(made)} instead of {sorted(wanted)}")
        for tensor in self.network.tensors:
            if tensor.name in made and engine.get_tensor_dtype(tensor.name) != trt_dtype(trt, tensor.dtype):
                raise PlanError(
                    f"{tensor.name} is {engine.get_tensor_dtype(tensor.name).name} in the plan, not {tensor.dtype}"
                )
        text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
        layers: list[Any] = json.loads(text).get("Layers", [])
        return layers

    def _configure(self) -> None:
        trt, config, options = self.trt, self.config, self.options
        if any(tensor.aliases for tensor in self.network.tensors):
            feature = trt.PreviewFeature.ALIASED_PLUGIN_IO_10_03
            config.set_preview_feature(feature, True)
            self.flags.append(feature.name)
        if options.version_compatible:
            self._set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
            if options.library is not None:  # only such plans carry plugin libraries
                config.plugins_to_serialize = [str(options.library)]
        if options.exclude_lean_runtime:
            self._set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
        if options.hardware_compatibility != "none":
            name = HARDWARE[options.hardware_compatibility]
            if not hasattr(trt.HardwareCompatibilityLevel, name):
                raise TensorRTVersionError(f"TensorRT {trt.__version__} does not have hardware compatibility {name}")
            config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, name)
        config.profiling_verbosity = getattr(trt.ProfilingVerbosity, VERBOSITY[options.profiling_verbosity])
        if options.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
        if options.optimization_level is not None:
            config.builder_optimization_level = options.optimization_level
        dynamic = {name: p for name, p in self.profiles.items() if p.min != p.max}
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
        try:
            stored = read_file(path, limit=LIMITS["timing_cache_bytes"])
        except FileNotFoundError:
            stored = b""
        except OSError as error:
            self.logger.warnings.append(f"the timing cache {path} was not read: {error.strerror}")
            stored = b""
        cache = self.config.create_timing_cache(stored)
        # False: a cache of another GPU or version is refused, not used.
        if cache is None or not self.config.set_timing_cache(cache, False):
            self.logger.warnings.append(f"the timing cache {path} was not accepted, and is replaced")
            self.config.set_timing_cache(self.config.create_timing_cache(b""), False)

    def _write_cache(self, path: Path | None) -> None:
        if path is not None:
            try:
                replace_file(path, bytes(memoryview(self.config.get_timing_cache().serialize())))
            except OSError as error:  # the plan is there all the same
                self.logger.warnings.append(f"the timing cache {path} was not written: {error.strerror}")

    def _failed(self, what: str) -> AotError:
        said = "".join(f"\n  {text}" for text in (self.logger.errors or self.logger.warnings)[-8:])
        hint = "these are TensorRT's own words" if said else "TensorRT did not say why"
        return BuilderError(f"{what}{said}", hint=hint)
