# SPDX-License-Identifier: Apache-2.0
"""The times of road_gpu.py: tactics at large shapes by the launcher, beside a copy and PyTorch, and their results."""

from __future__ import annotations

import csv
import functools
import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from plugin_cases import case_of, outputs_of
from profile_kernels import METRICS, SCALE
from road_cases import LARGE, SIDE, Row, name_of
from road_check import ask

from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.bundle import Bundle
from aotfactory.executors.native.launcher import Timing, run_launcher
from aotfactory.plan.library import library_document

SAMPLES, COMPARED = 30, 0.5
"""Samples of five calls each, and the share of zeros at which non_zero's results are compared, too."""

SMALL = 2**24
"""Elements up to which every tactic's results are compared; of more, those of several kernels in a row."""

TORCH = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
RTOL = {"fp32": 2e-5, "fp16": 4e-3, "bf16": 3e-2}


def compare_speed(directory: Path, wanted: list[str]) -> list[Row]:
    """Kernels at large shapes in each tactic, beside PyTorch's of the same: how long, and whether they are equal.

    Args:
        wanted: Patterns of cases and types, such as ``softmax-*/fp32``; none: all.
    """
    try:
        import torch
    except ImportError:
        return [{"bundle": "speed", "problems": [], "not_run": "PyTorch is not installed"}]
    rows: list[Row] = []
    for path in sorted(directory.glob("large/*/*/*.aot")):
        if wanted and not any(fnmatch("/".join(path.parts[-3:-1]), pattern) for pattern in wanted):
            continue
        (part,) = library_document([bundles.read(path)]).parts
        case, dtype = path.parts[-3:-1]
        try:
            if case == "square":
                rows += [speed_of(directory, part, dtype, share, torch) for share in (0.0, COMPARED, 0.99)]
            else:
                rows.append(speed_of_norm(directory, path, part, case, dtype, torch))
        except Exception as error:  # a row says what went wrong with it
            rows.append({"bundle": name_of(path), "problems": [f"{type(error).__name__}: {error}"[:500]]})
        print(rows[-1], flush=True)
    return rows


def in_torch(name: str, attributes: Any, torch: Any) -> Callable[..., Any]:
    functional = torch.nn.functional

    def group_norm_silu(x: Any, weight: Any, bias: Any) -> Any:
        return functional.silu(functional.group_norm(x, attributes["groups"], weight, bias, attributes["eps"]))

    def layer_norm(x: Any, weight: Any, bias: Any) -> Any:
        return functional.layer_norm(x, x.shape[-1:], weight, bias, attributes["eps"])

    def rms_norm(x: Any, weight: Any) -> Any:
        return functional.rms_norm(x, x.shape[-1:], weight, attributes["eps"])

    def softmax(x: Any) -> Any:
        return torch.softmax(x, -1)

    known: dict[str, Callable[..., Any]]
    known = {f.__name__: f for f in (group_norm_silu, layer_norm, rms_norm, softmax)}
    return known[name]


def speed_of_norm(directory: Path, path: Path, part: Bundle, case: str, dtype: str, torch: Any) -> Row:
    """One row: GPU microseconds of each tactic and of a copy by the launcher, and of PyTorch's operators."""
    row: Row = {"bundle": name_of(path), "problems": []}
    generator = torch.Generator().manual_seed(0)
    kind = getattr(torch, TORCH[dtype])
    arrays = {n: torch.randn(*s, generator=generator).to(kind) for n, s in LARGE[case][2].items()}
    tensors = [array.cuda() for array in arrays.values()]
    operator = in_torch(path.stem, part.network.calls[0].attributes, torch)
    with tempfile.TemporaryDirectory(prefix="road-") as scratch:
        files = []
        for name, array in arrays.items():
            files.append(Path(scratch, str(name)))
            files[-1].write_bytes(array.view(torch.uint8).numpy().tobytes())
        types, shapes = list(part.variants[0].dtypes), [list(s) for s in LARGE[case][2].values()]
        run = {"types": types, "shapes": shapes, "inputs": [str(f) for f in files]}
        run["outputs"] = str(Path(scratch, "out"))
        if tensors[0].numel() > SMALL:
            run["tactics"] = sorted({v.tactic for v in part.variants if v.then})
        answer = ask(directory, case_of(part, [run]), Path(scratch), row, library="libspeed.so")
        # In fp32: PyTorch's own result in fp16 is rounded between its two operators.
        expected = operator(*(tensor.float() for tensor in tensors))
        for each in answer["runs"][0]["runs"] if answer else ():
            if not each.get("ran"):
                row["problems"].append(f"tactic {each['tactic']}: {each.get('error', 'did not run')}")
                continue
            (found,) = outputs_of(part, run, each["tactic"]).values()
            apart = (torch.from_numpy(found.copy()).cuda().float() - expected).abs()
            row["apart"] = max(row.get("apart", 0.0), float(apart.max()))
            row["compared"] = row.get("compared", 0) + 1
            if bool((apart > 1e-4 + RTOL[dtype] * expected.abs()).any()):
                row["problems"].append(f"tactic {each['tactic']} differs from PyTorch by up to {float(apart.max())}")
    row["torch_us"] = round(torch_time(lambda: operator(*tensors), torch), 1)
    timed(directory, path, row)
    return row


def timed(directory: Path, path: Path, row: Row) -> None:
    """Each tactic by the launcher, with as many tensors in turn as L2 can't hold: the medians of graphs."""
    timing = Timing(iterations=SAMPLES, repeat=10, input_sets=0, graph=True, copy_baseline=True)
    launcher = directory / "launcher"
    done = run_launcher(path, tactic="all", timing=timing, save_outputs=False, launcher=launcher.resolve(), check=False)
    for each in done.runs:
        row["problems"] += [f"tactic {each.tactic}: {failure}" for failure in each.failures]
        if each.timing is not None:
            us, copy = (
                min(each.timing[what][how]["median"] for how in ("us", "graph_us")) for what in ("pass", "copy")
            )
            row.setdefault("tactics_us", {})[each.tactic] = round(us, 2)
            row["copy_us"] = round(min(copy, row.get("copy_us", copy)), 2)
    if row.get("tactics_us"):
        row["of_copy"] = round(row["copy_us"] / min(row["tactics_us"].values()), 3)


def counters(directory: Path, wanted: Mapping[str, Sequence[int]]) -> list[Row]:
    """Nsight Compute's counters at large shapes, of each kernel of these tactics of these cases."""
    ncu = shutil.which("ncu")
    rows: list[Row] = []
    metrics = {**METRICS, "l2_hit_pct": "lts__t_sector_hit_rate.pct"}
    for path in sorted(directory.glob("large/*/*/*.aot")) if ncu else ():
        for tactic in wanted.get(path.parts[-3], ()):
            with tempfile.TemporaryDirectory(prefix="road-") as scratch:
                log = Path(scratch, "ncu.csv")
                wrapper = [str(ncu), "--csv", "--print-units", "base", "--clock-control", "none"]
                wrapper += ["--log-file", str(log), "--metrics", ",".join(metrics.values())]
                launcher = (directory / "launcher").resolve()
                run_launcher(path, tactic=tactic, tight=True, save_outputs=False, wrapper=wrapper, launcher=launcher)
                lines = [line for line in log.read_text().splitlines() if line.startswith('"')]
            found: dict[str, dict[str, float]] = {}
            for line in csv.DictReader(lines):  # the launcher launches twice; the last of a kernel is kept
                kernel = found.setdefault(line["Kernel Name"], {})
                kernel[line["Metric Name"]] = float(line["Metric Value"].replace(",", ""))
            kernels = [
                {"kernel": kernel} | {n: round(of[m] * SCALE.get(n, 1), 1) for n, m in metrics.items()}
                for kernel, of in found.items()
            ]
            rows.append({"bundle": name_of(path), "tactic": tactic, "kernels": kernels, "problems": []})
            print(rows[-1], flush=True)
    return rows


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
