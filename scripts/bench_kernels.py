#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time every recipe on this machine's GPU: against a device copy, PyTorch, torch.compile, and a naive kernel.

Each row is one recipe, size and data type. The library's kernel is compiled for this GPU with static shapes (and with a
dynamic profile, --dynamic) and timed by aotfactory-launcher, every tactic, the fastest counts; the others run in this
process. All times are medians, on the GPU alone: between events around a CUDA graph of passes over as many sets of
tensors as do not fit in L2. Bytes are those of all inputs and outputs, each once; the copy, which the launcher makes in
the same run, moves as many between as many sets.

Rows go into --out as they are made; rows that it has already are left alone (--again does them anew), so a run may be
cut in slices: --recipes rms_norm,softmax --shapes large --minutes 5. With --render nothing is timed: the plot and the
table in docs/kernels.md are made of --out, which takes matplotlib but no GPU.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench_cases import BENCHES, SHAPES, Bench
from bench_render import RIVALS, line, render

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "kernels.json"
LOOSE = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 1e-1}
"""How far PyTorch and the naive kernel may be from the library's outputs: a check that all do the same work."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default=",".join(BENCHES), help="only these, comma-separated")
    parser.add_argument("--shapes", default=",".join(SHAPES), help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--dtypes", default="fp32,fp16,bf16")
    parser.add_argument("--rivals", default=",".join(RIVALS), help="to time beside: eager, compile, naive")
    parser.add_argument("--dynamic", action="store_true", help="also with every dimension dynamic that may be")
    parser.add_argument("--minutes", type=float, default=60, help="begin no row after this")
    parser.add_argument("--iterations", type=int, default=50, help="samples, of which the median counts")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="measure rows that --out has already")
    parser.add_argument("--render", action="store_true", help="only make the plot and the table of --out")
    options = parser.parse_args()
    for option, known in (("recipes", BENCHES), ("shapes", SHAPES), ("rivals", RIVALS)):
        unknown = [n for n in getattr(options, option).split(",") if n and n not in known]
        if unknown:
            parser.error(f"--{option}: {', '.join(unknown)}; there are {', '.join(known)}")
    if options.render:
        render(json.loads(options.out.read_text()), options.out)
        return 0
    result = json.loads(options.out.read_text()) if options.out.exists() else {"rows": []}
    result |= {"date": datetime.date.today().isoformat(), "machine": machine()}
    deadline = time.monotonic() + 60 * options.minutes
    failed = skipped = 0
    for key in wanted(options):
        known = next((row for row in result["rows"] if same(row, key)), None)
        if known and "error" not in known and not options.again:
            continue
        if time.monotonic() > deadline:
            skipped += 1
            continue
        row = measured(key, options)
        failed += "error" in row
        result["rows"] = [r for r in result["rows"] if not same(r, key)] + [row]
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
        print(line(row), flush=True)
    print(f"{len(result['rows'])} rows in {options.out}; {failed} failed, {skipped} not begun in time")
    return 1 if failed else 0


def wanted(options: argparse.Namespace) -> Iterator[dict[str, str]]:
    """The rows to make, the large shapes first: they say most."""
    for shape in reversed([s for s in SHAPES if s in options.shapes.split(",")]):
        for recipe in options.recipes.split(","):
            for dtype in options.dtypes.split(","):
                for profile in ("static", "dynamic") if options.dynamic else ("static",):
                    yield {"recipe": recipe, "shape": shape, "dtype": dtype, "profile": profile}


def same(row: Mapping[str, Any], key: Mapping[str, str]) -> bool:
    return all(row[name] == value for name, value in key.items())


def machine() -> dict[str, str]:
    import torch
    import triton

    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    gpu, driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0].split(", ")
    return {
        "gpu": gpu,
        "driver": driver,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": triton.__version__,
    }


def measured(key: Mapping[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """One row; an error is told in it, and the next rows go on."""
    bench = BENCHES[key["recipe"]]
    row: dict[str, Any] = {**key, "sizes": dict(bench.sizes[key["shape"]])}
    try:
        with tempfile.TemporaryDirectory(prefix="aotfactory-bench-") as scratch:
            row |= ours(key, bench, options.iterations, Path(scratch))
        if key["profile"] == "static":
            row |= rivals(key, bench, row, options)
    except Exception as error:
        traceback.print_exc()
        row["error"] = f"{type(error).__name__}: {error}"
    return row


# ------------------------------------------------------------------------------------------ the library's kernels


def ours(key: Mapping[str, str], bench: Bench, iterations: int, scratch: Path) -> dict[str, Any]:
    """Compile, run with checks on real data, and time every tactic."""
    from aotfactory import arch, build
    from aotfactory.bundle import Bundle, write
    from aotfactory.compile import Options, compile_network
    from aotfactory.run.launcher import Timing, run_launcher

    recipe, network = network_of(key, bench)
    results = compile_network(network, Options(archs=(arch.native_arch(),)), lambda name: None)
    wrong = [f"{c.name} of {r.id}: {c.detail}" for r in results for c in r.checks if c.status == "failed"]
    if wrong:
        raise RuntimeError("; ".join(wrong))
    variants = {r.tactic: r.variant for r in results if r.variant is not None}
    path = scratch / f"{recipe.name}.aot"
    write(Bundle(network=network, variants=tuple(variants.values()), versions=build.versions()), path)
    timing = Timing(iterations=iterations, input_sets=0, graph=True, copy_baseline=True)
    found = run_launcher(path, tactic="all", timing=timing, at="opt")
    tactics, copies = {}, []
    for run in found.runs:
        time_of = run.timing
        assert time_of is not None
        times = time_of["pass"]
        variant = variants[run.tactic]
        assert variant is not None
        tactics[str(run.tactic)] = {
            "us": min(times["graph_us"]["median"], times["us"]["median"]),
            "p5": times["graph_us"]["p5"],
            "p95": times["graph_us"]["p95"],
            "registers": variant.registers,
            "spills": variant.spills,
            "threads": run.launches[0]["block"][0],
            "shared_mem": run.launches[0]["shared_mem"],
        }
        copies.append(max(time_of["copy"]["graph_gb_per_s"], time_of["copy"]["gb_per_s"]))
    best = min(tactics, key=lambda t: float(tactics[t]["us"]))
    moved = found.runs[0].timing["bytes_moved"] if found.runs[0].timing else 0
    copy = statistics.median(copies)
    us = tactics[best]["us"]
    return {
        "bytes": moved,
        "us": us,
        "gb_per_s": moved / us / 1000,
        "copy_gb_per_s": copy,
        "of_copy": moved / us / 1000 / copy,
        "tactic": int(best),
        "tactics": tactics,
        "input_sets": found.runs[0].timing["input_sets"] if found.runs[0].timing else 0,
    }


def network_of(key: Mapping[str, str], bench: Bench) -> tuple[Any, Any]:
    """The recipe, applied once, at the row's shapes."""
    from aotfactory import network_builder
    from aotfactory.catalog import Catalog
    from aotfactory.network import NetworkInput, Profile

    recipe = Catalog().find(key["recipe"])
    if recipe is None:
        raise RuntimeError("aotfactory has no such recipe")
    inputs = []
    for item in recipe.inputs:
        opt = shapes_of(key, bench, recipe)[item.name]
        low, high = list(opt), list(opt)
        for axis, d in enumerate(item.dims):
            if key["profile"] == "dynamic" and d in (recipe.dynamic or item.dims):
                low[axis] = 1
                high[axis] *= 2 if d == recipe.inputs[0].dims[0] else 1
        profile = Profile(min=tuple(low), opt=opt, max=tuple(high))
        inputs.append(NetworkInput(name=item.name, dtype=key["dtype"], profile=profile, dims=item.dims))
    made = network_builder.chain(
        name=recipe.name,
        target=recipe.name,
        plugin_id=recipe.plugin,
        inputs=inputs,
        attributes={**recipe.attributes, **bench.attributes},
        outputs=recipe.outputs,
    )
    return recipe, made


def shapes_of(key: Mapping[str, str], bench: Bench, recipe: Any = None) -> dict[str, tuple[int, ...]]:
    from aotfactory.catalog import Catalog

    recipe = recipe or Catalog().find(key["recipe"])
    sizes = bench.sizes[key["shape"]]
    return {item.name: tuple(sizes[d] for d in item.dims) for item in recipe.inputs}


def inputs_of(key: Mapping[str, str], bench: Bench) -> dict[str, Any]:
    """Data by name: normal numbers; the grid is the image's own, each point moved by up to a pixel."""
    import numpy as np

    from aotfactory import dtypes

    rng = np.random.default_rng(0)
    element = dtypes.find(key["dtype"]).array
    found = {}
    for name, shape in shapes_of(key, bench).items():
        if name == "grid":
            _, height, width, _ = shape
            across, down = (np.arange(n, dtype=np.float32) * 2 / n - 1 + 1 / n for n in (width, height))
            place = np.stack(np.broadcast_arrays(across[None, :], down[:, None]), -1)[None]
            moved = place + rng.uniform(-2, 2, shape).astype(np.float32) / np.array([width, height], np.float32)
            found[name] = moved.astype(element)
        else:
            found[name] = rng.standard_normal(shape, dtype=np.float32).astype(element)
    return found


# ----------------------------------------------------------------------------------------------------- the rivals


def rivals(key: Mapping[str, str], bench: Bench, row: Mapping[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Times of PyTorch, torch.compile and the naive kernel, and how many times ours each takes."""
    import naive_kernels
    import torch

    recipe, _ = network_of(key, bench)
    attributes = {**recipe.attributes, **bench.attributes}
    first = {name: as_torch(array) for name, array in inputs_of(key, bench).items()}
    sets = [{n: t.clone() for n, t in first.items()} for _ in range(max(int(row["input_sets"]), 1))]
    expected = tensors(bench.torch(**{n: t.clone() for n, t in first.items()}, **attributes))
    found: dict[str, Any] = {}
    for rival in options.rivals.split(","):
        if not rival or (rival == "compile" and not bench.compiled):
            continue
        try:
            torch._dynamo.reset()
            if rival == "naive":
                calls = [naive_kernels.launcher(recipe.name, s, attributes, expected) for s in sets]
            else:
                work = torch.compile(bench.torch, dynamic=False) if rival == "compile" else bench.torch
                calls = [bound(work, s, attributes) for s in sets]
            if calls[0] is None:
                continue
            if recipe.name == "non_zero":  # waits for the GPU itself, which a graph cannot hold
                found[f"{rival}_us"] = timed_alone(calls, options.iterations)
            else:
                check(calls[0](), expected, key["dtype"])
                found[f"{rival}_us"] = timed(calls, options.iterations)
            found[f"{rival}_ratio"] = found[f"{rival}_us"] / row["us"]
        except Exception as error:
            found[f"{rival}_error"] = f"{type(error).__name__}: {error}"[:300]
            torch.cuda.synchronize()
        for given in sets:  # some work in place
            for name, tensor in first.items():
                given[name].copy_(tensor)
    return found


def bound(work: Callable[..., Any], given: dict[str, Any], attributes: dict[str, Any]) -> Callable[[], Any]:
    return lambda: work(**given, **attributes)


def tensors(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


def as_torch(array: Any) -> Any:
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view("int16")).view(torch.bfloat16).cuda()
    return torch.from_numpy(array).cuda()


def check(result: Any, expected: list[Any], dtype: str) -> None:
    """Raise if a rival does other work than PyTorch: outputs differ by more than rounding."""
    import torch

    for out, wanted_out in zip(tensors(result), expected, strict=True):
        a, b = out.float(), wanted_out.float()
        step = {torch.int8: 1, torch.float8_e4m3fn: 32}.get(out.dtype, 0)
        bad = (a - b).abs() > LOOSE[dtype] * (1 + b.abs()) + step
        if bad.float().mean().item() > 1e-4:
            raise RuntimeError(f"differs from PyTorch in {int(bad.sum())} of {bad.numel()} elements")


def timed(calls: list[Callable[[], Any]], iterations: int) -> float:
    """Microseconds of one call: the median over replays of a CUDA graph of all of them, several times over."""
    import torch

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls:
            call()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        rounds = math.ceil(10 / len(calls))
        with torch.cuda.graph(graph, stream=stream):
            for _ in range(rounds):
                for call in calls:
                    call()
        graph.replay()
        samples = []
        for _ in range(iterations):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            samples.append(begin.elapsed_time(end) * 1000 / (rounds * len(calls)))
    return statistics.median(samples)


def timed_alone(calls: list[Callable[[], Any]], iterations: int) -> float:
    """The same without a graph."""
    import torch

    samples = []
    for k in range(iterations + 10):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        calls[k % len(calls)]()
        end.record()
        end.synchronize()
        samples.append(begin.elapsed_time(end) * 1000)
    return statistics.median(samples[10:])


if __name__ == "__main__":
    sys.exit(main())
