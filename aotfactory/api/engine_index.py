# SPDX-License-Identifier: Apache-2.0
"""``engines/index.json``: the engines of a directory, with what each is of; and a report of each engine beside it.

The index can be made again from the files that it lists, so a damaged one is no loss.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aotfactory.compiler.bundle import MANIFEST
from aotfactory.compiler.manifest import Bundle
from aotfactory.core import expressions
from aotfactory.core.files import read_file, replace_file
from aotfactory.core.network import Network, shape_text
from aotfactory.core.network_json import network_from_json

SCHEMA = "aotfactory.index/1"

INDEX = "index.json"

HISTORY = 20
"""Builds of an engine that its report remembers."""

LARGEST = 256 * 2**20
"""Bytes of an index that is still read; ten thousand engines take about 4 MB."""


def summary(network: Network, archs: Iterable[str]) -> dict[str, Any]:
    """The facts that tell engines apart: target, inputs with types and extents, attributes, architectures."""
    return {
        "target": network.target,
        "inputs": {t.name: [t.dtype, _shape(network, t.name)] for t in network.inputs},
        "attributes": {c.name: {n: _value(v) for n, v in c.attributes.items()} for c in network.calls},
        "archs": list(dict.fromkeys(archs)),
    }


def replaced(path: Path, bundle: Bundle) -> str | None:
    """Describe the bundle that is about to be replaced, if it is of something else; None: nothing is lost."""
    try:
        data = json.loads(read_file(path / MANIFEST, limit=LARGEST))
        before = summary(network_from_json(data, plain=True), [v["arch"] for v in data["variants"]])
    except Exception:  # whatever is wrong with it, `bundle.write` judges whether it may be replaced
        return None
    return None if before == summary(bundle.network, [v.arch for v in bundle.variants]) else describe(before)


def describe(summary: Mapping[str, Any]) -> str:
    """``circ_pad of x fp32 1x3x32x32, pads=1,1,1,1, for sm_90``."""
    inputs = ", ".join(f"{name} {dtype} {shape}" for name, (dtype, shape) in summary["inputs"].items())
    attributes = ", ".join(f"{n}={v}" for given in summary["attributes"].values() for n, v in given.items())
    return f"{summary['target']} of {', '.join(filter(None, (inputs, attributes)))}, for {', '.join(summary['archs'])}"


def _shape(network: Network, name: str) -> str:
    """``1x3x32x32``, or ``1..8x64`` where a dimension is dynamic."""
    return shape_text(_extent(network, d) for d in network.tensor(name).shape)


def _extent(network: Network, dimension: expressions.Expr) -> str:
    r = network.ranges.get(str(dimension))
    return f"{r.min}..{r.max}" if r else str(dimension)


def _value(value: Any) -> str:
    items = value.tolist() if hasattr(value, "tolist") else value
    return ",".join(map(str, items)) if isinstance(items, list | tuple) else str(items)


def record(directory: Path, bundle: Bundle, report: Mapping[str, Any]) -> None:
    """Keep an engine's report beside it, with the builds before it, and enter it in the directory's index."""
    name = bundle.network.name
    add(directory, {name: keep(directory, name, document(bundle, report))})


def document(bundle: Bundle, report: Mapping[str, Any]) -> dict[str, Any]:
    """A report with what it is of, and by which versions it was made."""
    of = summary(bundle.network, [v.arch for v in bundle.variants])
    return {**report, "summary": of, "versions": dict(bundle.versions)}


def keep(directory: Path, name: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a report with its summary beside its engine; the engine's entry for `add`."""
    path = directory / f"{name}.build.json"
    before = _report(path) or {}
    if {n: before.get(n) for n in kept} != json.loads(json.dumps(kept)):
        resources = {v["id"]: [v["registers"], v["spills"]] for v in kept["variants"]}
        built = {"at": _now(), "sha256": kept["bundle"]["sha256"], "resources": resources}
        earlier = before.get("history")
        history = [*(earlier if isinstance(earlier, list) else []), built][-HISTORY:]
        with contextlib.suppress(OSError):
            replace_file(path, json.dumps({**kept, "history": history}, indent=1).encode() + b"\n")
    return entry(kept)


def entry(report: Mapping[str, Any]) -> dict[str, Any]:
    """An engine's entry in the index, from its report."""
    counts = Counter(check["status"] for check in report["checks"])
    return {
        **report["summary"],
        "kind": report["engine"]["kind"],
        "sha256": report["engine"]["sha256"],
        "checks": {status: counts[status] for status in ("passed", "failed", "skipped")},
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def add(directory: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Add engines to a directory's index, in place of earlier ones of their names; drop those that are gone."""
    if not entries:
        return
    with contextlib.suppress(OSError), _locked(directory):  # an index that cannot be written costs no engine
        known = read(directory)
        if all(known.get(name) == entry for name, entry in entries.items()):
            return
        known.update(entries)
        there = {path.name.removesuffix(".aot") for path in directory.glob("*.aot")}
        kept = {name: known[name] for name in sorted(known) if name in there}
        text = json.dumps({"schema": SCHEMA, "engines": kept}, indent=1)
        replace_file(directory / INDEX, text.encode() + b"\n")


def read(directory: Path) -> dict[str, Any]:
    """The engines of a directory's index by name; none where there is no index, or a damaged one."""
    try:
        data = json.loads(read_file(directory / INDEX, limit=LARGEST))
        engines = data["engines"] if data["schema"] == SCHEMA else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return engines if isinstance(engines, dict) else {}


def _report(path: Path) -> dict[str, Any] | None:
    try:
        report = json.loads(read_file(path, limit=LARGEST))
    except (OSError, ValueError, RecursionError):
        return None
    ours = isinstance(report, dict) and str(report.get("schema", "")).startswith("aotfactory.build/")
    return report if ours else None


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Alone among those who change this index."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
