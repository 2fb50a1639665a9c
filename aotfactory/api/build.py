# SPDX-License-Identifier: Apache-2.0
"""From a target to a checked bundle on disk, and the report of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aotfactory.api import engine_index, finished
from aotfactory.compiler import bundle as bundles
from aotfactory.compiler import variant_json
from aotfactory.compiler.manifest import Bundle
from aotfactory.compiler.options import Options
from aotfactory.compiler.variant import LaunchedKernel, Variant, Workspace
from aotfactory.core import check as checks
from aotfactory.core import cuda
from aotfactory.core.cache import Cache
from aotfactory.core.check import Check
from aotfactory.core.network import POINTS, Network
from aotfactory.executors.effort import CHECK_TIME, SPENT
from aotfactory.targets.request import TargetOptions

if TYPE_CHECKING:
    from aotfactory.api.bake import Baked

SCHEMA = "aotfactory.build/1"

Engine = Literal["auto", "tensorrt", "bundle"]
"""A TensorRT plan, a bundle alone, or the most that the machine can."""


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A build's bundle and its checks.

    Attributes:
        path: Of the bundle; None where a check failed, and nothing was written.
        sha256: Of the bundle's manifest, which holds those of the PTX files.
        baked: The plan, where one was made of the bundle.
        replaced: What the bundle at `path` was before, where it was of other inputs, attributes or architectures.
    """

    target: str
    bundle: Bundle
    path: Path | None
    sha256: str | None
    checks: tuple[Check, ...]
    baked: Baked | None = None
    replaced: str | None = None

    @property
    def failed(self) -> list[Check]:
        """The checks that failed."""
        return checks.failed(self.checks)

    def to_json(self) -> dict[str, Any]:
        """The result as ``build --format json`` prints it, schema ``aotfactory.build/1``."""
        network = self.bundle.network
        artifact = {"path": str(self.path) if self.path else None, "sha256": self.sha256}
        return {
            "schema": SCHEMA,
            "target": self.target,
            "engine": _plan_to_json(self.baked) if self.baked else {"kind": "bundle", **artifact},
            "bundle": artifact,
            "variants": [variant_to_json(v, network) for v in self.bundle.variants],
            **({"beside": dict(network.beside)} if network.beside else {}),
            "checks": [c.to_json() for c in self.checks],
            **({"skipped_checks": dict(self.bundle.skipped)} if self.bundle.skipped else {}),
            **({"road": self.bundle.road} if self.bundle.road != "aot" else {}),
        }


def build_bundle(
    target: str,
    *,
    request: TargetOptions,
    options: Options,
    out: Path,
    plugins: Iterable[str] = (),
    interpret: bool = True,
    progress: Callable[[str], None] = lambda text: None,
    cache: Cache | None = None,
    jobs: int = 1,
    name: str | None = None,
    plain: bool = False,
    listed: bool = True,
    check_time: float = CHECK_TIME,
    skip: Mapping[str, str] | None = None,
) -> BuildResult:
    """Compile a target, check it, and write ``out/NAME.aot`` if every check passed.

    Args:
        interpret: Whether to run the `interpreter` check, which takes most of the time.
        cache: Where what was compiled and checked is kept.
        jobs: How many processes; the result is the same for any number.
        name: Of the engine; by default the recipe's, plugin's or model's.
        plain: The result is only shown or written: its attributes need not be NumPy's (see `network_from_json`).
        check_time: Seconds of each process for the `interpreter` check; what does not fit is reported as not run.
        skip: Names of checks that are not to count, each with the reason, which the manifest keeps.
        listed: Keep the report beside the bundle, and enter it in the directory's index.

    Raises:
        AotError: The target, the request or a definition is wrong. Nothing was written.
    """
    plugins, skip = tuple(plugins), dict(skip or {})
    interpret = interpret and "interpreter" not in skip
    key = cache and finished.key_for(target, request, options, plugins, interpret)
    done = finished.find(cache, key, plain=plain, check_time=check_time) if cache and key else None
    if done is None:
        from aotfactory.api.making import make  # loads TensorRT and Triton

        done = make(target, request, options, plugins, interpret, progress, cache, jobs, check_time)
        if any(SPENT in c.detail for c in done.checks):
            done = replace(done, check_time=check_time)
        if cache and key and not checks.failed(done.checks):
            finished.keep(cache, key, done, target)
    made = replace(done.bundle, skipped=skip)
    found = checks.skip(done.checks, skip, [v.id for v in made.variants])
    if name is not None:
        made = replace(made, network=replace(made.network, name=name))
    path = sha256 = replaced = None
    if not checks.failed(found):
        path = out / f"{made.network.name}.aot"
        replaced = engine_index.replaced(path, made)
        sha256 = bundles.write_once(made, path)
    if cache:
        cache.trim()
    built = BuildResult(target=target, bundle=made, path=path, sha256=sha256, checks=tuple(found), replaced=replaced)
    if built.path and listed:
        engine_index.record(out, made, built.to_json())
    return built


def with_plan(
    built: BuildResult,
    engine: Engine,
    shapes: TargetOptions,
    progress: Callable[[str], None],
    cache: Cache | None,
) -> BuildResult:
    """The build with the plan of its bundle, where that is wanted and this machine has TensorRT's builder and a GPU."""
    if built.path is None or engine == "bundle" or not cuda.cuda_device_count():
        return built
    from aotfactory.api.bake import plan_for  # late: it loads TensorRT

    archs = {variant.arch for variant in built.bundle.variants}
    return replace(built, baked=plan_for(built.path, len(archs), shapes, progress, cache))


def _plan_to_json(baked: Baked) -> dict[str, Any]:
    return {"kind": "plan", "path": str(baked.path), "sha256": baked.plan.sha256}


def variant_to_json(variant: Variant, network: Network) -> dict[str, Any]:
    """As a manifest has it, but its expressions as text, and evaluated at the profile's min, opt and max shapes."""
    found = variant_json.variant_to_json(variant)
    found |= _launch_to_json(variant, network)
    if variant.workspaces:
        found["workspaces"] = [_workspace_to_json(w, network) for w in variant.workspaces]
    if variant.then:
        pairs = zip(found["then"], variant.then, strict=True)
        found["then"] = [{**described, **_launch_to_json(kernel, network)} for described, kernel in pairs]
    return found


def _launch_to_json(kernel: LaunchedKernel, network: Network) -> dict[str, Any]:
    return {
        "launch": {name: str(expr) for name, expr in kernel.launch.items()},
        "extra_args": [str(argument) for argument in kernel.extra_args],
        "launch_at": {point: _launch_at(kernel, network.at(point)) for point in POINTS},
        "cluster": list(kernel.cluster),
    }


def _workspace_to_json(workspace: Workspace, network: Network) -> dict[str, Any]:
    at = {point: workspace.bytes.evaluate(network.at(point)) for point in POINTS}
    return {"bytes": str(workspace.bytes), "bytes_at": at, "at_most": workspace.at_most}


def _launch_at(variant: LaunchedKernel, symbols: Mapping[str, int]) -> dict[str, Any]:
    value = {name: expr.evaluate(symbols) for name, expr in variant.launch.items()}
    return {
        "grid": [value[f"grid_{axis}"] for axis in "xyz"],
        "block": [value[f"block_{axis}"] for axis in "xyz"],
        "shared_mem": value["shared_mem"],
        "extra_args": [expr.evaluate(symbols) for expr in variant.extra_args],
    }
