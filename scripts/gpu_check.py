#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Validate every recipe on this machine's GPU: data types, tactics, static and dynamic shapes, compute-sanitizer.

Writes results.json and results.md, and exits with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aotfactory import arch, build, tensorrt_api
from aotfactory.catalog import Catalog
from aotfactory.compile import Options
from aotfactory.errors import AotError
from aotfactory.recipe import Recipe
from aotfactory.run.launcher import Timing, run_launcher
from aotfactory.targets import Request
from aotfactory.validate import validate

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One bundle: a recipe at a data type, with static or dynamic shapes."""

    recipe: str
    dtype: str
    shapes: str
    path: Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="where bundles and results go")
    parser.add_argument("--recipes", help="only these, comma-separated")
    parser.add_argument("--jobs", type=int, default=min(8, os.cpu_count() or 1), help="sanitizer runs at a time")
    options = parser.parse_args()
    started = time.time()
    catalog = Catalog()
    catalog.load_all()
    names = options.recipes.split(",") if options.recipes else sorted(catalog.recipes)
    rows: list[dict[str, Any]] = []
    cases = []
    for name in names:
        recipe = catalog.recipes[name]
        for dtype in recipe.dtypes:
            for shapes in ("static", "dynamic"):
                row = {"recipe": name, "dtype": dtype, "shapes": shapes, "problems": []}
                rows.append(row)
                try:
                    cases.append((row, compile_case(recipe, dtype, shapes, options.out)))
                except AotError as error:
                    row["problems"].append(str(error))
    for row, case in cases:
        check(row, case)
    with ThreadPoolExecutor(options.jobs) as pool:
        for (row, _), found in zip(cases, pool.map(lambda item: sanitize(item[1]), cases), strict=True):
            row["sanitizer"] = found
            row["problems"] += [f"{tool}: {errors} errors" for tool, errors in found.items() if errors]
    overhead = host_overhead(cases)
    result = {
        "date": datetime.date.today().isoformat(),
        "command": "scripts/gpu_check.sh",
        "machine": machine(),
        "seconds": round(time.time() - started),
        "launcher_overhead": overhead,
        "rows": rows,
    }
    (options.out / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    text = markdown(result)
    (options.out / "results.md").write_text(text)
    print(text)
    return 1 if any(row["problems"] for row in rows) else 0


def compile_case(recipe: Recipe, dtype: str, shapes: str, out: Path) -> Case:
    """A bundle for this GPU; the dynamic one lets every dimension that may go from 1 to twice its default."""
    request = Request(dtype={None: dtype})
    if shapes == "dynamic":
        low, high = {}, {}
        for item in recipe.inputs:
            free = [d in (recipe.dynamic or item.dims) for d in item.dims] or [False] * len(item.shape)
            low[item.name] = tuple(1 if f else n for f, n in zip(free, item.shape, strict=True))
            high[item.name] = tuple(2 * n if f else n for f, n in zip(free, item.shape, strict=True))
        opt = {item.name: item.shape for item in recipe.inputs}
        request = Request(dtype={None: dtype}, min_shape=low, opt_shape=opt, max_shape=high)
    report = build.build_bundle(
        recipe.name,
        request=request,
        options=Options(archs=(arch.native_arch(),)),
        out=out / shapes / dtype,
        interpret=False,
    )
    if report.path is None:
        raise AotError("; ".join(f"{c.name}: {c.detail}" for c in report.failed))
    return Case(recipe=recipe.name, dtype=dtype, shapes=shapes, path=report.path)


def check(row: dict[str, Any], case: Case) -> None:
    checks = validate(case.path, executors=["launcher"])
    row["tactics"] = sum(1 for c in checks if c.name == "launcher" and c.status == "passed")
    row["problems"] += [f"{c.name} of {c.subject}: {c.detail}" for c in checks if c.status != "passed"]


def sanitize(case: Case) -> dict[str, int | str]:
    """Errors that each tool of compute-sanitizer finds in a run of every tactic, with exact allocations."""
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        return dict.fromkeys(TOOLS, "compute-sanitizer is not on the PATH")
    found: dict[str, int | str] = {}
    for tool in TOOLS:
        log = case.path.with_suffix(f".{tool}.log")
        problem = ""
        try:
            wrapper = [sanitizer, "--tool", tool, "--log-file", str(log)]
            run_launcher(case.path, tactic="all", tight=True, check=False, wrapper=wrapper, at="opt")
        except AotError as error:
            problem = str(error)
        summary = re.search(r"SUMMARY: (\d+)", log.read_text() if log.exists() else "")
        found[tool] = int(summary[1]) if summary and not problem else f"no summary; {problem[-300:]}"
    return found


def host_overhead(cases: list[tuple[dict[str, Any], Case]]) -> dict[str, Any]:
    """The launcher's own time per launch, and a graph replay's, against a bare loop of cuLaunchKernel."""
    path = next((case.path for _, case in cases if case.shapes == "dynamic"), None)
    if path is None:
        return {}
    result = run_launcher(path, at="min", timing=Timing(graph=True, repeat=100))
    return {"bundle": f"{path.parent.name} {path.name}", **result.runs[0].timing["host"]}


def machine() -> dict[str, str]:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    gpu, driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0].split(", ")
    tensorrt = tensorrt_api.load()
    kind = f"{tensorrt.version} ({tensorrt.kind})"
    versions = build.versions()
    return {"gpu": gpu, "driver": driver, "python": sys.version.split()[0], **versions, "tensorrt": kind}


def markdown(result: dict[str, Any]) -> str:
    rows = result["rows"]
    wrong = [row for row in rows if row["problems"]]
    lines = [
        f"# Every recipe on a {result['machine']['gpu']}, {result['date']}",
        "",
        f"Command: `{result['command']}` ({result['seconds']} s). "
        + ", ".join(f"{name} {value}" for name, value in result["machine"].items() if name != "gpu")
        + ".",
        "",
        f"{len(rows)} bundles, {len(wrong)} with problems. Each tactic ran with random and with adversarial data, at "
        "min, opt, max and an odd shape of the profile, with guard bands around every buffer and poisoned outputs; "
        "compute-sanitizer then ran every tactic at the opt shape with exact allocations.",
        "",
        "| recipe | type | shapes | tactics passed | " + " | ".join(TOOLS) + " | problems |",
        "|---|---|---|---|" + "---|" * len(TOOLS) + "---|",
    ]
    for row in rows:
        found = [str(row.get("sanitizer", {}).get(tool, "-")) for tool in TOOLS]
        problems = "; ".join(row["problems"]).replace("|", "/").replace("\n", " ") or "none"
        cells = [row["recipe"], row["dtype"], row["shapes"], str(row.get("tactics", 0)), *found, problems]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Host time of one launch: " + json.dumps(result["launcher_overhead"]), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
