#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The public kernels of tests/corpus on a GPU: every tactic validated, and timed beside the package's own launch.

    scripts/corpus_gpu.py --compile sm_90 --bundles DIR    anywhere: fill DIR with bundles, small ones and large ones
    scripts/corpus_gpu.py --bundles DIR --out FILE.json    on the GPU: validate the small ones, time the large ones

The second needs the packages of tests/corpus/requirements.txt as well. Beside the kernel that a bundle holds it times
the same function launched through Triton's JIT with PyTorch's tensors, with the very arguments that the wrapper gives
to `aot_kernel`; an autotuned one tunes itself first. Both are medians over replays of a CUDA graph, with as many sets
of tensors as do not fit the L2 cache. With --dry-run the second does all that needs no GPU. Rows of other wrappers that
--out has already stay there, so packages that cannot be installed together may be run apart.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import fcntl
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

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
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions

CORPUS = Path(__file__).resolve().parent.parent / "tests" / "corpus"
sys.path.append(str(CORPUS))
from corpus_launch import Launch, Tensor, launch_of  # noqa: E402
from corpus_sizes import SIZES  # noqa: E402
from corpus_table import WRAPPERS, distribution  # noqa: E402
from outcomes import REFUSED  # noqa: E402

Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=Path, required=True, help="where the bundles are, or go")
    parser.add_argument("--compile", metavar="ARCH", default="", help="only fill --bundles, for this architecture")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="wrappers at a time")
    parser.add_argument("--wrappers", default="", help="only these, comma-separated")
    parser.add_argument("--out", type=Path, default=Path("corpus.json"))
    parser.add_argument("--iterations", type=int, default=30, help="samples, of which the median counts")
    parser.add_argument("--minutes", type=float, default=60, help="begin no wrapper after this")
    parser.add_argument("--dry-run", action="store_true", help="do all that needs no GPU")
    parser.add_argument("--one", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = options.wrappers.split(",") if options.wrappers else WRAPPERS
    names = [n for n in WRAPPERS if n not in REFUSED and n in chosen]
    if options.one:
        print(json.dumps(STEPS[options.one](names[0], options)))
        return 0
    if options.compile:
        return compile_all(names, options.bundles, options.compile, options.jobs)
    deadline = time.monotonic() + 60 * options.minutes
    rows: dict[str, Row] = {}
    if options.out.exists():
        rows = {row["wrapper"]: row for row in json.loads(options.out.read_text())["rows"]}
    rows |= {name: {"wrapper": name, "package": distribution(name)} for name in names}
    rows = dict(sorted(rows.items()))
    known = machine()
    by = f"Triton {bundles.read(options.bundles / 'small' / f'{names[0]}.aot').versions['triton']}"
    # First all are validated side by side; then each has the GPU to itself, while the next ones get ready.
    for step in STEPS:
        with ThreadPoolExecutor(options.jobs) as pool:
            for name, found in zip(names, pool.map(lambda n, s=step: one(n, s, deadline), names), strict=True):
                rows[name] |= found
                print(line(rows[name]), flush=True)
                result = {
                    "date": datetime.date.today().isoformat(),
                    "machine": known,
                    "compiled_by": by,
                    "rows": [*rows.values()],
                }
                options.out.write_text(json.dumps(result, indent=1) + "\n")
    bad = [row["wrapper"] for row in rows.values() if row.get("error") or row.get("failed")]
    print(f"{len(rows)} kernels, {len(bad)} not right: {', '.join(bad)}")
    return 1 if bad else 0


def one(name: str, step: str, deadline: float) -> Row:
    """A step of one wrapper in a process of its own, whose crash is its own as well."""
    left = deadline - time.monotonic()
    if left <= 0:
        return {"error": f"not begun in time: {step}"}
    command = [sys.executable, *sys.argv, "--wrappers", name, "--one", step]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=left)
    except subprocess.TimeoutExpired:
        return {"error": f"not done in time: {step}"}
    try:
        found: Row = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": f"{step} exited with {done.returncode}: {done.stderr[-300:]}"}
    return found


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


def validated(name: str, options: argparse.Namespace) -> Row:
    """Every tactic of the small bundle against its reference, and the kernel compiled by Triton for the next step."""
    spec = CORPUS / f"{name}.py"
    row: Row = {}
    try:
        if not options.dry_run:
            checks = validate(options.bundles / "small" / f"{name}.aot", plugins=[str(spec)], executors=("launcher",))
            row["failed"] = [f"{c.subject}: {c.detail}" for c in checks if c.status == "failed"]
            row["validated"] = sum(c.name == "launcher" and c.status == "passed" for c in checks)
            network, launch, inputs = large(name, options)
            try:
                through_triton(launch, tensors(network, inputs))()
            except Exception as error:  # the package's launch may need more than is here
                row["triton_error"] = f"{type(error).__name__}: {error}"[:300]
    except Exception as error:  # one kernel's trouble is not the others'
        row["error"] = f"{type(error).__name__}: {error}"[:500]
    return row


def timed(name: str, options: argparse.Namespace) -> Row:
    """Microseconds of the large bundle's fastest tactic, and of the package's kernel launched through Triton."""
    try:
        return compared(name, options)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def large(name: str, options: argparse.Namespace) -> tuple[Network, Launch, Mapping[str, Any]]:
    """The large bundle's network, its launch, and data for it."""
    spec = CORPUS / f"{name}.py"
    network = bundles.read(options.bundles / "large" / f"{name}.aot").network
    shapes = {t.name: tuple(d.evaluate({}) for d in t.shape) for t in network.inputs}
    types = {t.name: t.dtype for t in network.inputs}
    inputs = make_inputs(network, Catalog([str(spec)]).for_plugin, shapes, types, "random").arrays
    return network, launch_of(network, spec), inputs


def compared(name: str, options: argparse.Namespace) -> Row:
    path = options.bundles / "large" / f"{name}.aot"
    network, launch, inputs = large(name, options)
    row: Row = {"shapes": {n: list(a.shape) for n, a in inputs.items()}}
    if options.dry_run:
        runs = run_launcher(path, shapes={n: a.shape for n, a in inputs.items()}, tactic="all", dry_run=True).runs
        grid = launch.grid(collections.defaultdict(lambda: 64)) if callable(launch.grid) else launch.grid
        arguments = {n: str(v) for n, v in launch.arguments.items()}
        return row | {"tactics": len(runs), "grid": [int(g) for g in grid], "arguments": arguments}
    import torch

    torch.cuda.init()
    with options.out.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return measured(path, network, launch, inputs, options.iterations, row)


def measured(path: Path, network: Network, launch: Launch, inputs: Mapping[str, Any], iterations: int, row: Row) -> Row:
    timing = Timing(iterations=iterations, input_sets=0, graph=True)
    result = run_launcher(path, inputs=inputs, tactic="all", timing=timing)
    timings = {run.tactic: run.timing for run in result.runs if run.timing}
    times = {tactic: found["pass"]["graph_us"]["median"] for tactic, found in timings.items()}
    row["tactic"] = min(times, key=lambda tactic: times[tactic])
    row["us"] = times[row["tactic"]]
    sets = timings[row["tactic"]]["input_sets"]
    outputs = next(run.outputs for run in result.runs if run.tactic == row["tactic"])
    try:
        row |= triton_time(launch, network, inputs, outputs, sets, iterations)
        row["ratio"] = round(row["us"] / row["triton_us"], 3)
    except Exception as error:  # the package's launch may need more than is here
        row["triton_error"] = f"{type(error).__name__}: {error}"[:300]
    return row


def tensors(network: Network, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The network's tensors on the GPU, outputs empty."""
    import torch

    types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}
    found = {}
    for tensor in network.tensors:
        dtype = types.get(tensor.dtype) or getattr(torch, tensor.dtype)
        if tensor.role == "input":
            plain = np.ascontiguousarray(inputs[tensor.name])
            found[tensor.name] = torch.from_numpy(plain.view(f"i{plain.itemsize}")).cuda().view(dtype)
        else:
            found[tensor.name] = torch.empty([d.evaluate({}) for d in tensor.shape], dtype=dtype, device="cuda")
    return found


def through_triton(launch: Launch, given: Mapping[str, Any]) -> Callable[[], Any]:
    arguments = {n: given[v.name] if isinstance(v, Tensor) else v for n, v in launch.arguments.items()}
    return lambda: launch.kernel[launch.grid](**arguments)


def triton_time(
    launch: Launch, network: Network, inputs: Mapping[str, Any], ours: Mapping[str, Any], sets: int, iterations: int
) -> Row:
    """The kernel launched through Triton's JIT: microseconds, and how far its outputs are from the bundle's."""
    import torch
    from bench_rivals import timed as graph_time

    given = tensors(network, inputs)
    through_triton(launch, given)()
    torch.cuda.synchronize()
    written = {v.name for v in launch.arguments.values() if isinstance(v, Tensor)} & set(ours)
    apart = 0.0
    for name in written:
        theirs, mine = given[name].to(torch.float64).cpu().numpy(), np.asarray(ours[name], np.float64)
        with np.errstate(all="ignore"):
            differences = np.abs(theirs - mine)[np.isfinite(theirs) & np.isfinite(mine)]
        apart = max(apart, float(differences.max(initial=0)))
    calls = [through_triton(launch, tensors(network, inputs)) for _ in range(sets)]
    return {"apart": apart, "triton_us": round(graph_time(calls, iterations), 3)}


STEPS = {"validate": validated, "time": timed}


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
