#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time every recipe on this machine's GPU: against a device copy, PyTorch, torch.compile, and a naive kernel.

Each row is one recipe, size, data type and profile (static shapes, or a dynamic profile around them). The library's
kernel is compiled for this GPU and timed by aotfactory-launcher, every tactic, the fastest counts; the others run in
this process. All times are medians, on the GPU alone: between events around a CUDA graph of passes over as many sets of
tensors as do not fit in L2. Bytes are those of all inputs and outputs, each once; the copy, which the launcher makes in
the same run, moves as many between as many sets. Beside small shapes, an empty kernel is launched in the same way.

Rows go into --out as they are made; rows that it has already are left alone (--again does them anew), so a run may be
cut in slices: --cases rms_norm,softmax --shapes large --minutes 5. Compiling, which needs no quiet GPU, is done for all
rows first, several at a time; for the library's kernels it needs no GPU at all:

    scripts/bench_kernels.py --bundles /tmp/bundles --compile sm_90      on any machine
    scripts/bench_kernels.py --bundles /tmp/bundles                      on the GPU

With --render nothing is timed: the plot and the table in docs/kernels.md are made of --out, which takes matplotlib but
no GPU.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench_cases import BENCHES, PROFILES, SHAPES, Bench, Work
from bench_render import RIVALS, line, render
from gpu_check import gpu

from aotfactory.api import making
from aotfactory.api.tune import rank
from aotfactory.compiler import bundle, ptx
from aotfactory.compiler.compile import Options, compile_network
from aotfactory.core import arch
from aotfactory.core.files import replace_file
from aotfactory.core.network import Network, NetworkInput, Profile
from aotfactory.core.recipe import Recipe
from aotfactory.executors.native.launcher import build_launcher
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets import network_builder

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "kernels.json"
Key = dict[str, str]
"""What tells a row from others: case, shape, dtype and profile."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(BENCHES), help="only these of bench_cases.py, comma-separated")
    parser.add_argument("--shapes", default=",".join(SHAPES), help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--dtypes", default="fp32,fp16,bf16,int8")
    parser.add_argument("--profiles", default="static", help="static, dynamic (every dimension that may be), or both")
    parser.add_argument("--rivals", default=",".join(RIVALS), help="to time beside static ones: eager, compile, naive")
    parser.add_argument("--minutes", type=float, default=60, help="begin no row after this")
    parser.add_argument("--iterations", type=int, default=50, help="samples, of which the median counts")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="rows to compile at a time")
    parser.add_argument("--bundles", type=Path, help="keep compiled bundles here, and use those that are here")
    parser.add_argument("--compile", metavar="ARCH", default="", help="only fill --bundles, for this architecture")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="measure rows that --out has already")
    parser.add_argument("--render", action="store_true", help="only make the plot and the table of --out")
    options = parser.parse_args()
    for option, known in (("cases", BENCHES), ("shapes", SHAPES), ("rivals", RIVALS), ("profiles", PROFILES)):
        given = [n for n in getattr(options, option).split(",") if n]
        if unknown := [n for n in given if n not in known]:
            parser.error(f"--{option}: {', '.join(unknown)}; there are {', '.join(known)}")
        setattr(options, option, given)
    if options.render:
        render(json.loads(options.out.read_text()), options.out)
        return 0
    if options.compile:
        if options.bundles is None:
            parser.error("--compile takes --bundles")
        problems = [p for p in prepare(list(wanted(options)), options.bundles, options) if p]
        print(*problems, f"{len(problems)} rows failed to compile", sep="\n")
        return 1 if problems else 0
    with tempfile.TemporaryDirectory(prefix="aotfactory-bench-") as scratch:
        return time_all(options, options.bundles or Path(scratch))


def time_all(options: argparse.Namespace, bundles: Path) -> int:
    """Make the rows that --out does not have yet; the exit code."""
    result = json.loads(options.out.read_text()) if options.out.exists() else {"rows": []}
    here = machine()
    if result["rows"] and result["machine"] != here:
        raise SystemExit(f"{options.out} has rows of {result['machine']}, and this is {here}: give another --out")
    result["machine"] = here
    done = [row for row in result["rows"] if not options.again and complete(row, options)]
    keys = [key for key in wanted(options) if not any(same(row, key) for row in done)]
    deadline = time.monotonic() + 60 * options.minutes
    failed = skipped = 0
    for key, problem in zip(keys, prepare(keys, bundles, options), strict=True):
        if time.monotonic() > deadline:
            skipped += 1
            continue
        row = measured(key, bundles, options) if problem is None else {**key, "date": today(), "error": problem}
        failed += "error" in row
        result["rows"] = [r for r in result["rows"] if not same(r, key)] + [row]
        replace_file(options.out, json.dumps(result, indent=1).encode() + b"\n")
        print(line(row), flush=True)
    print(f"{len(result['rows'])} rows in {options.out}; {failed} failed, {skipped} not begun in time")
    return 1 if failed else 0


def wanted(options: argparse.Namespace) -> Iterator[Key]:
    """The rows to make, the large shapes first: they say most."""
    for shape in reversed([s for s in SHAPES if s in options.shapes]):
        for case in options.cases:
            bench = BENCHES[case]
            for dtype in (d for d in options.dtypes.split(",") if d in bench.dtypes and shape in bench.sizes):
                for profile in options.profiles:
                    yield {"case": case, "shape": shape, "dtype": dtype, "profile": profile}


def complete(row: Mapping[str, Any], options: argparse.Namespace) -> bool:
    return "error" not in row and (row["profile"] != "static" or {*options.rivals} <= {*row["rivals"]})


def same(row: Mapping[str, Any], key: Key) -> bool:
    return all(row[name] == value for name, value in key.items())


def today() -> str:
    return datetime.date.today().isoformat()


def machine() -> dict[str, str]:
    versions = {name: version(name) for name in ("torch", "triton")}
    return {**gpu(), "python": platform.python_version(), **versions}


def network_of(key: Key) -> Network:
    """The case's recipe, applied once, at the row's shapes."""
    bench = BENCHES[key["case"]]
    recipe = recipe_of(bench)
    shapes = shapes_of(key)
    inputs = []
    for item in recipe.inputs:
        opt = shapes[item.name]
        low, high = list(opt), list(opt)
        for axis, d in enumerate(item.dims):
            if key["profile"] == "dynamic" and d in (recipe.dynamic or item.dims):
                low[axis] = min(bench.least, opt[axis])
                high[axis] *= 2 if d == recipe.inputs[0].dims[0] else 1
        profile = Profile(min=tuple(low), opt=opt, max=tuple(high))
        inputs.append(NetworkInput(name=item.name, dtype=key["dtype"], profile=profile, dims=item.dims))
    return network_builder.chain(
        name=recipe.name,
        target=recipe.name,
        plugin_id=recipe.plugin,
        inputs=inputs,
        attributes={**recipe.attributes, **bench.attributes},
        outputs=recipe.outputs,
    )


def recipe_of(bench: Bench) -> Recipe:
    recipe = Catalog().find(bench.recipe)
    assert recipe is not None
    return recipe


def shapes_of(key: Key) -> dict[str, tuple[int, ...]]:
    bench = BENCHES[key["case"]]
    sizes = bench.sizes[key["shape"]]
    return {item.name: tuple(sizes[d] for d in item.dims) for item in recipe_of(bench).inputs}


# ------------------------------------------------------------------------------------------------------- compiling


def prepare(keys: list[Key], bundles: Path, options: argparse.Namespace) -> list[str | None]:
    """Compile all that the rows need, several at a time; what went wrong with each, or None."""
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # there are as many processes as cores already
    if not options.compile:
        os.environ["AOTFACTORY_LAUNCHER"] = str(build_launcher())
    # Processes of their own, since a CUDA context does not survive a fork.
    with multiprocessing.get_context("spawn").Pool(min(options.jobs, max(len(keys), 1))) as pool:
        return pool.starmap(prepared, [(key, bundles, options.rivals, options.compile) for key in keys], chunksize=1)


def prepared(key: Key, bundles: Path, rivals: list[str], only_for: str) -> str | None:
    try:
        path = path_of(key, bundles)
        if not path.exists():
            compile_bundle(key, path, only_for or "native")
        if key["profile"] == "static" and rivals and not only_for:
            import bench_rivals  # takes PyTorch, which the other steps do without

            bench_rivals.warm(work_of(key), rivals)
    except Exception as error:
        traceback.print_exc()
        return f"{' '.join(key.values())}: {type(error).__name__}: {error}"
    return None


def compile_bundle(key: Key, path: Path, architecture: str) -> None:
    made = network_of(key)
    results = compile_network(made, Options(archs=arch.parse_archs(architecture)), lambda name: None)
    if wrong := [f"{c.name} of {r.id}: {c.detail}" for r in results for c in r.checks if c.status == "failed"]:
        raise RuntimeError("; ".join(wrong))
    variants = tuple(r.variant for r in results if r.variant is not None)
    bundle.write(bundle.Bundle(network=made, variants=variants, versions=making.versions()), path)


def work_of(key: Key) -> Work:
    bench = BENCHES[key["case"]]
    attributes = {**recipe_of(bench).attributes, **bench.attributes}
    # Arrays as lists: torch.compile would make tensors of them.
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in attributes.items()}
    return Work(bench=bench, shapes=shapes_of(key), dtype=key["dtype"], attributes=plain)


def path_of(key: Key, bundles: Path) -> Path:
    return bundles / ("_".join(key.values()) + ".aot")


# ---------------------------------------------------------------------------------------------------------- timing


def measured(key: Key, bundles: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One row; an error is told in it, and the next rows go on."""
    bench = BENCHES[key["case"]]
    row: dict[str, Any] = {**key, "recipe": bench.recipe, "sizes": dict(bench.sizes[key["shape"]]), "date": today()}
    row["rivals"] = options.rivals if key["profile"] == "static" else []
    try:
        ranking = rank(path_of(key, bundles), inputs=inputs_of(key), iterations=options.iterations)
        best = ranking.tactics[0]
        row |= {"bytes": ranking.bytes_moved, "us": best.us, "gb_per_s": best.gb_per_s, "of_copy": best.of_copy}
        row |= {"copy_gb_per_s": ranking.copy_gb_per_s, "input_sets": ranking.input_sets}
        row["tactics"] = [asdict(t) for t in ranking.tactics]
        if key["shape"] == "small":
            empty = rank(empty_twin(path_of(key, bundles)), inputs=inputs_of(key), iterations=options.iterations)
            row["empty_us"] = next(t.us for t in empty.tactics if t.tactic == best.tactic)
            row["empty_ratio"] = best.us / row["empty_us"]
        if row["rivals"]:
            import bench_rivals

            found = bench_rivals.time_rivals(
                work_of(key), options.rivals, input_sets=ranking.input_sets, iterations=options.iterations
            )
            row |= found | {
                f"{n.removesuffix('_us')}_ratio": v / best.us for n, v in found.items() if n.endswith("_us")
            }
    except Exception as error:
        traceback.print_exc()
        row["error"] = f"{type(error).__name__}: {error}"
    return row


def empty_twin(path: Path) -> Path:
    """A bundle of kernels that do nothing, launched as the given one's: what a launch costs."""
    made = bundle.read(path)
    twin = path.with_name(f"empty-{path.name}")
    bundle.write(replace(made, variants=tuple(replace(v, text=emptied(v.text)) for v in made.variants)), twin)
    return twin


def emptied(text: str) -> str:
    module = ptx.parse_module(text)
    (entry,) = module.entries
    start, end = entry.body_span
    return module.text[:start] + "\n\tret;\n" + module.text[end:]


def inputs_of(key: Key) -> dict[str, Any]:
    """Data of the inputs for which it matters."""
    given = BENCHES[key["case"]].given
    if not given:
        return {}
    import bench_rivals

    data = bench_rivals.inputs_of(shapes_of(key), key["dtype"])
    return {name: bench_rivals.as_array(data[name]) for name in given}


if __name__ == "__main__":
    sys.exit(main())
