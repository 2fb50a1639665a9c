# SPDX-License-Identifier: Apache-2.0
"""Nsight Compute's counters, for the scripts that say what limits a kernel. Clocks are left as they are."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def command(metrics: Mapping[str, str], log: Path) -> list[str]:
    """What a program is run under for these metrics of its kernels; they come to a file of comma-separated values."""
    if (ncu := shutil.which("ncu")) is None:
        raise SystemExit("ncu is not on the PATH: it comes with the CUDA toolkit")
    options = ["--csv", "--print-units", "base", "--clock-control", "none", "--log-file", str(log)]
    return [ncu, *options, "--metrics", ",".join(metrics.values())]


def of_kernels(log: Path, metrics: Mapping[str, str], scales: Mapping[str, float]) -> list[dict[str, Any]]:
    """Of each kernel, in the order of their launches; None is what this ncu or GPU does not count."""
    lines = [line for line in log.read_text().splitlines() if line.startswith('"')]
    kernels: dict[str, dict[str, Any]] = {}
    for row in csv.DictReader(lines):
        kernel = kernels.setdefault(row["ID"], {"name": row["Kernel Name"][:60]})
        kernel[row["Metric Name"]] = row["Metric Value"]
    return [
        {"name": k["name"], **{n: _number(k.get(m, ""), scales.get(n, 1)) for n, m in metrics.items()}}
        for k in kernels.values()
    ]


def _number(text: str, scale: float) -> float | None:
    try:
        value = float(text.replace(",", "")) * scale
    except ValueError:  # "n/a"
        return None
    return round(value, 2) if math.isfinite(value) else None
