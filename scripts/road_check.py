# SPDX-License-Identifier: Apache-2.0
"""The checks of road_gpu.py: plugins under the driver, against references, in graphs, threads and on all GPUs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from plugin_cases import case_of, outputs_of, run_of, wrong_answers
from road_cases import FOR_LIBRARY, Row, known_plugins, name_of

from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.bundle import Bundle
from aotfactory.core.arch import parse_archs
from aotfactory.executors import reference
from aotfactory.executors.cases import trials
from aotfactory.plan.library import library_document

SHAPE_CHANGES, THREADS, LAUNCHES = 10_000, 8, 2_000

DEVICE_ROUNDS = 8
"""Runs of each thread on each GPU."""

LEAK = 8 << 20
"""Bytes that 10,000 changes of shape may leave the process larger by: what allocators keep."""


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
    tactics = sorted({v.tactic for v in part.variants})  # the last is of several kernels where any is
    stress = {**runs[0], "outputs": str(scratch / "stress"), "tactics": sorted({tactics[0], tactics[-1]})}
    stress |= {"threads": THREADS, "devices": DEVICE_ROUNDS, "shape_changes": SHAPE_CHANGES}
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
    for each in answer["runs"][-1]["runs"]:
        judge_stress(each, row)
    sanitize(directory, case, runs, scratch, row)


def judge_stress(found: Row, row: Row) -> None:
    if not found.get("ran"):
        row["problems"].append(f"stress: {found.get('error', 'did not run')}")
        return
    row["threads"] += THREADS
    row["shape_changes"] += found["shape_changes"]["count"]
    row["devices"] = found["devices"]["count"]
    row["device_runs"] = row.get("device_runs", 0) + found["devices"]["runs"]
    row["stress"] = {key: found[key] for key in ("devices", "shape_changes", "modules")}
    if found["threads_wrong"] or not found["same_afterwards"]:
        row["problems"].append(f"stress: {found['threads_wrong']} results of threads differ")
    if found["devices"]["wrong"]:
        row["problems"].append(f"stress: {found['devices']}")
    if found["shape_changes"]["host_bytes"] > LEAK:  # the GPU's memory is also the other processes': see leaks()
        row["problems"].append(f"stress: memory grew: {found['shape_changes']}")
    if "host_cost" in found:
        row["host_cost"] = found["host_cost"]


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
