# SPDX-License-Identifier: Apache-2.0
"""What the command line prints for people: rich tables. What programs read is JSON, made where the values are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aotfactory.checks import NAMES, Check

if TYPE_CHECKING:
    from aotfactory.build import Report
    from aotfactory.bundle import Bundle, Variant
    from aotfactory.network import Network, Tensor
    from aotfactory.recipe import Recipe

MARKS = {"passed": "[green]ok[/]", "failed": "[bold red]FAILED[/]", "skipped": "[dim]skipped[/]"}


def print_build(console: Console, report: Report) -> None:
    """A build: the network, its variants with their checks, what failed or was skipped, and what was written."""
    print_network(console, report.bundle.network)
    print_variants(console, report.bundle.variants, report.checks)
    for check in report.failed:
        console.print(f"[bold red]{check.name} failed[/] {check.subject}: {escape(check.detail)}", highlight=False)
    reasons = {(c.name, c.detail.split(" as ")[0]) for c in report.checks if c.status == "skipped"}
    for name, detail in sorted(reasons):
        console.print(f"[dim]{name} skipped where: {escape(detail)}[/]", highlight=False)
    if report.path:
        console.print(f"wrote [bold]{report.path}[/]", highlight=False, soft_wrap=True)
    else:
        console.print("[bold red]nothing was written[/]: a check failed", highlight=False)


def print_network(console: Console, network: Network) -> None:
    """Tensors, calls and profile of a network."""
    table = Table(title=network.name, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("tensor", "", "type", "shape"):
        table.add_column(column)
    for tensor in network.tensors:
        table.add_row(tensor.name, _role(tensor, network), tensor.dtype, _shape(tensor))
    console.print(table)
    for name, r in network.ranges.items():
        console.print(f"  {name}: min {r.min}, opt {r.opt}, max {r.max}", highlight=False)
    console.print()


def _role(tensor: Tensor, network: Network) -> str:
    maker = next((call for call in network.calls if tensor.name in call.outputs), None)
    text = tensor.role if maker is None else f"{tensor.role} of {maker.plugin}"
    return f"{text}, in the buffer of {tensor.aliases}" if tensor.aliases else text


def _shape(tensor: Tensor) -> str:
    return " x ".join(str(d) for d in tensor.shape) or "scalar"


def print_variants(console: Console, variants: Iterable[Variant], checks: Iterable[Check] = ()) -> None:
    """One line for every variant."""
    outcomes = {(c.subject, c.name): c.status for c in checks}
    ran = [name for name in NAMES if any(name == n for _, n in outcomes)]
    table = Table(box=None, pad_edge=False)
    for column in ("variant", "PTX", "grid", "block", "arguments", "regs"):
        table.add_column(column, overflow="fold")
    for name in ran:
        table.add_column(name)
    for v in variants:
        grid = " x ".join(str(v.launch[f"grid_{axis}"]) for axis in "xyz").removesuffix(" x 1").removesuffix(" x 1")
        block = " x ".join(str(v.launch[f"block_{axis}"]) for axis in "xyz").removesuffix(" x 1").removesuffix(" x 1")
        spills = f" ({v.spills} B spilled)" if v.spills else ""
        arguments = ", ".join(str(e) for e in v.extra_args) or "-"
        marks = [MARKS.get(outcomes.get((v.id, name), ""), "-") for name in ran]
        ptx = f"{v.ptx_isa} {v.ptx_target}"
        table.add_row(v.id, ptx, grid, block, arguments, f"{v.registers}{spills}", *marks)
    console.print(table)


def print_bundle(console: Console, bundle: Bundle) -> None:
    """A bundle that was read from disk."""
    print_network(console, bundle.network)
    print_variants(console, bundle.variants)
    made = ", ".join(f"{name} {version}" for name, version in bundle.versions.items())
    console.print(f"\nmade by {made}; every PTX file is as compiled", highlight=False)


def print_recipes(console: Console, recipes: Iterable[Recipe]) -> None:
    """One line for every recipe."""
    table = Table(box=None, pad_edge=False)
    for column in ("recipe", "plugin", "inputs", "types", "attributes", ""):
        table.add_column(column, overflow="fold")
    for r in sorted(recipes, key=lambda r: r.name):
        inputs = ", ".join(f"{i.name} {'x'.join(map(str, i.shape))}" for i in r.inputs)
        attributes = ", ".join(f"{n}={escape(_value(v))}" for n, v in r.attributes.items())
        table.add_row(f"[bold]{r.name}[/]", r.plugin, inputs, " ".join(r.dtypes), attributes, r.summary)
    console.print(table)


def _value(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) or hasattr(value, "tolist") else str(value)  # type: ignore[call-overload]
