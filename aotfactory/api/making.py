# SPDX-License-Identifier: Apache-2.0
"""The part of a build that takes time: load definitions, compile, check. It loads TensorRT and Triton."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

from aotfactory.api import interpreted
from aotfactory.api.finished import Finished
from aotfactory.compiler.compile import compile_network
from aotfactory.compiler.environment import require_usable_triton
from aotfactory.compiler.manifest import Bundle
from aotfactory.compiler.options import Options
from aotfactory.core import check as checks
from aotfactory.core import dependencies
from aotfactory.core.cache import Cache
from aotfactory.executors.effort import Effort
from aotfactory.plugins import device, tensorrt_api
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve


def make(
    target: str,
    request: TargetOptions,
    options: Options,
    plugins: Sequence[str],
    interpret: bool,
    progress: Callable[[str], None],
    cache: Cache | None,
    jobs: int,
    check_time: float,
) -> Finished:
    """Compile and check; see `build_bundle`."""
    require_usable_triton(cache)
    device.assume(options.archs[0].capability)
    with dependencies.recording():
        catalog = Catalog(plugins)
        network = resolve(target, catalog, request)
    results = compile_network(network, options, progress, cache=cache, jobs=jobs)
    found = [check for result in results for check in result.checks]
    read = dependencies.observed()
    if interpret:
        progress("interpreter")
        found += interpreted.check(
            cache, network, results, catalog.sources, read, Effort(seconds=check_time, processes=jobs), progress
        )
    order = {name: i for i, name in enumerate(checks.NAMES)}
    found.sort(key=lambda check: order[check.name])
    variants = tuple(r.variant for r in results if r.variant is not None)
    bundle = Bundle(network=network, variants=variants, versions=versions(), road=options.road)
    return Finished(bundle=bundle, checks=tuple(found), dependencies=read)


def versions() -> dict[str, str]:
    """The versions that decide what a bundle holds."""
    return {"tensorrt": tensorrt_api.load().version, **{name: version(name) for name in ("aotfactory", "triton")}}
