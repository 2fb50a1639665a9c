#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plugin libraries on a GPU: every recipe, type, tactic and shape against its reference, through a C++ driver.

    scripts/road_gpu.py --prepare sm_90 --dir DIR       anywhere with TensorRT's headers: fill DIR with a library of all
                                                        recipes and a driver that calls it as TensorRT does
    scripts/road_gpu.py --dir DIR --out FILE.json       on the GPU, which needs neither headers nor a compiler

The second has these parts (`--parts`), one after the other:

- check: each tactic in a stream and in a CUDA graph, from eight threads with streams and plugins of their own, on every
  GPU of the machine at once where it has several, and through 10,000 changes of shape, whose host memory is compared;
  enqueue timed beside bare driver calls; compute-sanitizer where that is. Three plugins of the tests are among them,
  for what only a library's kernels have.
- leaks: one process after the other has the GPU alone and changes shapes 10,000 times, after which the GPU's free
  memory must be the same.
- speed: kernels at large shapes in each tactic, beside a copy and PyTorch, where that is; their results are compared.
- launcher: what only a library can launch, by the launcher, which poisons and guards workspaces.
- counters: not by default; Nsight Compute's, of the cases that `--counters` names.

With --dry-run it does all that needs no GPU: types, shapes, formats and tactics are compared, nothing is launched.
Exits with 1 if anything is wrong.

The GPU's machine needs DIR, and Python with what scripts/gpu_check.py needs there.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from gpu_check import gpu
from road_cases import Row, name_of, prepare
from road_check import check, launch_all, leaks
from road_speed import compare_speed, counters


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="where library, driver and bundles are, or go")
    parser.add_argument("--prepare", metavar="ARCH", default="", help="only fill --dir, for this architecture")
    parser.add_argument("--out", type=Path, default=Path("road-gpu.json"), help="where the results go")
    parser.add_argument("--recipes", default="", help="only these, comma-separated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="bundles at a time")
    parser.add_argument("--minutes", type=float, default=10, help="bundles that did not run by then say so")
    parser.add_argument(
        "--leaks", default="", help="recipes whose GPU memory is watched; by default one bundle of each"
    )
    parser.add_argument("--parts", default="check,leaks,speed,launcher", help="comma-separated")
    parser.add_argument("--cases", default="", help="what is timed, as patterns: 'groups-* softmax-*/fp32'")
    parser.add_argument("--counters", default="", help="whose counters: groups-huge=8,10 softmax-8x1048576=40")
    parser.add_argument("--dry-run", action="store_true", help="launch nothing")
    options = parser.parse_args()
    wanted = [name for name in options.recipes.split(",") if name]
    if options.prepare:
        return prepare(options.dir, options.prepare, wanted, options.jobs)
    started = time.time()
    paths = [p for p in sorted(options.dir.glob("bundles/*/*/*.aot")) if not wanted or p.stem in wanted]
    parts = ["check"] if options.dry_run else options.parts.split(",")
    rows = check_all(options, paths, started) if "check" in parts else []
    watched = [name for name in options.leaks.split(",") if name]
    alone = leaks(options.dir, paths, watched) if "leaks" in parts else []
    speed = compare_speed(options.dir, options.cases.split()) if "speed" in parts else []
    launched = launch_all(options.dir, paths) if "launcher" in parts else []
    counted = counters(options.dir, counted_cases(options.counters)) if "counters" in parts else []
    result = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["scripts/road_gpu.py", *sys.argv[1:]]),
        "machine": {} if options.dry_run else gpu(),
        "seconds": round(time.time() - started),
        "rows": rows,
        "alone": alone,
        "speed": speed,
        "launcher": launched,
        "counters": counted,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    all_rows = rows + alone + speed + launched + counted
    wrong = [f"{row['bundle']}: {problem}" for row in all_rows for problem in row["problems"]]
    print(
        summary(rows, alone),
        f"{len(launched)} bundles by the launcher",
        *wrong[:50],
        sep="\n",
        flush=True,
    )
    return 1 if wrong or not all_rows else 0


def counted_cases(text: str) -> dict[str, list[int]]:
    """Tactics by case, as "groups-huge=8,10" names them."""
    found = (word.split("=") for word in text.split())
    return {case: [int(n) for n in tactics.split(",")] for case, tactics in found}


def check_all(options: argparse.Namespace, paths: list[Path], started: float) -> list[Row]:
    rows: list[Row] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        done = [pool.submit(check, options.dir, path, options.dry_run) for path in paths]
        for path, row in zip(paths, done, strict=True):
            try:
                rows.append(row.result(max(1.0, started + options.minutes * 60 - time.time())))
            except TimeoutError:
                rows.append({"bundle": name_of(path), "problems": ["not run: out of time"]})
    return rows


def summary(rows: list[Row], alone: list[Row]) -> str:
    counted = ("runs", "graphs", "threads", "device_runs", "shape_changes", "sanitized")
    total = {key: sum(row.get(key, 0) for row in rows) for key in counted}
    gpus = max((row.get("devices", 0) for row in rows), default=0)
    grown = [row["shape_changes"]["gpu_bytes"] for row in alone if "shape_changes" in row]
    cost = next((row["host_cost"] for row in rows if "host_cost" in row), None)
    text = ", ".join(f"{value} {key}" for key, value in total.items())
    grown_text = f"GPU memory of {len(grown)} processes alone grew by at most {max(grown, default=None)} bytes"
    return (
        f"{len(rows)} bundles, {sum(bool(r['problems']) for r in rows)} with problems; {text}; GPUs: {gpus}; "
        f"host cost: {cost}; {grown_text}"
    )


if __name__ == "__main__":
    sys.exit(main())
