# SPDX-License-Identifier: Apache-2.0
"""Registers, instructions and bytes of the whole library's PTX, before and after a change of the compiler.

    python scripts/compare_ptx.py record before.json
    python scripts/compare_ptx.py record after.json          # in the changed checkout
    python scripts/compare_ptx.py table before.json after.json
    python scripts/compare_ptx.py bundles DIR DIR           # of bundles, as bench_kernels.py makes them

Every recipe is compiled with its default shapes, once static and once with its dynamic dimensions from 1 up, for all
data types and tactics. No GPU is needed. Two compilers' PTX can only be compared where Triton is the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import triton

from aotfactory.compiler import bundle
from aotfactory.compiler.compile import Options, compile_network
from aotfactory.core.arch import parse_archs
from aotfactory.core.errors import AotError
from aotfactory.core.network import Network
from aotfactory.core.recipe import Recipe
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve

INSTRUCTION = re.compile(r"^\s*(?:@!?%\w+\s+)?[a-z][\w.]*\s[^:\n]*;", re.MULTILINE)
MEASURES = ("registers", "spills", "instructions", "bytes")


def networks(recipe: Recipe, catalog: Catalog) -> Iterator[tuple[str, Network]]:
    for dtype in recipe.dtypes:
        request = TargetOptions(dtype={None: dtype})
        yield "static", resolve(recipe.name, catalog, request)
        shapes: dict[str, dict[str | None, tuple[int, ...]]] = {"min": {}, "max": {}}
        for item in recipe.inputs:
            free = [d in recipe.dynamic if recipe.dynamic else bool(d) for d in item.dims]
            ends = list(zip(item.shape, free or [False] * len(item.shape), strict=True))
            shapes["min"][item.name] = tuple(1 if open_ else n for n, open_ in ends)
            shapes["max"][item.name] = tuple(n * 2 if open_ else n for n, open_ in ends)
        request = replace(request, min_shape=shapes["min"], max_shape=shapes["max"])
        yield "dynamic", resolve(recipe.name, catalog, request)


def record(archs: str) -> dict[str, Any]:
    catalog = Catalog()
    catalog.load_all()
    found: dict[str, Any] = {}
    for recipe in catalog.recipes.values():
        for label, network in networks(recipe, catalog):
            try:
                results = compile_network(network, Options(archs=parse_archs(archs)), lambda text: None)
            except AotError as error:  # a plugin may refuse some of these shapes
                print(f"{recipe.name} {label}: {error}", file=sys.stderr)
                continue
            for result in results:
                if result.variant is None:
                    continue
                text = result.variant.text.replace(result.variant.kernel, "kernel")
                found[f"{label} {result.id}"] = {
                    "registers": result.variant.registers,
                    "spills": result.variant.spills,
                    "instructions": len(INSTRUCTION.findall(text)),
                    "bytes": len(text),
                    "sha256": hashlib.sha256(text.encode()).hexdigest(),
                }
    return {"triton": triton.__version__, "variants": found}


def table(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A line for each kernel and kind of shape: how many variants, how many changed, sums, and the worst variant."""
    rows: dict[tuple[str, str], list[tuple[str, Any, Any]]] = {}
    for name in before["variants"].keys() & after["variants"].keys():
        label, variant = name.split(" ")
        rows.setdefault((variant.split(".")[0], label), []).append(
            (variant, before["variants"][name], after["variants"][name])
        )
    lines = [
        "| kernel | shapes | variants | same PTX | registers | spills | instructions | bytes | most registers added |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (kernel, label), pairs in sorted(rows.items()):
        same = sum(a["sha256"] == b["sha256"] for _, a, b in pairs)
        sums = [f"{sum(a[m] for _, a, _ in pairs)} → {sum(b[m] for _, _, b in pairs)}" for m in MEASURES]
        worst = max(pairs, key=lambda pair: pair[2]["registers"] - pair[1]["registers"])
        added = worst[2]["registers"] - worst[1]["registers"]
        lines.append(
            f"| {kernel} | {label} | {len(pairs)} | {same} | {' | '.join(sums)} | {added:+d} "
            f"{worst[0] if added else ''} |"
        )
    only = before["variants"].keys() ^ after["variants"].keys()
    return lines + [f"only in {'before' if name in before['variants'] else 'after'}: {name}" for name in sorted(only)]


def compare_bundles(before: Path, after: Path) -> str:
    """How many kernels of bundles of the same names have the same PTX, registers and spills."""
    pairs = [
        (variant, other)
        for path in sorted(before.glob("*.aot"))
        for variant, other in zip(bundle.read(path).variants, bundle.read(after / path.name).variants, strict=True)
    ]
    same = sum(a.text.replace(a.kernel, "kernel") == b.text.replace(b.kernel, "kernel") for a, b in pairs)
    sums = [
        f"{m} {sum(getattr(a, m) for a, _ in pairs)} → {sum(getattr(b, m) for _, b in pairs)}" for m in MEASURES[:2]
    ]
    return f"{len(pairs)} kernels, {same} with the same PTX; {'; '.join(sums)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("file", type=Path)
    recording.add_argument("--arch", default="sm_80,sm_90")
    comparing = commands.add_parser("table")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    both = commands.add_parser("bundles")
    both.add_argument("before", type=Path)
    both.add_argument("after", type=Path)
    given = parser.parse_args()
    if given.command == "record":
        given.file.write_text(json.dumps(record(given.arch), indent=1))
    elif given.command == "bundles":
        print(compare_bundles(given.before, given.after))
    else:
        before, after = (json.loads(path.read_text()) for path in (given.before, given.after))
        if before["triton"] != after["triton"]:
            sys.exit(f"Triton {before['triton']} before and {after['triton']} after: not comparable")
        print("\n".join(table(before, after)))


if __name__ == "__main__":
    main()
