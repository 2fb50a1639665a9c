# SPDX-License-Identifier: Apache-2.0
"""Time of builds with an earlier commit and with this one, in one run: the library's recipes at their default shapes.

    git worktree add /tmp/before 45d98be
    python scripts/judge_times.py --before /tmp/before --out docs/results/judge_times.json

Each build is a process of its own with empty caches, for one architecture. A process that has taken `--cap` seconds of
processor time is ended; such a build fails, and took longer than is told. Results are kept as they come; what is in the
file is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.parent

SHAPES = ("x=1x320x128x128", "weight=320", "bias=320")
FURTHER = [("group_norm_silu", *(part for shape in SHAPES for part in ("--shape", shape)), "--dtype", "fp16")]
"""The slowest build that was known before."""


def builds(tree: Path) -> list[list[str]]:
    """What to build: every recipe that both have, and what is known to be slow."""
    sys.path.insert(0, str(tree))
    from aotfactory.plugins.catalog import Catalog

    catalog = Catalog()
    catalog.load_all()
    return [*map(list, FURTHER), *([name] for name in sorted(catalog.recipes))]


def measured(tree: Path, build: list[str], cap: int) -> dict[str, Any]:
    """Seconds of processor time and on the clock of one build, and how it ended."""
    text = (tree / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^aotfactory = "([\w.]+):(\w+)"', text, re.MULTILINE)
    assert found
    program = f"from {found[1]} import {found[2]} as main; main()"
    with tempfile.TemporaryDirectory(prefix="aotfactory-times-") as folder:
        caches = {"AOTFACTORY_CACHE": f"{folder}/cache", "TRITON_CACHE_DIR": f"{folder}/triton"}
        environment = {**os.environ, **caches, "PYTHONPATH": str(tree)}
        command = [sys.executable, "-c", program, "build", *build, "--arch", "sm_90", "--out", f"{folder}/engines"]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(
            command,
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (cap, cap)),
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
    return {"cpu": round(processor, 1), "wall": round(time.monotonic() - began, 1), "exit": done.returncode}


def table(rows: list[dict[str, Any]]) -> str:
    """Builds with both times, the slowest before first, and the sums of those that were measured with both."""
    lines = ["| build | CPU s before | now | wall s before | now |", "|---|---|---|---|---|"]
    both = [r for r in rows if "before" in r and "now" in r]
    for row in sorted(both, key=lambda r: -r["before"]["cpu"]):
        cells = [
            f"{'> ' * (row[w]['exit'] != 0)}{row[w][what]:.0f}" for what in ("cpu", "wall") for w in ("before", "now")
        ]
        lines.append(f"| {row['build']} | {' | '.join(cells)} |")
    sums = [f"{sum(r[w][what] for r in both):.0f}" for what in ("cpu", "wall") for w in ("before", "now")]
    return "\n".join([*lines, f"| all {len(both)} | {' | '.join(sums)} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--before", type=Path, required=True, metavar="DIR", help="a worktree of the earlier commit")
    parser.add_argument("--cap", type=int, default=200, help="seconds of processor time for each process")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    known = {row["build"] for row in rows}
    for build in builds(HERE):
        if " ".join(build) in known:
            continue
        row: dict[str, Any] = {"build": " ".join(build)}
        for which, tree in (("now", HERE), ("before", arguments.before)):
            row[which] = measured(tree, build, arguments.cap)
        rows.append(row)
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
        print(row, file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
