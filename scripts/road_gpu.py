#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plugin libraries on a GPU: every recipe, type, tactic and shape against its reference, through a C++ driver.

    scripts/road_gpu.py --prepare sm_90 --dir DIR       anywhere with TensorRT's headers: fill DIR with a library of all
                                                        recipes and a driver that calls it as TensorRT does
    scripts/road_gpu.py --dir DIR --out FILE.json       on the GPU, which needs neither headers nor a compiler

The second runs each tactic in a stream and in a CUDA graph, from eight threads with streams and plugins of their own,
on every GPU of the machine at once where it has several, and through 10,000 changes of shape, whose host memory it
compares; times enqueue beside bare driver calls; and runs compute-sanitizer where that is. Two plugins of the tests are
among them, for what only a library's kernels have; the launcher runs those too. Then, with nothing else on the GPU,
non_zero of 4096 x 4096 is timed and compared beside torch.nonzero where PyTorch is there; and one process after the
other changes shapes 10,000 times, after which the GPU's free memory must be the same. With --dry-run it does all that
needs no GPU: types, shapes, formats and tactics are compared, nothing is launched. Exits with 1 if anything is wrong.

The GPU's machine needs DIR, and Python with what scripts/gpu_check.py needs there.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from aotfactory.api.build import build_bundle
from aotfactory.api.library import library
from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.bundle import Bundle
from aotfactory.compiler.compile import Options
from aotfactory.core.arch import parse_archs
from aotfactory.executors import reference
from aotfactory.executors.cases import trials
from aotfactory.executors.native.launcher import build_launcher
from aotfactory.plan.library import library_document
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from gpu_check import gpu, profile
from plugin_cases import build_driver, case_of, outputs_of, run_of, wrong_answers

Row = dict[str, Any]

SHAPE_CHANGES, THREADS, LAUNCHES = 10_000, 8, 2_000

MODULES = Path(__file__).resolve().parent.parent / "tests" / "modules"
FOR_LIBRARY = {name: str(MODULES / f"{name}.py") for name in ("center", "pairs")}
"""Plugins of the tests whose kernels only a library can launch: in a row with a workspace, in clusters."""

SIDE, SAMPLES, COMPARED = 4096, 30, 0.5
"""Of the comparison with PyTorch: a square matrix for non_zero, samples of five calls each, and the share of zeros at
which the results are compared, too.
"""

LARGE: dict[str, tuple[str, tuple[str, ...], dict[str | None, tuple[int, ...]]]] = {
    "square": ("non_zero", ("fp32", "fp16", "bf16", "int8"), {None: (SIDE, SIDE)}),
    "groups-128": (
        "group_norm_silu",
        ("fp32", "fp16"),
        {"x": (2, 512, 128, 128), "weight": (512,), "bias": (512,)},
    ),
    "groups-huge": (
        "group_norm_silu",
        ("fp32", "fp16"),
        {"x": (1, 128, 512, 512), "weight": (128,), "bias": (128,)},
    ),
}
"""Recipe, types and shapes of what is timed."""
DEVICE_ROUNDS = 8
"""Runs of each thread on each GPU."""

LEAK = 8 << 20
"""Bytes that 10,000 changes of shape may leave the process larger by: what allocators keep."""


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
    parser.add_argument("--dry-run", action="store_true", help="launch nothing")
    options = parser.parse_args()
    wanted = [name for name in options.recipes.split(",") if name]
    if options.prepare:
        return prepare(options.dir, options.prepare, wanted, options.jobs)
    started = time.time()
    paths = [p for p in sorted(options.dir.glob("bundles/*/*/*.aot")) if not wanted or p.stem in wanted]
    jobs = [(options.dir, path, options.dry_run) for path in paths]
    rows = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for path, row in zip(paths, [pool.submit(check, *job) for job in jobs], strict=True):
            try:
                rows.append(row.result(max(1.0, started + options.minutes * 60 - time.time())))
            except TimeoutError:
                rows.append({"bundle": name_of(path), "problems": ["not run: out of time"]})
    alone = [] if options.dry_run else leaks(options.dir, paths, [n for n in options.leaks.split(",") if n])
    speed = [] if options.dry_run else compare_speed(options.dir)
    launched = [] if options.dry_run else launch_all(options.dir, paths)
    result = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["scripts/road_gpu.py", *sys.argv[1:]]),
        "machine": {} if options.dry_run else gpu(),
        "seconds": round(time.time() - started),
        "rows": rows,
        "alone": alone,
        "speed": speed,
        "launcher": launched,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    wrong = [f"{row['bundle']}: {problem}" for row in rows + alone + speed + launched for problem in row["problems"]]
    print(
        summary(rows, alone),
        *map(str, speed),
        f"{len(launched)} bundles by the launcher",
        *wrong[:50],
        sep="\n",
        flush=True,
    )
    return 1 if wrong or not rows else 0


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


def name_of(path: Path) -> str:
    return "/".join((*path.parts[-3:-1], path.stem))


# --- anywhere --------------------------------------------------------------------------------------------------------


def prepare(directory: Path, arch: str, wanted: list[str], jobs: int) -> int:
    """Fill the directory: a bundle for each recipe, type and kind of shapes, a library of all of them, the driver."""
    known = known_plugins()
    cases = [
        (name, dtype, shapes, arch, directory)
        for name in wanted or sorted(known.recipes)
        for dtype in known.recipes[name].dtypes
        for shapes in ("static", "dynamic")
    ]
    large = [(name, dtype, case, arch, directory) for case, (name, types, _) in LARGE.items() for dtype in types]
    with ProcessPoolExecutor(jobs) as pool:
        list(pool.map(compile_case, *zip(*cases, strict=True)))
        speed = list(pool.map(compile_case, *zip(*large, strict=True)))
    paths = sorted(directory.glob("bundles/*/*/*.aot"))  # also those of an earlier call
    library(paths, directory / "libroad.so")
    library(speed, directory / "libspeed.so")
    build_driver(directory / "driver")
    shutil.copy(build_launcher(), directory / "launcher")
    print(f"{len(paths)} bundles, {(directory / 'libroad.so').stat().st_size} bytes of library")
    return 0


def known_plugins() -> Catalog:
    catalog = Catalog(FOR_LIBRARY.values())
    catalog.load_all()
    return catalog


def compile_case(name: str, dtype: str, shapes: str, arch: str, directory: Path) -> Path:
    if shapes in LARGE:
        request = TargetOptions(dtype={None: dtype}, shape=LARGE[shapes][2])
    else:
        low, opt, high = profile(known_plugins().recipes[name], shapes)
        request = TargetOptions(dtype={None: dtype}, min_shape=low, opt_shape=opt, max_shape=high)
    done = build_bundle(
        name,
        request=request,
        options=Options(archs=parse_archs(arch), road="library"),
        plugins=[FOR_LIBRARY[name]] if name in FOR_LIBRARY else (),
        out=directory / ("large" if shapes in LARGE else "bundles") / shapes / dtype,
        interpret=False,
    )
    if done.path is None:
        raise SystemExit(f"{name} {dtype} {shapes}: " + "; ".join(f"{c.name}: {c.detail}" for c in done.failed))
    return done.path


# --- on the GPU ------------------------------------------------------------------------------------------------------


def check(directory: Path, path: Path, dry_run: bool) -> Row:
    """All calls of one bundle: a row of the results."""
    row: Row = {"bundle": name_of(path), "problems": [], "runs": 0, "graphs": 0, "threads": 0, "shape_changes": 0}
    try:
        with tempfile.TemporaryDirectory(prefix="road-") as scratch:
            for number, part in enumerate(library_document([bundles.read(path)]).parts):
                folder = Path(scratch, str(number))
                folder.mkdir()
                check_part(directory, part, folder, row, dry_run)
    except Exception as error:  # a row says what went wrong with it
        row["problems"].append(f"{type(error).__name__}: {error}"[:500])
    return row


def check_part(directory: Path, part: Bundle, scratch: Path, row: Row, dry_run: bool) -> None:
    catalog = known_plugins()
    made = list(trials(part.network, catalog))
    runs = [run_of(part, trial.inputs, scratch, f"{i}") for i, trial in enumerate(made)]
    other = next((r for r in runs if r["shapes"] != runs[0]["shapes"]), runs[0])
    first = min(v.tactic for v in part.variants)
    stress = {**runs[0], "outputs": str(scratch / "stress"), "tactics": [first], "threads": THREADS}
    stress |= {"devices": DEVICE_ROUNDS, "shape_changes": SHAPE_CHANGES}
    stress |= {"other_shapes": other["shapes"], "other_inputs": other["inputs"]}
    if part.network.calls[0].id_parts[1] == "circ_pad":
        stress["host_cost"] = LAUNCHES
    case = case_of(part, [*runs, stress])
    answer = ask(directory, case, scratch, row)
    if answer is None:
        return
    arch = parse_archs(sorted({v.arch for v in part.variants})[0])[0]
    row["problems"] += wrong_answers(part, answer, arch, alone=False)
    if dry_run:
        return
    for trial, run, result in zip(made, runs, answer["runs"], strict=False):
        for each in result["runs"]:
            row["runs"] += 1
            row["graphs"] += bool(each.get("graph_same"))
            where = f"{trial}, tactic {each['tactic']}"
            if not each.get("ran"):
                row["problems"].append(f"{where}: {each.get('error', 'did not run')}")
                continue
            found = outputs_of(part, run, each["tactic"])
            if found.keys() - trial.expected.keys():
                row["problems"].append(f"{where}: there is no reference")
            if wrong := reference.compare(part.network, catalog.for_plugin, found, trial.expected):
                row["problems"].append(f"{where}: {wrong}")
            if not each["graph_same"]:
                row["problems"].append(f"{where}: a CUDA graph gave something else")
    judge_stress(answer["runs"][-1]["runs"][0], row)
    sanitize(directory, case, runs, scratch, row)


def leaks(directory: Path, paths: list[Path], wanted: list[str]) -> list[Row]:
    """Processes that have the GPU alone and change shapes 10,000 times: its used memory must not grow.

    One bundle of each recipe, a dynamic one.
    """
    catalog = known_plugins()
    chosen = {path.stem: path for path in reversed(paths) if "dynamic" in path.parts[-3]}
    rows: list[Row] = []
    for name, path in sorted(chosen.items()):
        if wanted and name not in wanted:
            continue
        row: Row = {"bundle": f"alone: {name_of(path)}", "problems": []}
        rows.append(row)
        with tempfile.TemporaryDirectory(prefix="road-") as scratch:
            part = library_document([bundles.read(path)]).parts[0]
            runs: list[Row] = []
            for i, trial in enumerate(trials(part.network, catalog)):
                runs.append(run_of(part, trial.inputs, Path(scratch), f"{i}"))
                if runs[-1]["shapes"] != runs[0]["shapes"]:
                    break
            run = {**runs[0], "tactics": [min(v.tactic for v in part.variants)], "shape_changes": SHAPE_CHANGES}
            run |= {"other_shapes": runs[-1]["shapes"], "other_inputs": runs[-1]["inputs"]}
            answer = ask(directory, case_of(part, [run]), Path(scratch), row)
            if answer is None:
                continue
            (found,) = answer["runs"][0]["runs"]
            if not found.get("ran"):
                row["problems"].append(f"{found.get('error', 'did not run')}")
                continue
            row["shape_changes"] = found["shape_changes"]
            if found["shape_changes"]["gpu_bytes"] > 0 or found["shape_changes"]["host_bytes"] > LEAK:
                row["problems"].append(f"memory grew: {found['shape_changes']}")
    return rows


def judge_stress(found: Row, row: Row) -> None:
    if not found.get("ran"):
        row["problems"].append(f"stress: {found.get('error', 'did not run')}")
        return
    row["threads"] += THREADS
    row["shape_changes"] += found["shape_changes"]["count"]
    row["devices"] = found["devices"]["count"]
    row["device_runs"] = found["devices"]["runs"]
    row["stress"] = {key: found[key] for key in ("devices", "shape_changes", "modules")}
    if found["threads_wrong"] or not found["same_afterwards"]:
        row["problems"].append(f"stress: {found['threads_wrong']} results of threads differ")
    if found["devices"]["wrong"]:
        row["problems"].append(f"stress: {found['devices']}")
    if found["shape_changes"]["host_bytes"] > LEAK:  # the GPU's memory is also the other processes': see leaks()
        row["problems"].append(f"stress: memory grew: {found['shape_changes']}")
    if "host_cost" in found:
        row["host_cost"] = found["host_cost"]


def launch_all(directory: Path, paths: list[Path]) -> list[Row]:
    """Kernels that only a library can launch, by the launcher, which poisons and guards their workspaces."""
    rows: list[Row] = []
    for path in paths:
        if path.stem not in (*FOR_LIBRARY, "non_zero") or not (directory / "launcher").exists():
            continue
        row: Row = {"bundle": f"launcher: {name_of(path)}", "problems": []}
        command = [str((directory / "launcher").resolve()), str(path), "--tactic", "all"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            row["problems"].append(f"gave {done.returncode}: {done.stderr[-400:]}")
        else:
            row["runs"] = len(json.loads(done.stdout)["runs"])
        rows.append(row)
    return rows


def compare_speed(directory: Path) -> list[Row]:
    """Kernels at large shapes in each tactic, beside PyTorch's of the same: how long, and whether they are equal."""
    try:
        import torch
    except ImportError:
        return [{"bundle": "speed", "problems": [], "not_run": "PyTorch is not installed"}]
    rows: list[Row] = []
    for path in sorted(directory.glob("large/*/*/*.aot")):
        (part,) = library_document([bundles.read(path)]).parts
        case, dtype = path.parts[-3:-1]
        if case == "square":
            rows += [speed_of(directory, part, dtype, share, torch) for share in (0.0, COMPARED, 0.99)]
        else:
            rows.append(speed_of_groups(directory, part, case, dtype, torch))
    return rows


def speed_of_groups(directory: Path, part: Bundle, case: str, dtype: str, torch: Any) -> Row:
    """One row: GPU microseconds of each tactic, of a copy of x, and of PyTorch's two operators."""
    row: Row = {"bundle": f"group_norm_silu {case} {dtype}", "problems": []}
    generator = torch.Generator().manual_seed(0)
    kind = getattr(torch, TORCH[dtype])
    arrays = {n: torch.randn(*s, generator=generator).to(kind) for n, s in LARGE[case][2].items()}
    x, weight, bias = (array.cuda() for array in arrays.values())
    attributes = part.network.calls[0].attributes

    def by_torch(x: Any, weight: Any, bias: Any) -> Any:
        normed = torch.nn.functional.group_norm(x, attributes["groups"], weight, bias, attributes["eps"])
        return torch.nn.functional.silu(normed)

    with tempfile.TemporaryDirectory(prefix="road-") as scratch:
        files = []
        for name, array in arrays.items():
            files.append(Path(scratch, str(name)))
            files[-1].write_bytes(array.view(torch.uint8).numpy().tobytes())
        types, shapes = list(part.variants[0].dtypes), [list(s) for s in LARGE[case][2].values()]
        run = {"types": types, "shapes": shapes, "inputs": [str(f) for f in files], "device_time": SAMPLES}
        run["outputs"] = str(Path(scratch, "out"))
        answer = ask(directory, case_of(part, [run]), Path(scratch), row, library="libspeed.so")
        # In fp32: PyTorch's own result in fp16 is rounded between its two operators.
        expected = by_torch(x.float(), weight.float(), bias.float())
        for each in answer["runs"][0]["runs"] if answer else ():
            if not each.get("ran"):
                row["problems"].append(f"tactic {each['tactic']}: {each.get('error', 'did not run')}")
                continue
            row.setdefault("tactics_us", {})[each["tactic"]] = round(each["device_us"], 1)
            (found,) = outputs_of(part, run, each["tactic"]).values()
            apart = (torch.from_numpy(found.copy()).cuda().float() - expected).abs()
            row["apart"] = max(row.get("apart", 0.0), float(apart.max()))
            if bool((apart > 1e-4 + (2e-5 if dtype == "fp32" else 4e-3) * expected.abs()).any()):
                row["problems"].append(f"tactic {each['tactic']} differs from PyTorch by up to {float(apart.max())}")
        row["torch_us"] = round(torch_time(lambda: by_torch(x, weight, bias), torch), 1)
        y = torch.empty_like(x)
        row["copy_us"] = round(torch_time(lambda: y.copy_(x), torch), 1)
    return row


def speed_of(directory: Path, part: Bundle, dtype: str, zeros: float, torch: Any) -> Row:
    """One row: GPU microseconds of each tactic, of torch.nonzero with all that it does, and of its kernels' lower
    bound, a matrix whose number of rows is known (nonzero_static).
    """
    row: Row = {"bundle": f"non_zero {SIDE} x {SIDE} {dtype}, {zeros:.0%} zeros", "problems": []}
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SIDE, SIDE, generator=generator)
    x[torch.rand(SIDE, SIDE, generator=generator) < zeros] = 0
    x = (x * 100).to(torch.int8) if dtype == "int8" else x.to(getattr(torch, TORCH[dtype]))
    with tempfile.TemporaryDirectory(prefix="road-") as scratch:
        file = Path(scratch, "x")
        file.write_bytes(x.view(torch.uint8).numpy().tobytes())
        types = part.variants[0].dtypes
        run = {"types": list(types), "shapes": [[SIDE, SIDE]], "inputs": [str(file)], "device_time": SAMPLES}
        if compared := zeros == COMPARED:  # what is written is some 130 MB for each tactic
            run["outputs"] = str(Path(scratch, "out"))
        answer = ask(directory, case_of(part, [run]), Path(scratch), row, library="libspeed.so")
        on_gpu = x.cuda()
        expected = torch.nonzero(on_gpu)
        row["rows"] = len(expected)
        for each in answer["runs"][0]["runs"] if answer else ():
            if not each.get("ran"):
                row["problems"].append(f"tactic {each['tactic']}: {each.get('error', 'did not run')}")
                continue
            row.setdefault("tactics_us", {})[each["tactic"]] = round(each["device_us"], 1)
            if not compared:
                continue
            found = outputs_of(part, run, each["tactic"])["indices"]
            if not torch.equal(torch.from_numpy(found.copy()).cuda().to(torch.int64), expected):
                row["problems"].append(f"tactic {each['tactic']} differs from torch.nonzero")
        row["torch_us"] = round(torch_time(lambda: torch.nonzero(on_gpu), torch), 1)
        static = functools.partial(torch.nonzero_static, on_gpu, size=len(expected))
        try:
            row["torch_static_us"] = round(torch_time(static, torch), 1)
        except (RuntimeError, NotImplementedError) as error:
            row["torch_static_us"] = str(error).splitlines()[0][:100]
    if row.get("tactics_us"):
        row["of_torch"] = round(min(row["tactics_us"].values()) / row["torch_us"], 3)
    return row


TORCH = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def torch_time(work: Callable[[], Any], torch: Any) -> float:
    """GPU microseconds of a call: the median of samples of five."""
    samples = []
    for sample in range(-2, SAMPLES):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(5):
            work()
        end.record()
        torch.cuda.synchronize()
        if sample >= 0:
            samples.append(1000.0 * begin.elapsed_time(end) / 5)
    return statistics.median(samples)


def ask(
    directory: Path,
    case: Row,
    scratch: Path,
    row: Row,
    wrapper: tuple[str, ...] = (),
    library: str = "libroad.so",
    **more: Any,
) -> Row | None:
    """The driver's answer to a case; None, and a problem in the row, where it gave none."""
    script = scratch / "cases.json"
    document = {"library": str((directory / library).resolve()), "registry": None, "cases": [case], **more}
    script.write_text(json.dumps(document))
    command = [*wrapper, str((directory / "driver").resolve()), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next((text for text in done.stdout.splitlines() if text.startswith("{")), None)
    if done.returncode != 0 or line is None:
        row["problems"].append(f"the driver gave {done.returncode}: {(done.stderr or done.stdout)[-400:]}")
        return None
    answer: Row = json.loads(line)["cases"][0]
    return answer


def sanitize(directory: Path, case: Row, runs: list[Row], scratch: Path, row: Row) -> None:
    """Every tactic at the first shape, with exact allocations, under compute-sanitizer's memcheck."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        row["sanitizer"] = "compute-sanitizer is not on the PATH"
        return
    log = scratch / "memcheck.log"
    wrapper = (tool, "--tool", "memcheck", "--log-file", str(log))
    ask(directory, {**case, "runs": runs[:1]}, scratch, row, wrapper, tight=True)
    found = re.search(r"SUMMARY: (\d+)", log.read_text() if log.exists() else "")
    row["sanitizer"] = int(found[1]) if found else "no summary"
    row["sanitized"] = 1
    if row["sanitizer"] != 0:
        row["problems"].append(f"compute-sanitizer: {row['sanitizer']}")


if __name__ == "__main__":
    sys.exit(main())
