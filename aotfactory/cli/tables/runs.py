# SPDX-License-Identifier: Apache-2.0
"""Runs and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from aotfactory.cli.tables.text import say
from aotfactory.core.network import shape_text

if TYPE_CHECKING:
    from rich.console import Console

    from aotfactory.api.tune import TuneResult
    from aotfactory.executors.inputs import Array
    from aotfactory.executors.native.launcher import LaunchResult


def print_run(console: Console, result: LaunchResult) -> None:
    for run in result.runs:
        for launch in run.launches:
            extra = ", ".join(map(str, launch["extra_args"])) or "-"
            grid = " x ".join(map(str, launch["grid"]))
            say(console, f"{launch['variant']}: grid {grid}, extra arguments {extra}", wrap=True)
        print_tensors(console, run.outputs, run.failures)


def print_bench(console: Console, result: LaunchResult) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("tactic", "microseconds", "p5", "p95", "GB/s", "of a copy"):
        table.add_column(column, justify="right")
    for run in result.runs:
        if run.timing is None or "pass" not in run.timing:
            table.add_row(str(run.tactic), "nothing to run at this shape")
            continue
        time = run.timing["pass"]
        numbers = [f"{time['graph_us'][key]:.2f}" for key in ("median", "p5", "p95")]
        table.add_row(str(run.tactic), *numbers, f"{time['graph_gb_per_s']:.0f}", f"{run.timing['ratio_to_copy']:.2f}")
    console.print(table)


def print_ranking(console: Console, tuned: TuneResult) -> None:
    ranking = tuned.ranking
    shapes = ", ".join(f"{name} {shape_text(shape)}" for name, shape in ranking.shapes.items())
    say(console, (ranking.name, "bold"), f" on {ranking.gpu}: {shapes}", wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("tactic", "microseconds", "p5", "p95", "GB/s", "of a copy", "regs", "spills", "threads", "shared"):
        table.add_column(column, justify="right")
    for t in ranking.tactics:
        times = [f"{value:.2f}" for value in (t.us, t.p5, t.p95)]
        resources = [str(n) for n in (t.registers, t.spills, t.threads, t.shared_mem)]
        table.add_row(str(t.tactic), *times, f"{t.gb_per_s:.0f}", f"{t.of_copy:.2f}", *resources)
    console.print(table)
    if tuned.never_fastest:
        say(console, f"never among the fastest in {tuned.path.name}: {', '.join(map(str, tuned.never_fastest))}")
    say(console, "wrote ", (str(tuned.path), "bold"))


def print_tensors(console: Console, outputs: Mapping[str, Array], failures: Sequence[str]) -> None:
    """The outputs of a run, and what its checks found."""
    for name, array in outputs.items():
        shape = shape_text(array.shape)
        say(console, f"  {name}: {array.dtype} {shape}", wrap=True)
    for failure in failures:
        say(console, "  ", ("failed", "bold red"), f" {failure}", wrap=True)


def print_timing(console: Console, timing: Mapping[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("", "microseconds", "p5", "p95", "GB/s"):
        table.add_column(column, justify="right")
    for label, key in (("stream", ""), ("CUDA graph", "graph_")):
        if (times := timing.get(f"{key}us")) is not None:
            numbers = [f"{times[point]:.2f}" for point in ("median", "p5", "p95")]
            table.add_row(label, *numbers, f"{timing[f'{key}gb_per_s']:.0f}")
    console.print(table)
