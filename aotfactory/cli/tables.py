# SPDX-License-Identifier: Apache-2.0
"""Tables and sentences for people, in 80 columns. Programs read JSON, which is made where the values are."""

from __future__ import annotations

import importlib.util
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from aotfactory.compiler.bundle import Bundle, Variant
from aotfactory.core.check import NAMES, Check, summary
from aotfactory.core.expressions import Constant, Expr, SizeTensor
from aotfactory.core.network import Call, Combination, Network, Tensor, shape_text

if TYPE_CHECKING:
    from rich.console import Console

    from aotfactory.api.bake import Baked
    from aotfactory.api.build import BuildResult
    from aotfactory.api.doctor import Finding
    from aotfactory.api.graft import Graft
    from aotfactory.api.tune import Ranking
    from aotfactory.core.check import Check
    from aotfactory.core.recipe import Recipe
    from aotfactory.executors.inputs import Array
    from aotfactory.executors.native.launcher import LaunchResult


MARKS = {"passed": ("ok", "green"), "failed": ("FAILED", "bold red"), "skipped": ("skipped", "dim")}

Part = str | tuple[str, str]
"""A piece of a sentence: text, or text and the style that it gets. No text is ever read as markup."""


def print_build(console: Console, report: BuildResult) -> None:
    """A build: the network, its variants with their checks, what failed or was skipped, and what was written."""
    print_network(console, report.bundle.network)
    print_variants(console, report.bundle, report.checks)
    if beside := report.bundle.network.beside:
        others = ", ".join(f"{count} {operator}" for operator, count in beside.items())
        _say(console, f"TensorRT imports itself: {others}")
    for check in report.failed:
        _say(console, (f"{check.name} failed", "bold red"), f": {check.subject}: {check.detail}")
    reasons = {(c.name, c.detail.split(" as ")[0]) for c in report.checks if c.status == "skipped"}
    reasons -= {(name, "abi failed") for name in NAMES}  # that has been said
    for name, detail in sorted(reasons):
        _say(console, (f"{name} skipped: {detail}", "dim"))
    if report.path:
        passed = ", ".join(n for n in NAMES if any(c.name == n and c.status == "passed" for c in report.checks))
        _print_judged(console, report.checks)
        _print_skipped(console, report.bundle.skipped)
        _say(console, f"checks passed: {passed}")
        _say(console, "wrote ", (str(report.path), "bold"))
    else:
        _say(console, ("nothing was written", "bold red"), ": a check failed")


def _print_judged(console: Console, checks: Sequence[Check]) -> None:
    """How kernels were judged: each thing that was said of any, and of how many, then the sum."""
    said: dict[tuple[str, str], int] = {}
    for check in checks:
        if check.compared in ("reference", "memory") and check.status == "passed":
            said[check.name, check.detail] = said.get((check.name, check.detail), 0) + 1
    for (name, detail), count in said.items():
        _say(console, (f"{name}, {count} kernel{'s' * (count > 1)}: {detail}", "dim"))
    if judged := summary(checks):
        _say(console, f"kernels: {judged}")


def _print_skipped(console: Console, skipped: Mapping[str, str]) -> None:
    for name, reason in skipped.items():
        _say(console, (f"built with --skip-check {name}", "bold yellow"), f", because {reason}")


def _say(console: Console, *parts: Part, wrap: bool = False) -> None:
    """A sentence: the terminal wraps it, so that it can be copied and searched in one piece; or `wrap` does."""
    console.print(Text.assemble(*parts), soft_wrap=not wrap)


def print_network(console: Console, network: Network) -> None:
    """Tensors, calls and profile of a network."""
    _say(console, (network.name, "bold"))
    table = _table("tensor", "", "type", "shape")
    for tensor in network.tensors:
        table.add_row(tensor.name, _role(tensor, network), tensor.dtype, _shape(tensor))
    _print_table(console, table)
    for name, r in network.ranges.items():
        _say(console, f"  {name}: min {r.min}, opt {r.opt}, max {r.max}")


def _role(tensor: Tensor, network: Network) -> str:
    maker = next((call for call in network.calls if tensor.name in call.outputs), None)
    text = tensor.role if maker is None else f"{tensor.role} of {maker.name}"
    return f"{text}, in the buffer of {tensor.aliases}" if tensor.aliases else text


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(_extent, tensor.shape)) or "scalar"


def _extent(dimension: Expr) -> str:
    return f"(at most {dimension.upper})" if isinstance(dimension, SizeTensor) else str(dimension)


def print_variants(console: Console, bundle: Bundle, checks: Iterable[Check] = ()) -> None:
    """A table for every call of the network, one line for every variant; then the expressions behind it."""
    outcomes: dict[str, list[Check]] = {}
    for check in checks:
        outcomes.setdefault(check.subject, []).append(check)
    for call in bundle.network.calls:
        variants = [v for v in bundle.variants if v.call == call.name]
        _say(console, "\n", *_headline(call))
        table = _table("arch", "types", "tactic", "grid", "block", "regs", "PTX")
        if outcomes:
            table.add_column("checks")
        for v in variants:
            ends = bundle.network.at("min"), bundle.network.at("max")
            grid, block = _extents(v.launch, "grid", *ends), _extents(v.launch, "block", {}, {})
            if v.cluster != (1, 1, 1):
                block += f" in clusters of {math.prod(v.cluster)}"
            combination = Combination(dtypes=v.dtypes, formats=v.formats)
            registers = f"{v.registers}, {v.spills} B spilled" if v.spills else f"{v.registers}"
            row = [v.arch, str(combination), str(v.tactic), grid, block, registers, f"{v.ptx_isa} {v.ptx_target}"]
            table.add_row(*row, *([Text.assemble(*_mark(outcomes.get(v.id, [])))] if outcomes else []))
        _print_table(console, table)
        _print_expressions(console, variants)
    console.print()


def _headline(call: Call) -> tuple[Part, ...]:
    attributes = "".join(f", {n}={_value(v)}" for n, v in call.attributes.items())
    outputs, inputs = ", ".join(call.outputs), ", ".join(call.inputs)
    return (call.name, "bold"), f": {outputs} = {call.plugin}({inputs}{attributes})"


def _extents(launch: Mapping[str, Expr], what: str, low: Mapping[str, int], high: Mapping[str, int]) -> str:
    """``7``, or ``7 to 448``: what a grid or block is at the smallest and the largest shape; with y and z if not 1."""
    axes = [launch[f"{what}_{axis}"] for axis in "xyz"]
    texts = []
    for axis in axes:
        try:
            ends = axis.evaluate(low), axis.evaluate(high)
        except Exception:  # it may divide by 0 where a check has failed
            texts.append(str(axis))
        else:
            texts.append(str(ends[0]) if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}")
    return " x ".join(texts).removesuffix(" x 1").removesuffix(" x 1")


def _mark(checks: Sequence[Check]) -> tuple[Part, ...]:
    passed = sum(check.status == "passed" for check in checks)
    weak = next((c for c in checks if c.status == "passed" and (c.compared == "memory" or c.sampled)), None)
    if any(check.status == "failed" for check in checks):
        return (MARKS["failed"],)
    notes = [f"{passed} of {len(checks)}"] if passed != len(checks) else []
    notes += [] if weak is None else ["memory only" if weak.compared == "memory" else "sampled"]
    return (MARKS["passed"], f" ({', '.join(notes)})") if notes else (MARKS["passed"],)


def _print_expressions(console: Console, variants: Sequence[Variant]) -> None:
    """The symbolic launch parameters and the extra arguments, once where architectures and tactics share them."""
    shared: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for v in variants:
        launch = {n: e for n, e in v.launch.items() if not isinstance(e, Constant)}
        extra = ", ".join(map(str, v.extra_args))
        lines = [(name, str(e)) for name, e in launch.items()] + ([("extra arguments", extra)] if extra else [])
        if lines:
            label = f"{Combination(dtypes=v.dtypes, formats=v.formats)} tactic {v.tactic}"
            shared.setdefault(tuple(lines), []).append(label)
    for expressions, labels in shared.items():
        _say(console, f"  {', '.join(dict.fromkeys(labels))}")
        for name, text in expressions:
            console.print(Padding(Text(f"{name}: {text}"), (0, 0, 0, 4)))


def print_bundle(console: Console, bundle: Bundle) -> None:
    """A bundle that was read from disk."""
    print_network(console, bundle.network)
    print_variants(console, bundle)
    made = ", ".join(f"{name} {version}" for name, version in bundle.versions.items())
    _say(console, f"made by {made}; every PTX file is as compiled")
    _print_skipped(console, bundle.skipped)


def print_record(console: Console, record: Mapping[str, Any]) -> None:
    """A plan, by its record."""
    versions, gpu = record["versions"], record["gpu"]
    plan = record["plan"]
    _say(console, (plan["path"], "bold"), f": {plan['bytes']} bytes, from {record['target']}")
    _say(console, f"  built by TensorRT {versions['tensorrt']} on {gpu['name']}, for {gpu['arch']}")
    _say(console, f"  bundle: {record['bundle']['path']}")
    for kernel in record["kernels"]:
        if kernel["in_plan"]:
            _say(console, f"  kernel of {kernel['call']}: {kernel['id']}, tactic {kernel['tactic']}")
    for check in record["checks"]:
        _say(console, f"  {check['name']}: ", MARKS[check["status"]], f" {check['detail']}")
    for message in record["messages"]:
        _say(console, f"  TensorRT warned: {message}")
    _say(console, "plan, record and bundle agree")


def print_recipes(console: Console, recipes: Iterable[Recipe]) -> None:
    """Two lines for every recipe."""
    for r in sorted(recipes, key=lambda r: r.name):
        _say(console, (r.name, "bold"), f"  {r.summary}")
        inputs = ", ".join(f"{i.name} {'x'.join(map(str, i.shape))}" for i in r.inputs)
        attributes = [f"{n}={_value(v)}" for n, v in r.attributes.items()]
        facts = [r.plugin, inputs, " ".join(r.dtypes), *attributes]
        console.print(Padding(Text("; ".join(facts)), (0, 0, 0, 4)))


def print_recipe(console: Console, facts: Mapping[str, Any]) -> None:
    """All about one recipe."""
    _say(console, (facts["name"], "bold"), f"  {facts['summary']}")
    _say(console, f"plugin {facts['plugin']}, in {facts['file']}")
    table = _table("input", "shape", "dimensions", "types", "values")
    for item in facts["inputs"]:
        values = item["choices"] or item["limits"] or "any"
        shape, dims = "x".join(map(str, item["shape"])), " ".join(item["dims"])
        table.add_row(item["name"], shape, dims, " ".join(item["dtypes"]), _value(values))
    _print_table(console, table)
    if facts["attributes"]:
        table = _table("attribute", "type", "default")
        for name, kind in facts["attribute_types"].items():
            table.add_row(name, kind, _value(facts["attributes"].get(name, "")))
        _print_table(console, table)
    table = _table("output of type", "may differ by")
    for dtype in facts["dtypes"]:
        allowed = facts["tolerance"].get(dtype)
        table.add_row(dtype, f"{allowed['rtol']:g} of it, or {allowed['atol']:g}" if allowed else "nothing")
    _print_table(console, table)
    dynamic = ", ".join(facts["dynamic"]) or "none"
    _say(console, f"dimensions that may be dynamic: {dynamic}", "; not all go together" * facts["constrained"])
    if facts["description"]:
        console.print()
        for paragraph in facts["description"].split("\n\n"):
            plain = "\n" in paragraph and re.search(r"^[ |*-]", paragraph, re.MULTILINE)
            console.print(Text(paragraph if plain else " ".join(paragraph.split())), "", sep="\n")


def _value(value: object) -> str:
    items = value.tolist() if hasattr(value, "tolist") else value
    return ",".join(map(str, items)) if isinstance(items, list | tuple) else str(items)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print_table(console: Console, table: Table) -> None:
    """A table; where the terminal is too narrow for it, each row as a sentence, which is broken between words."""
    rows = list(zip(*([column.header, *column.cells] for column in table.columns), strict=True))
    texts = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in rows]
    widths = (max(text.cell_len for text in column) for column in zip(*texts, strict=True))
    if sum(widths) + 2 * len(table.columns) <= console.width:
        console.print(Padding(table, (0, 0, 0, 2)))
        return
    headers = texts[0]
    for row in texts[1:]:
        words = [
            Text(" ").join((header, cell) if header else (cell,))
            for header, cell in zip(headers, row, strict=True)
            if cell
        ]
        console.print(Padding(words[0], (0, 0, 0, 2)))
        console.print(Padding(Text(", ").join(words[1:]), (0, 0, 0, 4)))


def print_baked(console: Console, baked: Baked) -> None:
    """The plan that was built."""
    kernels = ", ".join(v.id for v in baked.plan.kernels) or "hidden by the plan"
    _say(console, f"kernels in the plan: {kernels}")
    for message in baked.plan.messages:
        _say(console, ("TensorRT warns", "yellow"), f" {message}")
    _say(console, "wrote ", (str(baked.path), "bold"))


def print_findings(console: Console, findings: Iterable[Finding]) -> None:
    """What `doctor` found: a line for everything, and the remedy under what is not right."""
    styles = {"ok": "green", "warning": "yellow", "failure": "bold red"}
    for finding in findings:
        _say(console, (finding.status, styles[finding.status]), " ", (finding.name, "bold"), f": {finding.detail}")
        if finding.remedy:
            _say(console, f"  remedy: {finding.remedy}")


def print_new(console: Console, name: str, files: Sequence[Path], package: bool) -> None:
    """The files of a new plugin, and what to do with them next."""
    for path in files:
        _say(console, "wrote ", (str(path), "bold"))
    tests = shlex.quote(str(files[-1]))
    if package:
        folder = shlex.quote(str(files[0].parent))
        steps = [f"python -m pip install -e {folder}", f"python -m pytest {tests}", f"aotfactory build {name}"]
    else:
        steps = [f"python -m pytest {tests}", f"aotfactory build {name} --plugins {shlex.quote(str(files[0]))}"]
    # Another environment's pytest may be on the PATH, which would not find aotfactory.
    if importlib.util.find_spec("pytest") is None:
        steps.insert(0, "python -m pip install pytest")
    _say(console, "next:")
    for step in steps:
        _say(console, f"  {step}")


def print_checks(console: Console, checks: list[Check], skipped: Mapping[str, str]) -> None:
    """Checks of an artifact, each with what was compared, and their sum."""
    for check in checks:
        mark = _mark([check]) if check.status == "passed" else (MARKS[check.status],)
        _say(console, f"{check.name} {check.subject}: ", *mark, wrap=True)
        _say(console, (f"  {check.detail}", "dim"), wrap=True)
    _say(console, f"kernels: {summary(checks) or 'none judged'}")
    _print_skipped(console, skipped)


def print_run(console: Console, result: LaunchResult) -> None:
    for run in result.runs:
        for launch in run.launches:
            extra = ", ".join(map(str, launch["extra_args"])) or "-"
            grid = " x ".join(map(str, launch["grid"]))
            _say(console, f"{launch['variant']}: grid {grid}, extra arguments {extra}", wrap=True)
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


def print_ranking(console: Console, ranking: Ranking, path: Path, losers: list[int]) -> None:
    shapes = ", ".join(f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in ranking.shapes.items())
    _say(console, (ranking.name, "bold"), f" on {ranking.gpu}: {shapes}", wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("tactic", "microseconds", "p5", "p95", "GB/s", "of a copy", "regs", "spills", "threads", "shared"):
        table.add_column(column, justify="right")
    for t in ranking.tactics:
        times = [f"{value:.2f}" for value in (t.us, t.p5, t.p95)]
        resources = [str(n) for n in (t.registers, t.spills, t.threads, t.shared_mem)]
        table.add_row(str(t.tactic), *times, f"{t.gb_per_s:.0f}", f"{t.of_copy:.2f}", *resources)
    console.print(table)
    if losers:
        _say(console, f"never among the fastest in {path.name}: {', '.join(map(str, losers))}")
    _say(console, "wrote ", (str(path), "bold"))


def print_tensors(console: Console, outputs: Mapping[str, Array], failures: Sequence[str]) -> None:
    """The outputs of a run, and what its checks found."""
    for name, array in outputs.items():
        shape = shape_text(array.shape)
        _say(console, f"  {name}: {array.dtype} {shape}", wrap=True)
    for failure in failures:
        _say(console, "  ", ("failed", "bold red"), f" {failure}", wrap=True)


def print_timing(console: Console, timing: Mapping[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("", "microseconds", "p5", "p95", "GB/s"):
        table.add_column(column, justify="right")
    for label, key in (("stream", ""), ("CUDA graph", "graph_")):
        if (times := timing.get(f"{key}us")) is not None:
            numbers = [f"{times[point]:.2f}" for point in ("median", "p5", "p95")]
            table.add_row(label, *numbers, f"{timing[f'{key}gb_per_s']:.0f}")
    console.print(table)


def print_grafts(console: Console, found: Sequence[Graft], out: Path | None) -> None:
    """One line for every match, and what was written."""
    for match in found:
        mark = ("replaced", "green") if match.replaced else ("left alone", "yellow")
        _say(console, mark, f" {', '.join(match.outputs)}: {match.rule}, by {match.plugin}")
        _say(console, (f"  {len(match.nodes)} nodes ({', '.join(match.nodes)}): {match.detail}", "dim"))
    if not found:
        _say(console, "nothing that a rule looks for is in the model")
    _say(console, *(("wrote ", (str(out), "bold")) if out else ("nothing was written (--dry-run)",)))
