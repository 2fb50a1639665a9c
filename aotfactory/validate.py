# SPDX-License-Identifier: Apache-2.0
"""Is an artifact right? Every executor that this machine has runs it, against the recipes' references."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from aotfactory import arch, bundle, data, reference, tensorrt_api
from aotfactory import compile as compiling
from aotfactory.bundle import Bundle
from aotfactory.catalog import Catalog
from aotfactory.checks import Check
from aotfactory.errors import AotError, CheckError
from aotfactory.network import Network, Shape
from aotfactory.run import interpreter
from aotfactory.run.launcher import LaunchResult, build_launcher, run_launcher

EXECUTORS = ("interpreter", "launcher")
KINDS: tuple[data.Kind, ...] = ("random", "adversarial")

LARGEST = 2**28
"""Elements of a tensor whose float64 reference is still computed."""

PYTHON_LIBRARIES = re.compile(r"python|torch|triton|numpy|tensorrt|nvinfer", re.IGNORECASE)

Progress = Callable[[str], None]


def catalog_for(network: Network, plugins: Iterable[str]) -> Catalog:
    """The recipes of a network's plugins, from --plugins, the shipped kernels and installed packages."""
    catalog = Catalog(plugins)
    if any(catalog.for_plugin(call.plugin) is None for call in network.calls):
        catalog.load_all()
    return catalog


def validate(
    path: Path,
    *,
    plugins: Iterable[str] = (),
    executors: Sequence[str] = EXECUTORS,
    progress: Progress = lambda text: None,
) -> list[Check]:
    """Validate a bundle.

    Args:
        path: The bundle's directory.
        executors: Which of `EXECUTORS` to use; one that this machine lacks gives a skipped check with the reason.

    Raises:
        UsageError: There is no bundle.
        DefinitionError: The bundle is damaged.
    """
    made = bundle.read(path)
    catalog = catalog_for(made.network, plugins)
    checks: list[Check] = []
    if "interpreter" in executors:
        progress("interpreter")
        checks += _interpreter(made, catalog)
    if "launcher" in executors:
        checks += _launcher(path, made, catalog, progress)
    return checks


def _interpreter(made: Bundle, catalog: Catalog) -> list[Check]:
    """Compile again from the definitions here, and interpret the variants that come out the same."""
    try:
        archs = tuple(dict.fromkeys(a for v in made.variants for a in arch.parse_archs(v.arch)))
        isa = max(arch.PtxIsa.parse(v.ptx_isa) for v in made.variants)
        options = compiling.Options(archs=archs, isa=isa, all_dtypes=True)
        results = compiling.compile_network(made.network, options, lambda text: None)
    except AotError as error:
        detail = f"the definitions here do not make this bundle: {error.message}"
        return [Check(name="interpreter", subject=v.id, status="skipped", detail=detail) for v in made.variants]
    now = {result.id: result for result in results}
    same = {v.id for v in made.variants if v.id in now and _text(now[v.id]) == v.text}
    detail = "the definitions here no longer give this kernel"
    checks = [
        Check(name="interpreter", subject=v.id, status="skipped", detail=detail)
        for v in made.variants
        if v.id not in same
    ]
    return checks + interpreter.check(made.network, [now[v.id] for v in made.variants if v.id in same], catalog.sources)


def _text(result: compiling.Result) -> str | None:
    return result.variant.text if result.variant else None


def _launcher(path: Path, made: Bundle, catalog: Catalog, progress: Progress) -> list[Check]:
    """Run every tactic on the GPU at the profile's shapes, and the Python-free check."""
    if tensorrt_api.cuda_device_count() == 0:
        reason = "no GPU or NVIDIA driver on this machine"
        return [Check(name=n, subject=path.name, status="skipped", detail=reason) for n in ("launcher", "python-free")]
    network = made.network
    inputs = [t for t in network.tensors if t.role == "input"]
    cases = launch_cases(network)
    if not cases:
        detail = f"a tensor has more than {LARGEST} elements, too many for the reference"
        return [Check(name="launcher", subject=path.name, status="skipped", detail=detail), python_free(path)]
    wrong: dict[int, str] = {}
    tactics: set[int] = set()
    referenced = True
    for label, shapes in cases:
        for kind in KINDS:
            progress(f"launcher at {label}, {kind} data")
            arrays = {t.name: data.make(t.name, t.dtype, s, kind=kind) for t, s in zip(inputs, shapes, strict=True)}
            expected = reference.outputs(network, catalog.for_plugin, arrays)
            referenced = referenced and bool(expected)
            at = ", ".join(f"{t.name} {'x'.join(map(str, s))}" for t, s in zip(inputs, shapes, strict=True))
            try:
                result = run_launcher(path, inputs=arrays, tactic="all", check=False)
            except CheckError as error:
                return [Check(name="launcher", subject=path.name, status="failed", detail=f"{error.message}; at {at}")]
            for run in result.runs:
                tactics.add(run.tactic)
                found = "; ".join(run.failures) or reference.compare(network, catalog.for_plugin, run.outputs, expected)
                if found:
                    wrong[run.tactic] = f"{found}; at {at}, {kind} data"
    against = "against the reference" if referenced else "memory accesses only: the plugins have no recipe"
    passed = f"{against}, at {', '.join(label for label, _ in cases)}"
    checks = [
        Check(
            name="launcher",
            subject=f"{network.name} tactic {tactic}",
            status="failed" if tactic in wrong else "passed",
            detail=wrong.get(tactic, passed),
        )
        for tactic in sorted(tactics)
    ]
    return [*checks, python_free(path)]


def launch_cases(network: Network) -> list[tuple[str, list[Shape]]]:
    """Input shapes to launch at: min, opt and max of the profile, and one odd shape inside it."""
    cases = [case for case in data.shape_cases(network, (), LARGEST) if case[0] != "reduced"]
    if network.ranges:
        rng = np.random.default_rng(0)
        inside = {n: int(rng.integers(r.min, r.max, endpoint=True)) | 1 for n, r in network.ranges.items()}
        at = {n: min(v, network.ranges[n].max) for n, v in inside.items()}
        inputs = [t for t in network.tensors if t.role == "input"]
        shapes = [tuple(d.evaluate(at) for d in t.shape) for t in inputs]
        if all(data.fits(shape, LARGEST) for shape in shapes):
            cases.append(("inside", shapes))
    return cases


def python_free(path: Path) -> Check:
    """Run the launcher with an empty environment; its memory map must show no Python, Triton or TensorRT library."""
    result: LaunchResult = run_launcher(path, env={}, launcher=build_launcher())
    libraries = result.report["libraries"]
    found = [name for name in libraries if PYTHON_LIBRARIES.search(name)]
    if found:
        detail = f"the process has {', '.join(found)} loaded"
        return Check(name="python-free", subject=path.name, status="failed", detail=detail)
    detail = f"empty environment; loaded: {', '.join(libraries)}"
    return Check(name="python-free", subject=path.name, status="passed", detail=detail)
