# SPDX-License-Identifier: Apache-2.0
"""The `interpreter` check of a bundle on disk: its own launch, arguments, types and PTX are judged.

The interpreter runs Triton source, which a bundle does not hold. So its definitions are compiled again, and where they
give a variant's very PTX, their source runs with the bundle's grid and extra arguments. What the interpreter cannot
show (block, shared memory, kernel name, parameters, types) must be what the definitions give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aotfactory.compiler import compile as compiling
from aotfactory.compiler.variant import LaunchedKernel, Variant
from aotfactory.core import arch
from aotfactory.core.check import Check
from aotfactory.core.errors import AotError
from aotfactory.executors.executor import BundleJob
from aotfactory.executors.interpreter import check as interpreter

INTERPRETED = ("grid_x", "grid_y", "grid_z")
"""Launch parameters that the interpreter runs with; the others have to agree."""


def check(job: BundleJob) -> list[Check]:
    """One check for each variant of a bundle."""
    made = job.bundle
    job.progress("interpreter")
    if reason := made.skipped.get("interpreter"):
        return [_of(v, "skipped", f"skipped when the bundle was built, because {reason}") for v in made.variants]
    try:
        results = []
        for name in dict.fromkeys(v.arch for v in made.variants):
            # Each architecture with its own ISA: newer ones need a newer one.
            isa = max(arch.PtxIsa.parse(v.ptx_isa) for v in made.variants if v.arch == name)
            options = compiling.Options(archs=tuple(arch.parse_archs(name)), isa=isa, all_dtypes=True, road=made.road)
            results += compiling.compile_network(made.network, options, lambda text: None)
    except AotError as error:
        detail = f"the definitions here do not make this bundle: {error.message}"
        return [_of(v, "skipped", detail) for v in made.variants]
    now = {result.id: result for result in results}
    found, runs = [], []
    for variant in made.variants:
        result = now.get(variant.id)
        if result is None or result.variant is None or _texts(result.variant) != _texts(variant):
            found.append(_of(variant, "skipped", "the definitions here no longer give this kernel"))
        elif difference := _differences(variant, result.variant):
            found.append(_of(variant, "failed", f"the bundle has {difference} for the same PTX"))
        else:
            runs.append(replace(result, variant=variant))
    return found + interpreter.check(made.network, runs, job.catalog.sources, job.effort, job.progress, job.given)


def _texts(variant: Variant) -> list[str]:
    return [kernel.text for kernel in variant.kernels]


def _differences(variant: Variant, now: Variant) -> str | None:
    """How a variant differs from what its definitions give, where running it would not show that."""
    found = _difference(variant, now, ("call", "plugin", "arch", "dtypes", "formats", "tactic", "workspaces"))
    for mine, theirs in zip(variant.kernels, now.kernels, strict=True):
        found = found or _launched_otherwise(mine, theirs)
    return found


def _difference(variant: LaunchedKernel, now: LaunchedKernel, names: Sequence[str]) -> str | None:
    for name in names:
        mine, theirs = getattr(variant, name), getattr(now, name)
        if mine != theirs:
            return f"{name} {mine}, its definitions give {theirs}"
    return None


def _launched_otherwise(variant: LaunchedKernel, now: LaunchedKernel) -> str | None:
    names = ("kernel", "parameters", "ptx_isa", "ptx_target", "cluster", "cluster_at_launch")
    if difference := _difference(variant, now, names):
        return difference
    if set(variant.launch) != set(now.launch):
        return f"launch parameters {', '.join(variant.launch) or 'none'}, its definitions give {', '.join(now.launch)}"
    for name, expr in now.launch.items():
        if name not in INTERPRETED and variant.launch[name] != expr:
            return f"{name} = {variant.launch[name]}, its definitions give {expr}"
    return None


def _of(variant: Variant, status: str, detail: str) -> Check:
    return Check(name="interpreter", subject=variant.id, status=status, detail=detail, compared="nothing")  # type: ignore[arg-type]
