# SPDX-License-Identifier: Apache-2.0
"""What `bench_kernels.py` shows of its rows: a line as each is made, the table in docs/kernels.md, and the plot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench_cases import BENCHES, PROFILES, SHAPES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "kernels.md"
MARKS = "<!-- measured -->", "<!-- end of measured -->"
TYPES = ("fp32", "fp16", "bf16", "int8")
RIVALS = {"eager": "PyTorch", "compile": "torch.compile", "naive": "naive Triton"}


def line(row: Mapping[str, Any]) -> str:
    what = f"{row['case']} {row['shape']} {row['dtype']} {row['profile']}"
    if "error" in row:
        return f"{what}: {row['error']}"
    others = [f"{RIVALS[r]} {row[f'{r}_ratio']:.2f}x" for r in RIVALS if f"{r}_ratio" in row]
    ranked = ", ".join(f"{t['tactic']}: {t['of_copy']:.2f}" for t in row["tactics"])
    own = f"{row['us']:.1f} us, {row['gb_per_s']:.0f} GB/s, {row['of_copy']:.2f} of copy, tactics {ranked}"
    return f"{what}: {own}; {', '.join(others) or 'nothing beside'}"


def tables(result: Mapping[str, Any]) -> str:
    """Markdown: a table for each of SHAPES, a row for each measurement, with what they run on."""
    versions = ", ".join(f"{name} {v}" for name, v in result["machine"].items() if name != "gpu")
    parts = [f"{result['machine']['gpu']}, {dates(result)}: {versions}."]
    good = [row for row in result["rows"] if "error" not in row and row["case"] in BENCHES]
    for shape in reversed(SHAPES):
        if rows := [row for row in good if row["shape"] == shape]:
            parts += ["", f"### {shape.capitalize()} shapes", "", *table(rows)]
    return "\n".join(parts)


def dates(result: Mapping[str, Any]) -> str:
    found = sorted({row["date"] for row in result["rows"]})
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    columns = ["case", "sizes", "type", "profile", "µs", "GB/s", "of copy", "PyTorch", "compile", "naive", "empty"]
    columns += ["tactic", "regs", "spills", "shared"]
    lines = [f"| {' | '.join(columns)} |", "|---|---|---|---|" + "---:|" * 11]
    order = list(BENCHES), list(PROFILES), list(TYPES)
    by = ("case", "profile", "dtype")
    for row in sorted(rows, key=lambda r: [known.index(r[name]) for name, known in zip(by, order, strict=True)]):
        best = row["tactics"][0]
        sizes = " ".join(f"{name}={n}" for name, n in row["sizes"].items())
        ratios = [f"{row[f'{r}_ratio']:.2f}" if f"{r}_ratio" in row else "" for r in (*RIVALS, "empty")]
        numbers = [f"{row['us']:.1f}", f"{row['gb_per_s']:.0f}", f"{row['of_copy']:.2f}", *ratios]
        used = [str(best[name]) for name in ("tactic", "registers", "spills", "shared_mem")]
        lines.append(f"| {' | '.join([row['case'], sizes, row['dtype'], row['profile'], *numbers, *used])} |")
    return lines


def profiled(result: Mapping[str, Any]) -> str:
    """Markdown: what `profile_kernels.py` found of each case's fastest tactic."""
    units = ("dram", "l2", "l1", "issue", "occupancy", "waiting")
    columns = ["case", "type", "tactic", "µs", "DRAM", "L2", "L1", *units[3:], "MB read", "MB written"]
    lines = [f"| {' | '.join(columns)} |", "|---|---|" + "---:|" * 10]
    fastest: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for row in sorted(result["rows"], key=lambda r: r["us"]):
        fastest.setdefault((row["case"], row["shape"], row["dtype"], row["profile"]), row)
    for (case, _, dtype, _), row in sorted(fastest.items()):
        numbers = [f"{row['us']:.1f}", *(f"{row[f'{unit}_pct']:.0f}" for unit in units)]
        numbers += [f"{row[f'{name}_mb']:.0f}" for name in ("read", "written")]
        lines.append(f"| {' | '.join([case, dtype, str(row['tactic']), *numbers])} |")
    versions = ", ".join(f"{name} {v}" for name, v in result["machine"].items() if name != "gpu")
    title = f"### By Nsight Compute\n\n{result['machine']['gpu']}, {result['date']}: {versions}. One launch, L2 flushed"
    text = (
        f"{title} before; DRAM, L2, L1, the schedulers (issue) and their occupancy in percent of their peak; waiting: "
        "for how much of their time warps wait for data from L1 or beyond."
    )
    return "\n".join([text, "", *lines])


def render(result: Mapping[str, Any], out: Path) -> None:
    """The plot beside `out`, and the tables, with those of profiles.json beside it, into docs/kernels.md."""
    page = PAGE.read_text("utf-8")
    begin, end = MARKS
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise SystemExit(f"{PAGE} needs one pair of {begin} and {end}, between which the table goes")
    plot(result, out)
    parts = [begin, tables(result)]
    if (profiles := out.with_name("profiles.json")).exists():
        parts.append(profiled(json.loads(profiles.read_text())))
    text = "\n\n".join([*parts, end])
    PAGE.write_text(pattern.sub(lambda match: text, page), "utf-8")


def plot(result: Mapping[str, Any], out: Path) -> None:
    """Bars for the large static shapes: fraction of the copy's speed, ours and the rivals'."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("the plot takes matplotlib: python -m pip install matplotlib") from None
    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    rows = [r for r in result["rows"] if r["shape"] == "large" and r["profile"] == "static" and "error" not in r]
    kinds = [dtype for dtype in TYPES if any(r["dtype"] == dtype for r in rows)]
    if not kinds:
        raise SystemExit(f"{out} has no rows of large static shapes to plot")
    names = [name for name in BENCHES if any(r["case"] == name for r in rows)]
    figure, axes = plt.subplots(1, len(kinds), figsize=(5 * len(kinds), 0.55 * len(names) + 1.5), sharey=True)
    for axis, dtype in zip([axes] if len(kinds) == 1 else axes, kinds, strict=True):
        here = {r["case"]: r for r in rows if r["dtype"] == dtype}
        for k, (series, label) in enumerate({"ours": "aotfactory", **RIVALS}.items()):
            widths = []
            for name in names:
                row = here.get(name, {})
                ratio = 1.0 if series == "ours" else row.get(f"{series}_ratio")
                widths.append(row["of_copy"] / ratio if row and ratio else 0.0)
            axis.barh([i + 0.2 * (k - 1.5) for i in range(len(names))], widths, 0.2, label=label)
        axis.axvline(1, color="grey", linewidth=0.8)
        axis.set_title(dtype)
        axis.set_xlabel("speed, of a device copy of as many bytes")
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.4, -0.6)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=len(labels), fontsize="small")
    figure.suptitle(f"Large shapes on an {result['machine']['gpu']}, {dates(result)}")
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    plt.rcParams["svg.hashsalt"] = "aotfactory"  # the same rows give the same file
    for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
        figure.savefig(out.with_suffix(suffix), dpi=110, metadata=metadata)
        print(f"wrote {out.with_suffix(suffix)}")
