#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table docs/results/corpus-h100.md from the JSON beside it, which corpus_gpu.py wrote."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "corpus-h100.json"

HEAD = """\
# Public kernels on an {gpu}, {date}

By `scripts/corpus_gpu.py`: driver {driver}, PyTorch {torch}, Triton {triton}; bundles compiled with {compiled_by}.
Validated: tactics that the launcher ran at the small shapes, random and adversarial data, with outputs equal to the
reference. µs: the bundle's fastest tactic at the large shapes, and the package's function launched through Triton's JIT
with the same arguments; medians of CUDA graphs. Ratio: ours by theirs. Apart: the largest difference between the two.

{validated} of {rows} kernels were validated. {timed} were timed: the median ratio is {median:.3f}, and {even} are at
1.01 or less.

| kernel | validated | ours, µs | Triton's, µs | ratio | apart | |
|---|---:|---:|---:|---:|---:|---|
"""


def main() -> None:
    result = json.loads(RESULTS.read_text())
    rows = result["rows"]
    ratios = [row["ratio"] for row in rows if "ratio" in row]
    head = HEAD.format(
        **result["machine"],
        date=result["date"],
        compiled_by=result["compiled_by"],
        rows=len(rows),
        validated=sum(bool(row.get("validated")) for row in rows),
        timed=len(ratios),
        median=statistics.median(ratios),
        even=sum(ratio <= 1.01 for ratio in ratios),
    )
    RESULTS.with_suffix(".md").write_text(head + "".join(map(line, rows)))


def line(row: dict[str, Any]) -> str:
    said = "; ".join(row.get("failed") or [row["error"]] if row.get("failed") or row.get("error") else [])
    apart = f"{row['apart']:.2g}" if "apart" in row else "-"
    cells = [row["wrapper"], row.get("validated") or "-", row.get("us", "-"), row.get("triton_us", "-")]
    cells += [row.get("ratio", "-"), apart, said.replace("|", "\\|")[:160]]
    return f"| {' | '.join(map(str, cells))} |\n"


if __name__ == "__main__":
    main()
