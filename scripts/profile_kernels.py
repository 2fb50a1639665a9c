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
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import bench_kernels as bench
import counters
from bench_cases import BENCHES

from aotfactory.compiler import bundle
from aotfactory.core.files import replace_file
from aotfactory.executors.native.launcher import run_launcher


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
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="aotfactory-profile-") as scratch:
        keys, bundles = list(bench.wanted(options)), options.bundles or Path(scratch)
        for key, problem in zip(keys, bench.prepare(keys, bundles, options), strict=True):
            if problem:
                raise SystemExit(problem)
            path = bench.path_of(key, bundles)
            for tactic in sorted({v.tactic for v in bundle.read(path).variants}):
                row = {**key, "tactic": tactic, **profiled(key, path, tactic, Path(scratch) / "ncu.csv")}
                rows.append(row)
                print(json.dumps(row), flush=True)
    result = {"date": bench.today(), "machine": bench.machine(), "rows": rows}
    replace_file(options.out, json.dumps(result, indent=1).encode() + b"\n")
    return 0


def profiled(key: bench.Key, path: Path, tactic: int, log: Path) -> dict[str, float]:
    wrapper = counters.command(counters.METRICS, log)
    run_launcher(path, inputs=bench.inputs_of(key), tactic=tactic, tight=True, save_outputs=False, wrapper=wrapper)
    # The launcher runs a kernel twice: the second launch is the last in the file, and the one kept.
    last = counters.of_kernels(log, counters.METRICS, counters.SCALE)[-1]
    return {name: round(last[name], 1) for name in counters.METRICS}


if __name__ == "__main__":
    sys.exit(main())
