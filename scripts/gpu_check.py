#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Validate every recipe on this machine's GPU: data types, tactics, static and dynamic shapes, compute-sanitizer.

Shapes are small, static and dynamic from 1 on; and full, the recipe's own and down to half of them, where kernels take
other ways: long rows, large groups, words of narrow types.

Writes results.json and results.md, and exits with 1 if anything is wrong.

    scripts/gpu_check.py --out DIR                          on the GPU
    scripts/gpu_check.py --out DIR --compile sm_90          only the bundles, where a newer Triton is; takes no GPU
    scripts/gpu_check.py --out DIR --made                   on the GPU, of the bundles that are in DIR
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import json
import math
import multiprocessing
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from aotfactory.api import build, making
from aotfactory.api.validate import validate
from aotfactory.compiler.compile import Options
from aotfactory.core import arch
from aotfactory.core.errors import AotError
from aotfactory.core.recipe import Recipe
from aotfactory.executors.native.launcher import build_launcher, run_launcher
from aotfactory.executors.native.program import Timing
from aotfactory.plugins import tensorrt_api
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions

LARGEST = 2**18
"""Elements of an input: enough for many blocks of every tactic, and quick under compute-sanitizer."""

ISA = arch.PtxIsa(8, 6)
"""Of bundles for another machine: a cluster's exchange is cheaper from here on."""

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SHAPES = ("static", "dynamic", "full", "long")
LONG = 50257
"""Elements of a row in long shapes: a vocabulary, and no multiple of a vector."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One bundle: a recipe at a data type, with shapes of one of SHAPES."""

    recipe: str
    dtype: str
    shapes: str
    out: Path
    made: bool = False
    """Whether the bundle is there already."""

    @property
    def bundle(self) -> Path:
        return self.out / self.shapes / self.dtype / f"{self.recipe}.aot"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="where bundles and results go")
    parser.add_argument("--recipes", help="only these, comma-separated")
    parser.add_argument("--shapes", default=",".join(SHAPES), help="only these, comma-separated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cases at a time")
    parser.add_argument("--minutes", type=float, default=60, help="cases that did not run by then say so")
    parser.add_argument("--compile", metavar="ARCH", default="", help="only make the bundles, for this architecture")
    parser.add_argument("--made", action="store_true", help="check the bundles that --out has, instead of making them")
    options = parser.parse_args()
    kinds = options.shapes.split(",")
    if unknown := [s for s in kinds if s not in SHAPES]:
        parser.error(f"--shapes: {', '.join(unknown)}; there are {', '.join(SHAPES)}")
    started = time.time()
    catalog = Catalog()
    catalog.load_all()
    names = options.recipes.split(",") if options.recipes else sorted(catalog.recipes)
    cases = [
        Case(recipe=name, dtype=dtype, shapes=shapes, out=options.out, made=options.made)
        for name in names
        for dtype in catalog.recipes[name].dtypes
        for shapes in kinds
        if shapes != "long" or catalog.recipes[name].inputs[0].dims[-1:] in (("D",), ("K",))
    ]
    if options.made:
        cases = [case for case in cases if case.bundle.exists()]
    if options.compile:
        with multiprocessing.Pool(options.jobs, maxtasksperchild=1) as pool:
            for path in pool.imap_unordered(functools.partial(compile_case, architecture=options.compile), cases):
                print(path, flush=True)
        return 0
    os.environ["AOTFACTORY_LAUNCHER"] = str(build_launcher())
    rows = check_all(cases, options.jobs, started + options.minutes * 60)
    result = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["scripts/gpu_check.py", *sys.argv[1:]]),
        "machine": machine(),
        "seconds": round(time.time() - started),
        "launcher_overhead": host_overhead(rows),
        "rows": rows,
    }
    (options.out / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    text = markdown(result)
    (options.out / "results.md").write_text(text)
    print(text)
    return 1 if any(row["problems"] for row in rows) else 0


def check_all(cases: list[Case], jobs: int, deadline: float) -> list[dict[str, Any]]:
    """A row for every case, several at a time; those that are not done by the deadline say so."""
    rows = []
    with multiprocessing.Pool(jobs, maxtasksperchild=1) as pool:
        for case, result in [(case, pool.apply_async(check, (case,))) for case in cases]:
            try:
                rows.append(result.get(max(0.0, deadline - time.time())))
            except multiprocessing.TimeoutError:
                rows.append({**identity(case), "problems": ["not run: out of time"]})
    return rows


def identity(case: Case) -> dict[str, Any]:
    return {"recipe": case.recipe, "dtype": case.dtype, "shapes": case.shapes}


def check(case: Case) -> dict[str, Any]:
    """Compile, validate and sanitize one case: a row of the table."""
    row: dict[str, Any] = {**identity(case), "problems": []}
    try:
        path = case.bundle if case.made else compile_case(case)
        row["bundle"] = str(path)
        found = validate(path, executors=["launcher"])
        row["tactics"] = sum(1 for c in found if c.name == "launcher" and c.status == "passed")
        row["problems"] += [f"{c.name} of {c.subject}: {c.detail}" for c in found if c.status != "passed"]
        row["sanitizer"] = sanitize(path)
        row["problems"] += [f"{tool}: {errors}" for tool, errors in row["sanitizer"].items() if errors]
    except AotError as error:
        row["problems"].append(str(error))
    return row


def compile_case(case: Case, architecture: str = "") -> Path:
    """A bundle for this architecture, by default this GPU's."""
    recipe = Catalog().find(case.recipe)
    assert recipe is not None
    low, opt, high = profile(recipe, case.shapes)
    request = TargetOptions(dtype={None: case.dtype}, min_shape=low, opt_shape=opt, max_shape=high)
    report = build.build_bundle(
        case.recipe,
        request=request,
        options=Options(archs=arch.parse_archs(architecture or "native"), isa=ISA if architecture else None),
        out=case.bundle.parent,
        interpret=False,
    )
    if report.path is None:
        raise AotError("; ".join(f"{c.name}: {c.detail}" for c in report.failed))
    return report.path


def profile(recipe: Recipe, shapes: str) -> tuple[dict[str, tuple[int, ...]], ...]:
    """The smallest, usual and largest shape of each input: see above."""
    extents = full_extents(recipe) if shapes == "full" else small_extents(recipe)
    low, opt, high = {}, {}, {}
    if shapes == "long":
        at = {i.name: tuple({"D": LONG, "K": LONG, "S": 3, "Q": 3}.get(d, 1) for d in i.dims) for i in recipe.inputs}
        return at, at, at
    for item in recipe.inputs:
        names = item.dims or ("",) * len(item.shape)
        opt[item.name] = tuple(extents.get(d, n) for d, n in zip(names, item.shape, strict=True))
        free = [d in extents and shapes != "static" for d in names]
        least = [-(-n // 2) if shapes == "full" else 1 for n in opt[item.name]]
        most = [n if shapes == "full" else 2 * n for n in opt[item.name]]
        low[item.name] = tuple(a if f else n for f, a, n in zip(free, least, opt[item.name], strict=True))
        high[item.name] = tuple(b if f else n for f, b, n in zip(free, most, opt[item.name], strict=True))
    return low, opt, high


def full_extents(recipe: Recipe) -> dict[str, int]:
    """Extents of the dimensions that may vary: the recipe's own."""
    varying = {d for item in recipe.inputs for d in item.dims if d in (recipe.dynamic or item.dims)}
    return {d: n for i in recipe.inputs for d, n in zip(i.dims, i.shape, strict=True) if d in varying}


def small_extents(recipe: Recipe) -> dict[str, int]:
    """The recipe's own extents, halved until no input exceeds LARGEST elements."""
    extents = full_extents(recipe)

    def largest() -> int:
        shapes = ([extents.get(d, n) for d, n in zip(i.dims, i.shape, strict=True)] for i in recipe.inputs if i.dims)
        return max((math.prod(shape) for shape in shapes), default=0)

    while extents and largest() > LARGEST and max(extents.values()) > 1:
        name = max(extents, key=lambda d: extents[d])
        extents[name] //= 2
    return extents


def sanitize(path: Path) -> dict[str, int | str]:
    """Errors that each tool of compute-sanitizer finds in a run of every tactic, with exact allocations."""
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        return dict.fromkeys(TOOLS, "compute-sanitizer is not on the PATH")
    found: dict[str, int | str] = {}
    for tool in TOOLS:
        log = path.with_suffix(f".{tool}.log")
        problem = ""
        try:
            wrapper = [sanitizer, "--tool", tool, "--log-file", str(log)]
            run_launcher(path, tactic="all", tight=True, check=False, save_outputs=False, wrapper=wrapper, at="opt")
        except AotError as error:
            problem = str(error)
        summary = re.search(r"SUMMARY: (\d+)", log.read_text() if log.exists() else "")
        found[tool] = int(summary[1]) if summary and not problem else f"no summary; {problem[-300:]}"
    return found


def host_overhead(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The launcher's own time per launch, and a graph replay's, against a bare loop of cuLaunchKernel."""
    path = next((Path(row["bundle"]) for row in rows if row["shapes"] == "dynamic" and "bundle" in row), None)
    if path is None:
        return {}
    result = run_launcher(path, at="min", timing=Timing(graph=True, repeat=100))
    timing = result.runs[0].timing
    assert timing is not None
    return {"bundle": f"{path.parent.name} {path.name}", **timing["host"]}


def gpu() -> dict[str, str]:
    """Name and driver of GPU 0."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    name, driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0].split(", ")
    return {"gpu": name, "driver": driver}


def machine() -> dict[str, str]:
    tensorrt = tensorrt_api.load()
    kind = f"{tensorrt.version} ({tensorrt.kind})"
    versions = making.versions()
    return {**gpu(), "python": sys.version.split()[0], **versions, "tensorrt": kind}


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
        (
            f"{len(rows)} bundles, {len(wrong)} with problems. Each tactic ran with random and with adversarial "
            "data, at min, opt, max and an odd shape of the profile, with guard bands around every buffer and poisoned "
            "outputs; compute-sanitizer then ran every tactic at the opt shape with exact allocations."
        ),
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
