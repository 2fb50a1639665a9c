# SPDX-License-Identifier: Apache-2.0
"""``aotfactory report DIR``: what is known of the engines in a directory, gathered from the files beside them.

Reports of builds (``NAME.build.json``), the farm's state, records of plans, rankings of tactics. A file that cannot be
read is named in the report, not an error of it.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aotfactory.api import engine_index
from aotfactory.core import documents
from aotfactory.core.errors import ArtifactError, DefinitionError
from aotfactory.core.files import read_file, replace_file
from aotfactory.core.network import shape_text

SCHEMA = "aotfactory.report/1"

TIMES = "report-times.json"
"""The times of earlier reports, which the next one is compared with."""

KEPT = 20
"""Earlier reports whose times are kept."""


def gather(directory: Path) -> dict[str, Any]:
    """All engines of a directory and those below it, as JSON values.

    Variants, checks and inputs are in lists of their own, each once, since most engines of a farm share them.

    Raises:
        UsageError: There is no such directory, or no engine in it.
    """
    if not os.path.isdir(directory):
        raise ArtifactError(f"no such directory: {directory}", hint="name the directory that the engines are in")
    unreadable: list[str] = []
    engines: dict[str, dict[str, Any]] = {}
    pool = _Pool()

    def built(path: Path, report: dict[str, Any]) -> None:
        engines[_name(directory, path, ".build.json")] = pool.add_all(_valid(_built(report)))

    def farmed(path: Path, state: dict[str, Any]) -> None:
        for name, found in state["engines"].items():
            if found["status"] in ("failed", "error"):
                engines[_name(directory, path.with_name(name), "")] = pool.add_all(_valid(_failed(found)))

    def baked(path: Path, record: dict[str, Any]) -> None:
        found = _valid({"target": record["target"], "plan": _plan(record)})
        name = _name(directory, path, ".plan.json")
        engines.setdefault(name, _empty(found["target"]))["plan"] = found["plan"]

    def tuned(path: Path, tuning: dict[str, Any]) -> None:
        name, found = _name(directory, path, ".tuning.json"), {"timings": [_timing(r) for r in tuning["rankings"]]}
        engines.setdefault(name, _empty(name))["timings"] = _valid(found)["timings"]

    _read_all(directory, "*.build.json", "aotfactory.build/", built, unreadable)
    _read_all(directory, "farm.json", "aotfactory.farm/", farmed, unreadable)
    _read_all(directory, "*.plan.json", "aotfactory.plan/", baked, unreadable)
    _read_all(directory, "*.tuning.json", "aotfactory.tun", tuned, unreadable)
    for path in sorted(directory.rglob("*.aot")):
        if (name := _name(directory, path, ".aot")) not in engines:
            engines[name] = {**_empty(name), "note": "its build left no report here; aotfactory inspect shows it"}
    if not engines:
        raise ArtifactError(f"no engine is in {directory}", hint="build one, or name another directory")
    _compare(directory, engines)
    found = [{"name": name, **_with_status(engines[name], pool)} for name in sorted(engines)]
    return {
        "schema": SCHEMA,
        "directory": directory.resolve().name,
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "counts": dict(Counter(engine["status"] for engine in found)),
        "engines": found,
        "unreadable": unreadable,
        **pool.lists,
    }


class _Pool:
    """Lists of values, each value once; what refers to one has its index."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Any]] = {"variants": [], "checks": [], "history": []}
        self._known: dict[str, int] = {}

    def add_all(self, engine: dict[str, Any]) -> dict[str, Any]:
        """The engine with indices in place of its lists."""
        return {**engine, **{kind: [self._add(kind, v) for v in engine[kind]] for kind in self.lists if kind in engine}}

    def _add(self, kind: str, value: Any) -> int:
        key = kind + json.dumps(value, sort_keys=True)
        if key not in self._known:
            self._known[key] = len(self.lists[kind])
            self.lists[kind].append(value)
        return self._known[key]


def _empty(target: str) -> dict[str, Any]:
    return {"target": target, "inputs": {}, "attributes": {}, "archs": [], "variants": [], "checks": []}


def _valid(part: dict[str, Any]) -> dict[str, Any]:
    """The facts gathered from one file, if the formats can show them.

    Raises:
        DefinitionError: A value in it is not what belongs there.
    """
    documents.validate(part, "report", where="", hint="")
    return part


def _built(report: Mapping[str, Any]) -> dict[str, Any]:
    history = report.get("history", [])
    last = history[-2]["resources"] if len(history) > 1 else {}
    return {
        **{name: report["summary"][name] for name in ("target", "inputs", "attributes", "archs")},
        "sha256": report["bundle"]["sha256"],
        "versions": report["versions"],
        "variants": [_variant(v, last.get(v["id"])) for v in report["variants"]],
        "checks": _checks(report["checks"]),
        "history": [{"at": h["at"], "sha256": h["sha256"]} for h in history],
    }


def _failed(state: Mapping[str, Any]) -> dict[str, Any]:
    error = state["error"]
    text = "\n".join(filter(None, (error["message"], error["where"], error["hint"] and f"hint: {error['hint']}")))
    checks = _checks(state.get("checks", []))
    return {**_empty(state["target"]), "archs": [state["arch"]], "checks": checks, "error": text}


def _variant(variant: Mapping[str, Any], before: Any) -> dict[str, Any]:
    """The facts about a variant that people look for; `before`: registers and spills in the build before this one."""
    constant = {"grid_y": "1", "grid_z": "1", "block_y": "1", "block_z": "1", "shared_mem": "0"}
    launch = {n: e for n, e in variant["launch"].items() if constant.get(n) != e}
    now = [variant["registers"], variant["spills"]]
    kept = ("id", "call", "plugin", "arch", "tactic", "registers", "spills", "ptx_isa", "ptx_target", "extra_args")
    changed = before if before is not None and list(before) != now else None
    return {**{name: variant[name] for name in kept}, "launch": launch, "before": changed}


def _checks(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{n: c[n] for n in ("name", "subject", "status", "detail")} for c in checks]


def _plan(record: Mapping[str, Any]) -> dict[str, Any]:
    versions, gpu = record["versions"], record["gpu"]
    return {
        "sha256": record["plan"]["sha256"],
        "bytes": record["plan"]["bytes"],
        "versions": {n: str(v) for n, v in versions.items() if n != "bundle"},
        "gpu": f"{gpu['name']}, {gpu['arch']}",
        "flags": list(record["flags"]),
        "tactics": [f"{k['call']}: tactic {k['tactic']}" for k in record["kernels"] if k["in_plan"]],
        "messages": list(record["messages"]),
        "checks": _checks(record["checks"]),
    }


def _timing(ranking: Mapping[str, Any]) -> dict[str, Any]:
    shapes = ", ".join(f"{name} {shape_text(shape)}" for name, shape in ranking["shapes"].items())
    tactics = [
        {"tactic": t["tactic"], "us": t["us"], "gb_per_s": t["gb_per_s"], "of_copy": t["of_copy"], "before": None}
        for t in ranking["tactics"]
    ]
    return {"gpu": ranking["gpu"], "shapes": shapes, "tactics": tactics}


def _with_status(engine: dict[str, Any], pool: _Pool) -> dict[str, Any]:
    """``failed``, ``passed``, or ``unchecked`` where no check has run."""
    checks = [pool.lists["checks"][i] for i in engine["checks"]] + engine.get("plan", {}).get("checks", [])
    statuses = Counter(check["status"] for check in checks)
    status = "failed" if engine.get("error") or statuses["failed"] else "passed" if statuses["passed"] else "unchecked"
    return {**engine, "status": status, "counts": dict(statuses)}


def _compare(directory: Path, engines: Mapping[str, dict[str, Any]]) -> None:
    """Give each time the one before it, and keep the times of now for the next report."""
    now = {
        f"{name}|{timing['gpu']}|{timing['shapes']}|{tactic['tactic']}": (tactic, tactic["us"])
        for name, engine in engines.items()
        for timing in engine.get("timings", ())
        for tactic in timing["tactics"]
    }
    if not now:
        return
    runs, times = _earlier(directory), {key: us for key, (_, us) in now.items()}
    if runs and runs[-1]["us"] == times:
        runs.pop()  # the same as last time: what is new is compared with is the one before
    for key, (tactic, _) in now.items():
        tactic["history"] = [[run["at"], run["us"][key]] for run in runs if key in run["us"]]
        tactic["before"] = tactic["history"][-1][1] if tactic["history"] else None
    runs.append({"at": time.strftime("%Y-%m-%d"), "us": times})
    replace_file(directory / TIMES, json.dumps({"schema": SCHEMA, "runs": runs[-KEPT:]}, indent=1).encode() + b"\n")


def _earlier(directory: Path) -> list[dict[str, Any]]:
    """Day and times of earlier reports."""
    try:
        runs = documents.parse_json(read_file(directory / TIMES, limit=engine_index.LARGEST))["runs"]
        return [
            {"at": str(run["at"]), "us": {name: float(us) for name, us in run["us"].items()}} for run in runs[-KEPT:]
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []


def _read_all(
    directory: Path, pattern: str, schema: str, take: Callable[[Path, dict[str, Any]], None], unreadable: list[str]
) -> None:
    """Give `take` each JSON document of a pattern; what it cannot use is told in `unreadable`."""
    for path in sorted(directory.rglob(pattern)):
        try:
            data = documents.parse_json(read_file(path, limit=engine_index.LARGEST))
            if not isinstance(data, dict) or not str(data.get("schema", "")).startswith(schema):
                raise ValueError(f"its schema is not {schema}")
            take(path, data)
        except DefinitionError as error:
            unreadable.append(f"{path.relative_to(directory)}: {error.where} {error.message}")
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            unreadable.append(f"{path.relative_to(directory)}: {type(error).__name__}: {error}")


def _name(directory: Path, path: Path, suffix: str) -> str:
    """An engine's name, with the directories below `directory` that it is in."""
    return str(path.relative_to(directory)).removesuffix(suffix)
