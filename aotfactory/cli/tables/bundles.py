# SPDX-License-Identifier: Apache-2.0
"""Bundles, and plans by their records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from aotfactory.cli.tables.text import MARKS, Part, mark, print_skipped, print_table, say, table_of, value_text
from aotfactory.compiler.manifest import Bundle
from aotfactory.compiler.variant import LaunchedKernel, Variant
from aotfactory.core.check import Check
from aotfactory.core.expressions import Constant, Expr, SizeTensor
from aotfactory.core.network import Call, Combination, Network, Tensor


def print_network(console: Console, network: Network) -> None:
    """Tensors, calls and profile of a network."""
    say(console, (network.name, "bold"))
    table = table_of("tensor", "", "type", "shape")
    for tensor in network.tensors:
        table.add_row(tensor.name, _role(tensor, network), tensor.dtype, _shape(tensor))
    print_table(console, table)
    for name, r in network.ranges.items():
        say(console, f"  {name}: min {r.min}, opt {r.opt}, max {r.max}")


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
        say(console, "\n", *_headline(call))
        table = table_of("arch", "types", "tactic", "grid", "block", "regs", "PTX")
        if outcomes:
            table.add_column("checks")
        for v in variants:
            ends = bundle.network.at("min"), bundle.network.at("max")
            grid = "; ".join(_extents(k.launch, "grid", *ends) for k in v.kernels)
            block = "; ".join(_block(k) for k in v.kernels)
            combination = Combination(dtypes=v.dtypes, formats=v.formats)
            used = [f"{k.registers}, {k.spills} B spilled" if k.spills else f"{k.registers}" for k in v.kernels]
            registers = "; ".join(used)
            row = [v.arch, str(combination), str(v.tactic), grid, block, registers, f"{v.ptx_isa} {v.ptx_target}"]
            table.add_row(*row, *([Text.assemble(*mark(outcomes.get(v.id, [])))] if outcomes else []))
        print_table(console, table)
        _print_expressions(console, variants)
    console.print()


def _headline(call: Call) -> tuple[Part, ...]:
    attributes = "".join(f", {n}={value_text(v)}" for n, v in call.attributes.items())
    outputs, inputs = ", ".join(call.outputs), ", ".join(call.inputs)
    return (call.name, "bold"), f": {outputs} = {call.plugin}({inputs}{attributes})"


def _block(kernel: LaunchedKernel) -> str:
    clusters = f" in clusters of {math.prod(kernel.clusters)}" if kernel.clusters != (1, 1, 1) else ""
    return _extents(kernel.launch, "block", {}, {}) + clusters


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


def _print_expressions(console: Console, variants: Sequence[Variant]) -> None:
    """The symbolic launch parameters and the extra arguments, once where architectures and tactics share them."""
    shared: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for v in variants:
        lines: list[tuple[str, str]] = []
        for i, kernel in enumerate(v.kernels, start=1):
            which = f" of kernel {i}" if v.then else ""
            lines += [(n + which, str(e)) for n, e in kernel.launch.items() if not isinstance(e, Constant)]
            if kernel.extra_args:
                lines.append((f"extra arguments{which}", ", ".join(map(str, kernel.extra_args))))
        lines += [(f"workspace {i} in bytes", str(w.bytes)) for i, w in enumerate(v.workspaces)]
        if lines:
            label = f"{Combination(dtypes=v.dtypes, formats=v.formats)} tactic {v.tactic}"
            shared.setdefault(tuple(lines), []).append(label)
    for expressions, labels in shared.items():
        say(console, f"  {', '.join(dict.fromkeys(labels))}")
        for name, text in expressions:
            console.print(Padding(Text(f"{name}: {text}"), (0, 0, 0, 4)))


def print_bundle(console: Console, bundle: Bundle) -> None:
    """A bundle that was read from disk."""
    print_network(console, bundle.network)
    print_variants(console, bundle)
    made = ", ".join(f"{name} {version}" for name, version in bundle.versions.items())
    say(console, f"made by {made}; every PTX file is as compiled")
    print_skipped(console, bundle.skipped)


def print_record(console: Console, record: Mapping[str, Any]) -> None:
    """A plan, by its record."""
    versions, gpu = record["versions"], record["gpu"]
    plan = record["plan"]
    say(console, (plan["path"], "bold"), f": {plan['bytes']} bytes, from {record['target']}")
    say(console, f"  built by TensorRT {versions['tensorrt']} on {gpu['name']}, for {gpu['arch']}")
    say(console, f"  bundle: {record['bundle']['path']}")
    for kernel in record["kernels"]:
        if kernel["in_plan"]:
            say(console, f"  kernel of {kernel['call']}: {kernel['id']}, tactic {kernel['tactic']}")
    for check in record["checks"]:
        say(console, f"  {check['name']}: ", MARKS[check["status"]], f" {check['detail']}")
    for message in record["messages"]:
        say(console, f"  TensorRT warned: {message}")
    say(console, "plan, record and bundle agree")
