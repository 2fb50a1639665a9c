#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Why long rows are behind: Nsight Compute's counters of our kernels and of the rivals', at shapes of bench_rows.py.

    scripts/profile_rows.py --bundles DIR                    bundles by `bench_rows.py --compile`
    scripts/profile_rows.py --render                         the table from docs/results/rows-profiles.json

Each of `bench_rows.py`'s bundles gives the tactics that `--tactics` names, or the first that is offered. A rival's call
is run twice before the one that is profiled; of one that launches several kernels, times and bytes are summed, and the
rest is of the longest. Caches are flushed before each kernel, clocks are left as they are. Takes a GPU, PyTorch and ncu
on the PATH.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import bench_rows
import counters

RESULTS = bench_rows.RESULTS.with_name("rows-profiles.json")
MORE = {
    "barrier_pct": "smsp__warp_issue_stalled_barrier_per_warp_active.pct",
    "membar_pct": "smsp__warp_issue_stalled_membar_per_warp_active.pct",
    "throttled_pct": "smsp__warp_issue_stalled_lg_throttle_per_warp_active.pct",
    "l2_hit_pct": "lts__t_sector_hit_rate.pct",
    "l2_read_mb": "lts__t_sectors_srcunit_tex_op_read.sum",
    "sectors_per_load": "l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_ld.ratio",
    "local_mb": "l1tex__t_bytes_pipe_lsu_mem_local_op_ld.sum",
    "shared_mb": "l1tex__data_pipe_lsu_wavefronts_mem_shared.sum",
    "registers": "launch__registers_per_thread",
    "threads": "launch__block_size",
    "blocks": "launch__grid_size",
    "waves": "launch__waves_per_multiprocessor",
    "shared_kb": "launch__shared_mem_per_block",
    "cluster": "launch__cluster_dim_x",
    "cluster_y": "launch__cluster_dim_y",
    "clusters_at_once": "launch__cluster_max_active",
}
SCALES = counters.SCALE | {"l2_read_mb": 32e-6, "local_mb": 1e-6, "shared_mb": 128e-6, "shared_kb": 1 / 1024}
"""L2 counts sectors of 32 bytes, shared memory wavefronts of 128."""

ALL = counters.METRICS | MORE
SUMMED = ("us", "read_mb", "written_mb", "l2_read_mb", "local_mb", "shared_mb")
MISSED = {
    "layer_norm:1x131072:fp32": ("compile", "quack"),
    "softmax:1x262144:fp16": ("quack",),
    "softmax:132x262144:fp16": ("quack",),
    "softmax:64x131072:fp16": ("quack",),
    "layer_norm:2048x50256:fp32": ("quack",),
    "rms_norm:64x131072:fp32": ("quack",),
    "layer_norm:2048x50257:fp16": (),
    "layer_norm:2048x50256:fp16": ("quack",),
    "layer_norm:2048x32001:fp16": (),
    "layer_norm:2048x32000:fp16": (),
}
"""Shapes where ours was behind, with those who were ahead; and odd lengths beside even ones."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=Path)
    parser.add_argument("--tactics", default="", help="of ours: layer_norm:2048x50257:fp16=9+14,...")
    parser.add_argument("--ours", action="store_true", help="no rivals")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--call", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        call(*options.call)
        return 0
    if not options.render:
        if options.bundles is None:
            parser.error("--bundles is missing")
        measure(options)
    options.out.with_suffix(".md").write_text(markdown(json.loads(options.out.read_text())))
    return 0


def measure(options: argparse.Namespace) -> None:
    import row_rivals

    wanted = dict(item.split("=") for item in options.tactics.split(",") if item)
    result: dict[str, Any] = {"date": datetime.date.today().isoformat(), "machine": row_rivals.machine(), "rows": []}
    with tempfile.TemporaryDirectory(prefix="aotfactory-profile-") as scratch:
        log = Path(scratch) / "ncu.csv"
        command = counters.command(ALL, log)
        for shape, rivals in MISSED.items():
            path = bench_rows.path_of(bench_rows.key_of(shape), options.bundles)
            if not path.with_suffix(".json").exists():
                continue
            offered = json.loads(path.with_suffix(".json").read_text())["offered"]
            tactics = [int(n) for n in wanted[shape].split("+")] if shape in wanted else offered[:1]
            made = json.loads((path / "manifest.json").read_text())["variants"]
            isa = {variant["tactic"]: variant["ptx_isa"] for variant in made}
            for who in [*tactics, *(() if options.ours else rivals)]:
                row: dict[str, Any] = {"shape": shape, "by": who, "isa": isa.get(who)}
                try:
                    if isinstance(who, int):
                        ours(path, shape, who, command)
                    else:
                        rival(shape, who, command)
                    kernels = counters.of_kernels(log, ALL, SCALES)
                    # The launcher runs a kernel twice: the second is the one kept.
                    row |= together(kernels[-1:] if isinstance(who, int) else kernels)
                except Exception as error:
                    row["error"] = f"{type(error).__name__}: {error}"[:300]
                result["rows"].append(row)
                options.out.write_text(json.dumps(result, indent=1) + "\n")
                print(json.dumps(row), flush=True)


def ours(path: Path, shape: str, tactic: int, wrapper: list[str]) -> None:
    import row_rivals
    from bench_rivals import as_array

    from aotfactory.executors.native.launcher import run_launcher

    given = {n: as_array(t) for n, t in row_rivals.data_of(bench_rows.key_of(shape)).items()}
    run_launcher(path, inputs=given, tactic=tactic, tight=True, check=False, save_outputs=False, wrapper=wrapper)


def rival(shape: str, name: str, command: list[str]) -> None:
    """Runs this script under ncu, which calls the rival."""
    called = [*command, "--profile-from-start", "off", sys.executable, __file__, "--call", shape, name]
    subprocess.run(called, check=True, capture_output=True, text=True, timeout=120)


def call(shape: str, name: str) -> None:
    import row_rivals
    import torch

    key = bench_rows.key_of(shape)
    run, given = row_rivals.function(name, key[0]), row_rivals._given(name, key[0], row_rivals.data_of(key))
    with torch.no_grad():
        for _ in range(2):
            run(*given)
        torch.cuda.synchronize()
        torch.cuda.profiler.start()
        run(*given)
        torch.cuda.synchronize()
        torch.cuda.profiler.stop()


def together(kernels: list[dict[str, Any]]) -> dict[str, Any]:
    """The longest of them; but times and bytes of all."""
    longest = max(kernels, key=lambda k: k["us"] or 0)
    found = {n: v for n, v in longest.items() if v is not None and n != "name"}
    found |= {n: round(sum(k[n] or 0 for k in kernels), 2) for n in SUMMED}
    return found | {"kernels": [k["name"] for k in kernels]}


COLUMNS = {
    "µs": "us", "DRAM": "dram_pct", "MB read": "read_mb", "MB written": "written_mb", "L2": "l2_pct",
    "L2 hits": "l2_hit_pct", "MB from L2": "l2_read_mb", "sectors": "sectors_per_load", "issue": "issue_pct",
    "occupancy": "occupancy_pct", "for data": "waiting_pct", "at barriers": "barrier_pct", "for stores": "membar_pct",
    "blocks": "blocks", "threads": "threads", "cluster": "cluster", "clusters at once": "clusters_at_once",
    "registers": "registers", "shared KB": "shared_kb", "MB spilled": "local_mb",
}  # fmt: skip


def markdown(result: Mapping[str, Any]) -> str:
    where = ", ".join(f"{n} {v}" for n, v in result["machine"].items() if n != "gpu")
    lines = [
        f"# Counters of long rows on an {result['machine']['gpu']}, {result['date']}",
        "",
        f"By `scripts/profile_rows.py`: {where}. One launch under Nsight Compute, caches flushed before, clocks as",
        "they are: times are longer than in [the table](rows.md). DRAM, L2 and issue (schedulers) in percent of their",
        "peak; occupancy of the warps a multiprocessor can hold; sectors: of 32 bytes, that a warp's load takes from",
        "L1 (16: all of 512 bytes); for data (long scoreboard), at barriers and for stores (membar): of a warp's time.",
        "",
        f"| shape | by | {' | '.join(COLUMNS)} |",
        "|---|---|" + "---:|" * len(COLUMNS),
    ]
    for row in result["rows"]:
        if "error" in row:
            continue
        by = f"tactic {row['by']}, ISA {row['isa']}" if isinstance(row["by"], int) else bench_rows.TITLES[row["by"]]
        row = {**row, "cluster": max(_cells(row, ("cluster", "cluster_y"), 1))}
        cells = [f"{row[n]:g}" if row.get(n) is not None else "-" for n in COLUMNS.values()]
        lines.append(f"| {row['shape'].replace(':', ' ')} | {by} | {' | '.join(cells)} |")
    failed = [f"{r['shape']} by {r['by']}: {r['error']}" for r in result["rows"] if "error" in r]
    return "\n".join([*lines, "", *(["Failed: " + "; ".join(failed), ""] if failed else [])])


def _cells(row: Mapping[str, Any], names: Iterable[str], least: float) -> list[float]:
    return [least, *(float(row[n]) for n in names if row.get(n))]


if __name__ == "__main__":
    sys.exit(main())
