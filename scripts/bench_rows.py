#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rows of any length: every tactic of the norms and softmax against PyTorch, torch.compile, Liger and QuACK, on a GPU.

    scripts/bench_rows.py --bundles DIR --compile sm_90      where Triton and aotfactory's kernels are; takes no GPU
    scripts/bench_rows.py --bundles DIR                      on the GPU: takes torch and the launcher
    scripts/bench_rows.py --merge FILE                       put another run's times into docs/results/rows.json
    scripts/bench_rows.py --render                           the table from docs/results/rows.json, by today's offers

Tactics that `autotune` does not offer are compiled too, where they are estimated to be NEAR: so the offer is checked.
Each tactic's outputs are compared with PyTorch's in float64. Times are medians of replayed CUDA graphs over as many
sets of tensors as do not fit in L2. Rivals that are not installed are left out: Liger (liger-kernel) and QuACK
(quack-kernels; it takes no odd lengths). One that is wrong or fails says so. The shapes most in question come first,
and results are written after each: --minutes may cut the rest off.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "rows.json"
NEAR = 1.2
"""Times the least estimate, up to which tactics are measured beside those that are offered."""

ISA = "8.6"
"""The oldest PTX ISA by which a cluster's exchange waits for its own shared memory alone."""

RIVALS = ("eager", "compile", "liger", "quack")
TITLES = {"eager": "PyTorch", "compile": "torch.compile", "liger": "Liger", "quack": "QuACK"}
Key = tuple[str, int, int, str]
"""Kernel, rows, their length, type."""

SOFTMAX = (
    (2048, 50257), (2048, 50256), (4096, 32000), (512, 128256), (16, 131072), (1, 151936), (64, 131072), (2048, 32001),
    (2048, 32000), (1, 32768), (512, 128257), (1, 262144), (132, 262144), (8, 50257), (1, 4096), (16, 4096), (64, 4096),
    (64, 16384), (64, 32768), (65536, 129), (16384, 4097), (8192, 8192), (65536, 1001), (16, 16384), (64, 1024),
    (65536, 128), (65536, 257),
)  # fmt: skip
NORM = (
    (2048, 50257), (2048, 50256), (2048, 32001), (2048, 32000), (1, 131072), (64, 131072), (1024, 65536), (2048, 32768),
    (16, 32768), (1, 32768), (1, 50257), (16384, 4097), (16384, 4096), (16, 4096), (1, 4096), (64, 4096), (64, 16384),
    (4096, 8192), (65536, 513), (8192, 8192), (64, 1024), (65536, 128), (16, 8192),
)  # fmt: skip
SHAPES = {"softmax": SOFTMAX, "rms_norm": NORM, "layer_norm": NORM}
OTHER_TYPES = (
    ("layer_norm", 2048, 50257), ("rms_norm", 2048, 50257), ("softmax", 2048, 50257), ("layer_norm", 1, 131072),
    ("softmax", 16, 131072), ("layer_norm", 2048, 50256), ("rms_norm", 2048, 50256), ("softmax", 2048, 50256),
    ("rms_norm", 64, 131072), ("layer_norm", 16, 4096), ("rms_norm", 4096, 8192), ("softmax", 512, 128256),
)  # fmt: skip
"""Shapes measured in fp32 and bf16 too."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=Path, help="where the compiled bundles are")
    parser.add_argument(
        "--compile",
        metavar="ARCH",
        default="",
        help="only make them, for this architecture",
    )
    parser.add_argument("--kernels", default=",".join(SHAPES))
    parser.add_argument("--only", help="these alone, each as softmax:2048x50257:fp16, comma-separated")
    parser.add_argument("--near", type=float, default=NEAR, help="compile tactics up to this times the least estimate")
    parser.add_argument("--dtypes", default="fp16,bf16,fp32")
    parser.add_argument("--minutes", type=float, default=60, help="shapes that were not reached by then are left out")
    parser.add_argument("--rivals", default=",".join(RIVALS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--render",
        action="store_true",
        help="only write the table beside --out, which ends in .md, of the tactics that are offered now",
    )
    parser.add_argument("--merge", type=Path, help="a later run's rows.json, whose times go into that of --out")
    options = parser.parse_args()
    if options.merge:
        result = merged(json.loads(options.out.read_text()), json.loads(options.merge.read_text()))
        options.out.write_text(json.dumps(result, indent=1) + "\n")
        options.render = True
    if not options.render and options.bundles is None:
        parser.error("--bundles is missing")
    if options.compile:
        with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
            made = [(k, options.bundles, options.compile, options.near) for k in keys(options)]
            pool.starmap(compile_bundle, made, chunksize=1)
        return 0
    if not options.render:
        measure(options)
    result = json.loads(options.out.read_text())
    if options.render:
        offer(result)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(markdown(result))
    return 0


def keys(options: argparse.Namespace) -> Iterator[Key]:
    """Those most in question first."""
    if options.only:
        yield from map(key_of, options.only.split(","))
        return
    wanted, dtypes = options.kernels.split(","), options.dtypes.split(",")
    if "fp16" in dtypes:
        for k in range(max(map(len, SHAPES.values()))):
            yield from ((n, *SHAPES[n][k], "fp16") for n in wanted if k < len(SHAPES[n]))
    for key in OTHER_TYPES:
        yield from ((*key, dtype) for dtype in dtypes if dtype != "fp16" and key[0] in wanted)


def key_of(text: str) -> Key:
    kernel, sizes, dtype = text.split(":")
    rows, cols = sizes.split("x")
    return kernel, int(rows), int(cols), dtype


def path_of(key: Key, bundles: Path) -> Path:
    return bundles / f"{key[0]}-{key[1]}x{key[2]}-{key[3]}.aot"


def compile_bundle(key: Key, bundles: Path, architecture: str, near_enough: float = NEAR) -> None:
    """A bundle of all tactics that a thread has registers for; beside it, which are offered, and all estimates."""
    from aotfactory.kernels import _row_tactics as row_tactics

    from aotfactory.api.making import versions
    from aotfactory.compiler import bundle
    from aotfactory.compiler.compile import Options, compile_network
    from aotfactory.core import arch
    from aotfactory.core.arch import PtxIsa
    from aotfactory.core.network import NetworkInput, Profile
    from aotfactory.plugins.aot_kernel import no_clusters
    from aotfactory.plugins.catalog import Catalog
    from aotfactory.targets import network_builder

    kernel, rows, cols, dtype = key
    recipe = Catalog().find(kernel)
    assert recipe is not None
    shapes = {i.name: (rows, cols) if i.name == "x" else (cols,) for i in recipe.inputs}
    inputs = [
        NetworkInput(
            name=n,
            dtype=dtype,
            profile=Profile.static(s),
            dims=tuple(f"{n}{k}" for k in range(len(s))),
        )
        for n, s in shapes.items()
    ]
    made = network_builder.chain(
        name=kernel, target=kernel, plugin_id=recipe.plugin, inputs=inputs, attributes=recipe.attributes,
        outputs=recipe.outputs,
    )  # fmt: skip
    offers: list[list[int]] = []
    estimates: dict[int, float] = {}
    offered = row_tactics.tactics

    def everything(x: Any, work: int, **rest: Any) -> list[int]:
        offers.append(offered(x, work, **rest))
        of = row_tactics.rows_of(x, work, **rest)
        alike: dict[tuple[Any, ...], int] = {}
        for n in row_tactics.TACTICS:
            if math.isfinite(time := row_tactics.estimate(of, n)):
                estimates[n] = time
                alike.setdefault(tuple(row_tactics.arguments(of, n).values()), n)
        near = [n for n in alike.values() if estimates[n] <= near_enough * min(estimates.values())]
        if no_clusters():
            near = [n for n in near if not isinstance(row_tactics.TACTICS[n], row_tactics.Cluster)]
        return sorted({*near, *offers[-1]})

    row_tactics.tactics = everything
    try:
        results = compile_network(
            made, Options(archs=arch.parse_archs(architecture), isa=PtxIsa.parse(ISA)), lambda name: None
        )
    finally:
        row_tactics.tactics = offered
    if wrong := [f"{c.name} of {r.id}: {c.detail}" for r in results for c in r.checks if c.status == "failed"]:
        raise RuntimeError("; ".join(wrong))
    variants = tuple(r.variant for r in results if r.variant is not None)
    path = path_of(key, bundles)
    bundle.write(bundle.Bundle(network=made, variants=variants, versions=versions()), path)
    path.with_suffix(".json").write_text(json.dumps({"offered": offers[-1], "estimates": estimates}))
    print(path.name, len(variants), offers[-1], flush=True)


def measure(options: argparse.Namespace) -> None:
    import row_rivals

    started, rivals = time.time(), options.rivals.split(",")
    paths = {key: path_of(key, options.bundles) for key in keys(options)}
    there = {key: path for key, path in paths.items() if path.with_suffix(".json").exists()}
    row_rivals.warm_all(there, rivals, options.jobs)
    print(f"all compiled: {time.time() - started:.0f} s", flush=True)
    result: dict[str, Any] = {"date": datetime.date.today().isoformat(), "rows": []}
    result |= {"machine": row_rivals.machine(), "compiled_by": {}}
    for key, path in there.items():
        if time.time() - started > options.minutes * 60:
            print(f"{path} was not reached in {options.minutes} minutes", flush=True)
            continue
        row: dict[str, Any] = dict(zip(("kernel", "rows", "cols", "dtype"), key, strict=True))
        manifest = json.loads((path / "manifest.json").read_text())
        result["compiled_by"] = manifest["versions"]
        row["registers"] = {
            v["tactic"]: [v["registers"], v["spills"], v.get("cluster", [1])[0]] for v in manifest["variants"]
        }
        row |= json.loads(path.with_suffix(".json").read_text())
        try:
            row |= row_rivals.ours(path, key)
            row["rivals"] = row_rivals.times(key, rivals)
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}"[:400]
        result["rows"].append(row)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
        print(line(row), flush=True)


def offer(result: Mapping[str, Any]) -> None:
    """Have each row name the tactics that are offered now: times do not change with what is offered."""
    from aotfactory.kernels import _row_tactics as row_tactics

    for row in result["rows"]:
        size = int(row["dtype"][-2:]) // 8
        work = importlib.import_module(f"aotfactory.kernels.{row['kernel']}").WORK
        count, cols, weights, pairs = (
            row["rows"],
            row["cols"],
            row["kernel"] != "softmax",
            row["kernel"] == "layer_norm",
        )
        rows = row_tactics.Rows(count, cols, cols, size, size, 16 // size, work, weights=weights, pairs=pairs)
        row["offered"] = row_tactics.offered(rows)


def merged(result: dict[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Later times in the place of earlier ones; of rivals that the later run left out, or that failed, the earlier."""
    run = max((row.get("run", 1) for row in result["rows"]), default=0) + 1
    rows = {tuple(row[n] for n in ("kernel", "rows", "cols", "dtype")): row for row in result["rows"]}
    for row in later["rows"]:
        if "error" in row:
            continue
        key = tuple(row[n] for n in ("kernel", "rows", "cols", "dtype"))
        before = rows.get(key, {"rivals": {}})
        since = {n: before.get("since", {}).get(n, before.get("run", 1)) for n in before["rivals"]}
        new = {n: t for n, t in row["rivals"].items() if isinstance(t, float) or n not in before["rivals"]}
        rows[key] = {
            **row,
            "rivals": before["rivals"] | new,
            "run": run,
            "since": {n: run if n in new else since[n] for n in before["rivals"] | new},
        }
    return {**result, "machine": result["machine"] | later["machine"], "rows": list(rows.values())}


def best(row: Mapping[str, Any]) -> tuple[int, float]:
    """The tactic that a build would take, of those offered; and its time."""
    tactic = min(row["offered"], key=lambda n: row["us"].get(str(n), row["us"].get(n, math.inf)))
    return tactic, row["us"].get(str(tactic), row["us"].get(tactic, math.inf))


def line(row: Mapping[str, Any]) -> str:
    what = f"{row['kernel']} {row['rows']}x{row['cols']} {row['dtype']}"
    if "error" in row:
        return f"{what}: {row['error']}"
    tactic, us = best(row)
    least = min(row["us"].values())
    others = " ".join(f"{n} {t / us:.2f}" if isinstance(t, float) else f"{n} -" for n, t in row["rivals"].items())
    wrong = f" WRONG {row['wrong']}" if row["wrong"] else ""
    return f"{what}: t{tactic} {us:.2f} us, of copy {row['copy_us'] / us:.2f}, of all {us / least:.2f}, {others}{wrong}"


def markdown(result: Mapping[str, Any]) -> str:
    good = [r for r in result["rows"] if "error" not in r]
    names = [n for n in RIVALS if any(isinstance(r["rivals"].get(n), float) for r in good)]
    where = ", ".join(f"{n} {v}" for n, v in result["machine"].items() if n != "gpu")
    columns = ["kernel", "rows x length", "type", "tactic", "blocks", "regs", "spills", "µs", "of copy"]
    columns += [*(TITLES[n] for n in names), "run", "missed"]
    lines = [
        f"# Rows of any length on an {result['machine']['gpu']}, {result['date']}",
        "",
        f"By `scripts/bench_rows.py`: {where}; ours by Triton {result['compiled_by'].get('triton')}, ISA {ISA}.",
        "Of copy: the time of a device copy of as many bytes, divided by ours. Under a rival: its time divided by",
        "ours; below 1 it is faster; with ' it is of an earlier run. Missed: our time divided by that of the fastest",
        "tactic there is, offered or not.",
        "",
        f"| {' | '.join(columns)} |",
        "|---|---|---|" + "---:|" * (len(columns) - 3),
    ]
    for row in good:
        tactic, us = best(row)
        registers, spills, blocks = row["registers"].get(str(tactic)) or row["registers"][tactic]
        cells = [row["kernel"], f"{row['rows']} x {row['cols']}", row["dtype"], tactic, blocks, registers, spills]
        cells += [f"{us:.2f}", f"{row['copy_us'] / us:.2f}"]
        for n in names:
            t = row["rivals"].get(n)
            earlier = "'" if row.get("since", {}).get(n, row.get("run", 1)) != row.get("run", 1) else ""
            cells.append(f"{t / us:.2f}{earlier}" if isinstance(t, float) else "-")
        cells.append(row.get("run", 1))
        cells.append(f"{us / min(row['us'].values()):.2f}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", *summary(good, names), ""]
    if failed := [line(r) for r in result["rows"] if "error" in r]:
        lines += ["Failed: " + "; ".join(failed), ""]
    return "\n".join(lines)


def summary(good: list[Mapping[str, Any]], names: list[str]) -> list[str]:
    found = []
    for n in names:
        ratios = [r["rivals"][n] / best(r)[1] for r in good if isinstance(r["rivals"].get(n), float)]
        behind = sum(x < 1 / 1.03 for x in ratios)
        found.append(
            f"* {TITLES[n]}: {len(ratios)} shapes, ours ahead at {sum(x > 1 for x in ratios)}, slower by more than 3 % "
            f"at {behind}, by more than 10 % at {sum(x < 1 / 1.1 for x in ratios)}; the least ratio {min(ratios):.2f}."
        )
    ahead = sum(all(t > best(r)[1] for t in r["rivals"].values() if isinstance(t, float)) for r in good)
    found.append(f"* Ahead of all of them at {ahead} of {len(good)}.")
    at = {(r["kernel"], r["rows"], r["cols"], r["dtype"]): best(r)[1] for r in good}
    for (kernel, rows, cols, dtype), us in at.items():
        if cols % 8 == 1 and (even := at.get((kernel, rows, cols - 1, dtype))):
            found.append(f"* {kernel} {dtype} of {rows} x {cols} takes {us / even:.2f} of the time of {cols - 1}.")
    offered = sum(best(r)[1] <= 1.02 * min(r["us"].values()) for r in good)
    most = max(len(r["offered"]) for r in good)
    found.append(
        f"* The offered tactics, at most {most}, hold the fastest or one within 2 % at {offered} of {len(good)}."
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
