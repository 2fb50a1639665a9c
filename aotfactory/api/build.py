# SPDX-License-Identifier: Apache-2.0
"""From a target to a checked bundle on disk, and the report of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aotfactory.api import interpreted
from aotfactory.api.bake import Baked
from aotfactory.compiler import bundle as bundles
from aotfactory.compiler import compile
from aotfactory.compiler.bundle import Bundle, Variant
from aotfactory.core import check as checks
from aotfactory.core import dependencies
from aotfactory.core.cache import Cache
from aotfactory.core.check import Check
from aotfactory.core.network import POINTS, Network
from aotfactory.core.recipe import Recipe
from aotfactory.plugins import tensorrt_api
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve

SCHEMA = "aotfactory.build/1"


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A build's bundle and its checks.

    Attributes:
        path: Of the bundle; None where a check failed, and nothing was written.
        sha256: Of the bundle's manifest, which holds those of the PTX files.
        baked: The plan, where one was made of the bundle.
    """

    target: str
    bundle: Bundle
    path: Path | None
    sha256: str | None
    checks: tuple[Check, ...]
    baked: Baked | None = None

    @property
    def failed(self) -> list[Check]:
        return checks.failed(self.checks)


def build_bundle(
    target: str,
    *,
    request: TargetOptions,
    options: compile.Options,
    out: Path,
    plugins: Iterable[str] = (),
    interpret: bool = True,
    progress: Callable[[str], None] = lambda text: None,
    cache: Cache | None = None,
    jobs: int = 1,
) -> BuildResult:
    """Compile a target, check it, and write ``out/NAME.aot`` if every check passed.

    Args:
        interpret: Whether to run the `interpreter` check, which takes most of the time.
        cache: Where what was compiled and checked is kept.
        jobs: How many processes; the result is the same for any number.

    Raises:
        AotError: The target, the request or a definition is wrong. Nothing was written.
    """
    with dependencies.recording():
        catalog = Catalog(plugins)
        network = resolve(target, catalog, request)
    results = compile.compile_network(network, options, progress, cache=cache, jobs=jobs)
    found = [check for result in results for check in result.checks]
    if interpret:
        progress("interpreter")
        found += interpreted.check(cache, network, results, catalog.sources, dependencies.observed())
    order = {name: i for i, name in enumerate(checks.NAMES)}
    found.sort(key=lambda check: order[check.name])
    made = Bundle(
        network=network, variants=tuple(r.variant for r in results if r.variant is not None), versions=versions()
    )
    path = sha256 = None
    if not checks.failed(found):
        path = out / f"{network.name}.aot"
        sha256 = bundles.write(made, path)
    if cache:
        cache.trim()
    return BuildResult(target=target, bundle=made, path=path, sha256=sha256, checks=tuple(found))


def versions() -> dict[str, str]:
    """The versions that decide what a bundle holds."""
    return {"tensorrt": tensorrt_api.load().version, **{name: version(name) for name in ("aotfactory", "triton")}}


def to_json(report: BuildResult) -> dict[str, Any]:
    """The report as ``--format json`` prints it."""
    network = report.bundle.network
    artifact = {"path": str(report.path) if report.path else None, "sha256": report.sha256}
    return {
        "schema": SCHEMA,
        "target": report.target,
        "engine": _plan_to_json(report.baked) if report.baked else {"kind": "bundle", **artifact},
        "bundle": artifact,
        "variants": [variant_to_json(v, network) for v in report.bundle.variants],
        "checks": [
            {"name": c.name, "subject": c.subject, "status": c.status, "detail": c.detail} for c in report.checks
        ],
    }


def _plan_to_json(baked: Baked) -> dict[str, Any]:
    return {"kind": "plan", "path": str(baked.path), "sha256": baked.plan.sha256}


def variant_to_json(variant: Variant, network: Network) -> dict[str, Any]:
    """A variant, its expressions as text and evaluated at the profile's min, opt and max shapes."""
    return {
        "id": variant.id,
        "call": variant.call,
        "plugin": variant.plugin,
        "arch": variant.arch,
        "dtypes": list(variant.dtypes),
        "formats": list(variant.formats),
        "tactic": variant.tactic,
        "kernel": variant.kernel,
        "ptx": variant.ptx,
        "ptx_bytes": len(variant.text.encode()),
        "ptx_isa": variant.ptx_isa,
        "ptx_target": variant.ptx_target,
        "parameters": list(variant.parameters),
        "launch": {name: str(expr) for name, expr in variant.launch.items()},
        "extra_args": [str(expr) for expr in variant.extra_args],
        "launch_at": {point: _launch_at(variant, network.at(point)) for point in POINTS},
        "registers": variant.registers,
        "spills": variant.spills,
    }


def _launch_at(variant: Variant, symbols: Mapping[str, int]) -> dict[str, Any]:
    value = {name: expr.evaluate(symbols) for name, expr in variant.launch.items()}
    return {
        "grid": [value[f"grid_{axis}"] for axis in "xyz"],
        "block": [value[f"block_{axis}"] for axis in "xyz"],
        "shared_mem": value["shared_mem"],
        "extra_args": [expr.evaluate(symbols) for expr in variant.extra_args],
    }


def recipe_to_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe as ``aotfactory list --format json`` prints it."""
    return {
        "name": recipe.name,
        "plugin": recipe.plugin,
        "summary": recipe.summary,
        "inputs": [{"name": i.name, "shape": list(i.shape), "dtypes": list(i.dtypes)} for i in recipe.inputs],
        "dtypes": list(recipe.dtypes),
        "attributes": {n: v.tolist() if hasattr(v, "tolist") else v for n, v in recipe.attributes.items()},
    }
