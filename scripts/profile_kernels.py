#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What limits a kernel: Nsight Compute's counters of rows of bench_kernels.py, each tactic once.

Prints how busy memory, L2, L1 and the schedulers are, in percent of their peak, for how much of their time warps wait
for data from L1 or beyond, and the bytes of DRAM traffic. Clocks are left as they are. `bench_kernels.py --render`
shows the result. Takes a GPU, PyTorch and ncu on the PATH:

    python scripts/profile_kernels.py --cases grid_sample --shapes large --dtypes fp16
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import bench_kernels as bench
from bench_cases import BENCHES

from aotfactory.compiler import bundle
from aotfactory.core.files import replace_file
from aotfactory.executors.native.launcher import run_launcher

METRICS = {
    "us": "gpu__time_duration.sum",
    "dram_pct": "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "l2_pct": "lts__throughput.avg.pct_of_peak_sustained_elapsed",
    "l1_pct": "l1tex__throughput.avg.pct_of_peak_sustained_elapsed",
    "issue_pct": "sm__inst_issued.avg.pct_of_peak_sustained_elapsed",
    "occupancy_pct": "sm__warps_active.avg.pct_of_peak_sustained_active",
    "waiting_pct": "smsp__warp_issue_stalled_long_scoreboard_per_warp_active.pct",
    "read_mb": "dram__bytes_read.sum",
    "written_mb": "dram__bytes_write.sum",
}
SCALE = {"us": 1e-3, "read_mb": 1e-6, "written_mb": 1e-6}
"""From ncu's base units, nanoseconds and bytes."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(BENCHES))
    parser.add_argument("--shapes", default="large")
    parser.add_argument("--dtypes", default="fp16")
    parser.add_argument("--profiles", default="static")
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--bundles", type=Path, help="as of bench_kernels.py")
    parser.add_argument("--out", type=Path, default=bench.RESULTS.with_name("profiles.json"))
    options = parser.parse_args()
    options.rivals, options.compile = [], ""
    for name in ("cases", "shapes", "profiles"):
        setattr(options, name, getattr(options, name).split(","))
    ncu = shutil.which("ncu")
    if ncu is None:
        raise SystemExit("ncu is not on the PATH: it comes with the CUDA toolkit")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="aotfactory-profile-") as scratch:
        keys, bundles = list(bench.wanted(options)), options.bundles or Path(scratch)
        for key, problem in zip(keys, bench.prepare(keys, bundles, options), strict=True):
            if problem:
                raise SystemExit(problem)
            path = bench.path_of(key, bundles)
            for tactic in sorted({v.tactic for v in bundle.read(path).variants}):
                row = {**key, "tactic": tactic, **profiled(key, path, tactic, ncu, Path(scratch) / "ncu.csv")}
                rows.append(row)
                print(json.dumps(row), flush=True)
    result = {"date": bench.today(), "machine": bench.machine(), "rows": rows}
    replace_file(options.out, json.dumps(result, indent=1).encode() + b"\n")
    return 0


def profiled(key: bench.Key, path: Path, tactic: int, ncu: str, log: Path) -> dict[str, float]:
    wrapper = [ncu, "--csv", "--print-units", "base", "--clock-control", "none", "--log-file", str(log)]
    wrapper += ["--metrics", ",".join(METRICS.values())]
    run_launcher(path, inputs=bench.inputs_of(key), tactic=tactic, tight=True, save_outputs=False, wrapper=wrapper)
    lines = [line for line in log.read_text().splitlines() if line.startswith('"')]
    found = {row["Metric Name"]: float(row["Metric Value"].replace(",", "")) for row in csv.DictReader(lines)}
    # The launcher runs a kernel twice: the second launch is the last in the file, and the one kept.
    return {name: round(found[metric] * SCALE.get(name, 1), 1) for name, metric in METRICS.items()}


if __name__ == "__main__":
    sys.exit(main())
