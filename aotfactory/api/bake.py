# SPDX-License-Identifier: Apache-2.0
"""``aotfactory bake BUNDLE``: from a bundle on disk to a plan with its record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aotfactory.api.library import library as make_library
from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.manifest import Bundle
from aotfactory.core import cuda
from aotfactory.core.arch import Road, native_arch
from aotfactory.core.cache import Cache
from aotfactory.core.errors import NoGpuError, OptionsError
from aotfactory.plan import kept
from aotfactory.plan import record as provenance
from aotfactory.plan.builder import Plan, build_plan
from aotfactory.plan.options import PlanOptions
from aotfactory.plan.tensorrt_network import uses_model
from aotfactory.plugins import tensorrt_api
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions


@dataclass(frozen=True, kw_only=True)
class Baked:
    """A plan on disk.

    Attributes:
        path: Of the plan; its record lies beside it.
        record: As in ``NAME.plan.json``.
    """

    path: Path
    bundle: Bundle
    plan: Plan
    record: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The record, as ``bake --format json`` prints it."""
        return self.record


def bake(
    directory: Path,
    *,
    options: PlanOptions,
    road: Road = "aot",
    out: Path | None = None,
    plugins: Iterable[str] = (),
    progress: Callable[[str], None] = lambda text: None,
    cache: Cache | None = None,
) -> Baked:
    """Build a bundle's plan and write it as ``out/NAME.plan`` with its record.

    Args:
        directory: The bundle.
        road: ``library``: with a plugin library of the bundle, which is written beside the plan as ``libNAME.so``.
        out: By default the bundle's parent directory.
        plugins: Modules of plugin definitions to load, as for ``--plugins``. None is needed, but with `options.jit`:
            then aotfactory's own and those of installed packages are loaded too.
        cache: Where plans that were built before are found, and this one is kept.

    Raises:
        AotError: The bundle cannot be read, or see `build_plan`. What was at ``out`` before is still there.
    """
    bundle = bundles.read(directory)
    if road == "aot":
        require_road(bundle, directory)
    catalog = Catalog(plugins)
    if options.jit:
        catalog.load_all()
    if uses_model(bundle.network, options):
        options = replace(options, mode="onnx")  # the only way to build it
    path = (out or directory.parent) / f"{bundle.network.name}.plan"
    provenance.require_writable(path)
    if road == "library":
        library = path.with_name(f"lib{bundle.network.name}.so").resolve()
        options = replace(options, library=make_library([directory], library).path)
    sha256 = bundles.digest(directory) or ""
    tensorrt = tensorrt_api.require_builder()
    key = cache and kept.key_for(bundle, sha256, options, tensorrt.version)
    plan = kept.find(cache, key, bundle) if cache and key else None
    if plan is None:
        plan = build_plan(bundle, sha256=sha256, options=options, progress=progress)
        if cache and key:
            kept.keep(cache, key, plan)
            cache.trim()
    record = provenance.make_record(
        plan, path=path, bundle=bundle, bundle_path=directory, options=options, tensorrt=tensorrt.version
    )
    provenance.write(plan, record, path)
    return Baked(path=path, bundle=bundle, plan=plan, record=record)


def require_road(bundle: Bundle, directory: Path) -> None:
    """Raise OptionsError for a bundle whose kernels TensorRT's own launcher may not be able to launch."""
    if bundle.road != "aot":
        raise OptionsError(
            f"{directory} was compiled for a plugin library, --road {bundle.road}",
            hint="bake it with --road library, or compile it again without",
        )


def require_bake() -> None:
    """Raise MissingError where no plan can be built: without TensorRT's builder, or without a GPU."""
    tensorrt_api.require_builder()
    if cuda.cuda_device_count() == 0:
        raise NoGpuError("a plan is built on a GPU, and this machine has none", hint="use --engine bundle here")


def plan_for(
    report_path: Path, archs: int, shapes: TargetOptions, progress: Any, cache: Cache | None = None
) -> Baked | None:
    """The plan of a bundle that was just made, or None where this machine has no builder or GPU.

    Args:
        archs: How many architectures the bundle is for.
        shapes: As the bundle was asked for; an ONNX model may have inputs that the bundle says nothing of.
    """
    if tensorrt_api.load().kind != "full" or cuda.cuda_device_count() == 0:
        return None
    bundle = bundles.read(report_path)
    if bundle.road != "aot":
        return None
    onnx = bundle.network.target.endswith(".onnx")  # which may leave shapes open
    out = report_path.parent / native_arch().name if archs > 1 else report_path.parent
    options = PlanOptions(shapes=shapes) if onnx else PlanOptions()
    return bake(report_path, options=options, out=out, progress=progress, cache=cache)
