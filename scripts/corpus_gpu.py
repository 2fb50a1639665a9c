#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The public kernels of tests/corpus on a GPU: every tactic validated, and timed beside the package's own launch.

    scripts/corpus_gpu.py --compile sm_90 --bundles DIR    anywhere: fill DIR with bundles, small ones and large ones
    scripts/corpus_gpu.py --bundles DIR --out FILE.json    on the GPU: validate the small ones, time the large ones

The second needs the packages of tests/corpus/requirements.txt as well. Beside the kernel that a bundle holds it times
the same function launched through Triton's JIT with PyTorch's tensors, with the very arguments that the wrapper gives
to `aot_kernel`; an autotuned one tunes itself first. Both are medians over replays of a CUDA graph, with as many sets
of tensors as do not fit the L2 cache. With --dry-run the second does all that needs no GPU.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotfactory.api.build import build_bundle
from aotfactory.api.validate import validate
from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.compile import Options
from aotfactory.core.arch import parse_archs
from aotfactory.core.errors import AotError
from aotfactory.core.network import Network
from aotfactory.executors.data import make_inputs
from aotfactory.executors.native.launcher import run_launcher
from aotfactory.executors.native.program import Timing
from aotfactory.plugins import definitions, loader
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.network_builder import plugin_call
from aotfactory.targets.request import TargetOptions

CORPUS = Path(__file__).resolve().parent.parent / "tests" / "corpus"
sys.path.append(str(CORPUS))
import tensorrt.plugin._tensor as _tensor  # noqa: E402  (after aotfactory, which decides on it)
from corpus_sizes import SIZES  # noqa: E402
from corpus_table import WRAPPERS, distribution  # noqa: E402
from outcomes import REFUSED  # noqa: E402

Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=Path, required=True, help="where the bundles are, or go")
    parser.add_argument("--compile", metavar="ARCH", default="", help="only fill --bundles, for this architecture")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="bundles to compile at a time")
    parser.add_argument("--wrappers", default="", help="only these, comma-separated")
    parser.add_argument("--out", type=Path, default=Path("corpus.json"))
    parser.add_argument("--iterations", type=int, default=30, help="samples, of which the median counts")
    parser.add_argument("--minutes", type=float, default=60, help="begin no wrapper after this")
    parser.add_argument("--dry-run", action="store_true", help="do all that needs no GPU")
    options = parser.parse_args()
    names = [
        n for n in WRAPPERS if n not in REFUSED and n in (options.wrappers.split(",") if options.wrappers else WRAPPERS)
    ]
    if options.compile:
        return compile_all(names, options.bundles, options.compile, options.jobs)
    deadline = time.monotonic() + 60 * options.minutes
    rows: list[Row] = []
    for name in names:
        if time.monotonic() > deadline:
            rows.append({"wrapper": name, "error": "not begun in time"})
            continue
        rows.append(row_of(name, options))
        print(line(rows[-1]), flush=True)
        result = {"date": datetime.date.today().isoformat(), "machine": machine(), "rows": rows}
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    bad = [row["wrapper"] for row in rows if row.get("error") or row.get("failed")]
    print(f"{len(rows)} kernels, {len(bad)} not right: {', '.join(bad)}")
    return 1 if bad else 0


def compile_all(names: list[str], out: Path, archs: str, jobs: int) -> int:
    """Bundles at the recipes' own shapes in ``out/small``, and at those of `SIZES` in ``out/large``."""
    tasks = [(name, kind, out, archs) for name in names for kind in ("small", "large")]
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = [pool.submit(compile_one, *task) for task in tasks]
        failed = 0
        for (name, kind, *_), result in zip(tasks, results, strict=True):
            count, problem = result.result()
            failed += bool(problem)
            print(f"{name} {kind}: {problem or f'{count} variants'}", flush=True)
    return 1 if failed else 0


def compile_one(name: str, kind: str, out: Path, archs: str) -> tuple[int, str]:
    """How many variants a bundle has, or what is wrong with it."""
    spec = str(CORPUS / f"{name}.py")
    recipe = Catalog([spec]).find(name)
    assert recipe is not None
    sizes = SIZES[name] if kind == "large" else {}
    shape = {i.name: tuple(sizes.get(d, n) for d, n in zip(i.dims, i.shape, strict=True)) for i in recipe.inputs}
    options = Options(archs=parse_archs(archs))
    try:
        report = build_bundle(
            name,
            request=TargetOptions(shape=shape),
            options=options,
            out=out / kind,
            plugins=[spec],
            interpret=False,
            listed=False,
        )
    except AotError as error:
        return 0, str(error)
    return len(report.bundle.variants), "; ".join(c.detail for c in report.failed)


def row_of(name: str, options: argparse.Namespace) -> Row:
    """Validate and time one wrapper; what goes wrong is in the row."""
    row: Row = {"wrapper": name, "package": distribution(name)}
    spec = CORPUS / f"{name}.py"
    try:
        if not options.dry_run:
            checks = validate(options.bundles / "small" / f"{name}.aot", plugins=[str(spec)], executors=("launcher",))
            row["failed"] = [f"{c.subject}: {c.detail}" for c in checks if c.status == "failed"]
            row["tactics"] = sum(c.name == "launcher" and c.status == "passed" for c in checks)
        row |= timed(options.bundles / "large" / f"{name}.aot", spec, options)
    except Exception as error:  # one kernel's trouble is not the others'
        row["error"] = f"{type(error).__name__}: {error}"[:500]
    return row


def timed(path: Path, spec: Path, options: argparse.Namespace) -> Row:
    """Microseconds of the bundle's fastest tactic, and of the package's kernel launched through Triton."""
    network = bundles.read(path).network
    launch = launch_of(network, spec)
    find_recipe = Catalog([str(spec)]).for_plugin
    shapes = {t.name: tuple(d.evaluate({}) for d in t.shape) for t in network.inputs}
    inputs = make_inputs(network, find_recipe, shapes, {t.name: t.dtype for t in network.inputs}, "random").arrays
    row: Row = {"shapes": {n: list(a.shape) for n, a in inputs.items()}}
    if options.dry_run:
        runs = run_launcher(path, shapes={n: a.shape for n, a in inputs.items()}, tactic="all", dry_run=True).runs
        grid = launch.grid(collections.defaultdict(lambda: 64)) if callable(launch.grid) else launch.grid
        arguments = {n: str(v) for n, v in launch.arguments.items()}
        return row | {"tactics": len(runs), "grid": [int(g) for g in grid], "arguments": arguments}
    timing = Timing(iterations=options.iterations, input_sets=0, graph=True)
    result = run_launcher(path, inputs=inputs, tactic="all", timing=timing)
    timings = {run.tactic: run.timing for run in result.runs if run.timing}
    times = {tactic: found["graph_us"]["median"] for tactic, found in timings.items()}
    row["tactic"] = min(times, key=lambda tactic: times[tactic])
    row["us"] = times[row["tactic"]]
    sets = timings[row["tactic"]]["input_sets"]
    outputs = next(run.outputs for run in result.runs if run.tactic == row["tactic"])
    try:
        row |= triton_time(launch, network, inputs, outputs, sets, options.iterations)
        row["ratio"] = round(row["us"] / row["triton_us"], 3)
    except Exception as error:  # the package's launch may need more than is here
        row["triton_error"] = f"{type(error).__name__}: {error}"[:300]
    return row


@dataclass(frozen=True)
class Launch:
    """A call of `aot_kernel`: tensors by their name in the network, dimensions as numbers."""

    kernel: Any
    grid: tuple[int, ...] | Callable[[Mapping[str, Any]], tuple[int, ...]]
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Tensor:
    """An argument that is a tensor of the network, by name."""

    name: str


class _Called(BaseException):
    """Carries a call out of the `aot_impl`; no Exception, which would be explained to an author."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch


def launch_of(network: Network, spec: Path) -> Launch:
    """What the wrapper's `aot_impl` gives to `aot_kernel` in this network, whose shapes are static."""
    (call,) = network.calls
    module = loader.load(str(spec))

    def number(value: Any) -> Any:
        return value._expr.get_constant_value() if hasattr(value, "_expr") else value

    def numbers(grid: Any) -> tuple[int, ...]:
        return tuple(number(g) for g in (grid if isinstance(grid, (tuple, list)) else [grid]))

    def with_dimensions(grid: Any, meta: Mapping[str, Any]) -> tuple[int, ...]:
        _tensor.SymIntExpr._exprBuilder = plugin.builder  # as while aot_impl runs
        try:
            return numbers(grid(meta))
        finally:
            _tensor.SymIntExpr._exprBuilder = None

    def record(kernel: Any, *, grid: Any, config: Any = None, unused: Any = (), **arguments: Any) -> Any:
        local = sys._getframe(1).f_locals
        names = {
            id(local[given]): name
            for given, name in zip(definitions.find(call.plugin).inputs, call.inputs, strict=True)
        }
        for output, alias, name in zip(local["outputs"], plugin.aliases, call.outputs, strict=True):
            names[id(output)] = name if alias is None else call.inputs[alias]
        given = {n: Tensor(names[id(v)]) if id(v) in names else number(v) for n, v in arguments.items()}
        if not callable(grid) or isinstance(grid, _tensor.SymIntExpr):
            raise _Called(Launch(kernel, numbers(grid), given))
        raise _Called(Launch(kernel, lambda meta: with_dimensions(grid, meta), given))

    plugin = plugin_call(network, call)
    original, module.aot_kernel = module.aot_kernel, record  # type: ignore[attr-defined]
    try:
        plugin.kernel(plugin.combination, next(t for c, t in plugin.combinations() if c == plugin.combination)[0])
    except _Called as called:
        return called.launch
    finally:
        module.aot_kernel = original  # type: ignore[attr-defined]
    raise RuntimeError(f"{spec.name} does not call aot_kernel")


def triton_time(
    launch: Launch, network: Network, inputs: Mapping[str, Any], ours: Mapping[str, Any], sets: int, iterations: int
) -> Row:
    """The kernel launched through Triton's JIT: microseconds, and how far its outputs are from the bundle's."""
    import numpy as np
    import torch
    from bench_rivals import timed as graph_time

    types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}

    def on_device(array: Any) -> Any:
        plain = array.view(f"u{array.itemsize}") if array.dtype.kind == "V" else array
        return torch.from_numpy(np.ascontiguousarray(plain)).cuda()

    def tensors() -> dict[str, Any]:
        found = {}
        for tensor in network.tensors:
            if tensor.role == "input":
                data = on_device(inputs[tensor.name])
                found[tensor.name] = data.view(types[tensor.dtype]) if tensor.dtype in ("bf16", "fp8") else data
            elif tensor.name in ours:
                dtype = types.get(tensor.dtype) or getattr(torch, str(ours[tensor.name].dtype))
                found[tensor.name] = torch.empty(ours[tensor.name].shape, dtype=dtype, device="cuda")
        return found

    def call(given: Mapping[str, Any]) -> Any:
        arguments = {n: given[v.name] if isinstance(v, Tensor) else v for n, v in launch.arguments.items()}
        return lambda: launch.kernel[launch.grid](**arguments)

    given = tensors()
    call(given)()
    torch.cuda.synchronize()
    written = {v.name for v in launch.arguments.values() if isinstance(v, Tensor)} & set(ours)
    found: Row = {"apart": 0.0}
    for name in written:
        theirs, mine = given[name].to(torch.float64).cpu().numpy(), np.asarray(ours[name], np.float64)
        with np.errstate(all="ignore"):
            apart = np.abs(theirs - mine)[np.isfinite(theirs) & np.isfinite(mine)]
        found["apart"] = max(found["apart"], float(apart.max(initial=0)))
    return found | {"triton_us": round(graph_time([call(tensors()) for _ in range(sets)], iterations), 3)}


def machine() -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, Any] = {"cores": os.cpu_count()}
    for package in ("torch", "triton"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    try:
        from gpu_check import gpu

        found |= gpu()
    except Exception as error:  # no GPU: a dry run
        found["gpu"] = f"none ({type(error).__name__})"
    return found


def line(row: Row) -> str:
    said = row.get("error") or "; ".join(row.get("failed", []))
    times = (
        f"{row.get('us', '')!s:>9} {row.get('triton_us', row.get('triton_error', ''))!s:>9} {row.get('ratio', '')!s:>6}"
    )
    return f"{row['wrapper']:<32} {row.get('tactics', '')!s:>3} {times} {said}"


if __name__ == "__main__":
    sys.exit(main())
