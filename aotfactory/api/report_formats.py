# SPDX-License-Identifier: Apache-2.0
"""A gathered report as one HTML page, as Markdown for the summary of a CI job, and as JUnit's XML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

_PAGE = Path(__file__).with_name("report.html")

LISTED = 200
"""Engines in the Markdown table at most: those that failed come first."""


def html(report: Mapping[str, Any]) -> str:
    """One page that loads nothing from anywhere; the data is in it as JSON, and shown by its own script."""
    # In a script element, "</script" and "<!--" would mean something.
    data = json.dumps(report, separators=(",", ":")).replace("<", "\\u003c")
    return _PAGE.read_text("utf-8").replace("@DATA@", data)


def markdown(report: Mapping[str, Any]) -> str:
    """Counts, and a table with a line for each engine."""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(report["counts"].items()))
    engines = sorted(report["engines"], key=lambda engine: engine["status"] != "failed")
    lines = [f"## Engines in {_cell(report['directory'])}", "", f"{len(engines)} engines: {counts}", ""]
    lines += ["| engine | of | for | status | checks | spills |", "|---|---|---|---|---|---|"]
    for engine in engines[:LISTED]:
        inputs = ", ".join(f"{name} {dtype} {shape}" for name, (dtype, shape) in engine["inputs"].items())
        checks = ", ".join(f"{count} {status}" for status, count in sorted(engine["counts"].items()))
        spills = max((report["variants"][i]["spills"] or 0 for i in engine["variants"]), default=0)
        row = (engine["name"], f"{engine['target']}: {inputs}", " ".join(engine["archs"]), engine["status"], checks)
        lines.append(f"| {' | '.join(map(_cell, row))} | {spills} B |")
    if len(engines) > LISTED:
        lines += ["", f"and {len(engines) - LISTED} more"]
    failures = [line for engine in engines for line in _failures(report, engine)]
    if failures:
        lines += ["", "### Failures", "", *failures[:LISTED]]
    return "\n".join(lines) + "\n"


def _failures(report: Mapping[str, Any], engine: Mapping[str, Any]) -> Iterator[str]:
    failed = [check for check in checks(report, engine) if check["status"] == "failed"]
    texts = [f"{check['name']} of {check['subject']}: {check['detail']}" for check in failed]
    for text in texts or filter(None, [engine.get("error")]):
        yield f"- **{_cell(engine['name'])}**: {_cell(text)}"


def _cell(text: object) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(text).split()))


def checks(report: Mapping[str, Any], engine: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All checks of an engine, those of its plan included."""
    found: list[dict[str, Any]] = [report["checks"][i] for i in engine["checks"]]
    planned: list[dict[str, Any]] = engine.get("plan", {}).get("checks", [])
    return found + planned


def junit(report: Mapping[str, Any]) -> str:
    """A suite for each engine, a case for each check."""
    root = ElementTree.Element("testsuites", name="aotfactory")
    for engine in report["engines"]:
        found = checks(report, engine)
        broken = [{"name": "build", "subject": engine["name"], "status": "failed", "detail": engine.get("error", "")}]
        if engine.get("error") and not any(check["status"] == "failed" for check in found):
            found = broken + found
        suite = ElementTree.SubElement(root, "testsuite", name=_text(engine["name"]), tests=str(len(found)))
        for status, attribute in (("failed", "failures"), ("skipped", "skipped")):
            suite.set(attribute, str(sum(check["status"] == status for check in found)))
        suite.set("errors", "0")
        for check in found:
            name = f"{check['name']} {check['subject']}"
            case = ElementTree.SubElement(suite, "testcase", classname=_text(engine["name"]), name=_text(name))
            if check["status"] == "passed":
                ElementTree.SubElement(case, "system-out").text = _text(check["detail"])
            else:
                kind = "failure" if check["status"] == "failed" else "skipped"
                ElementTree.SubElement(case, kind, message=_text(check["detail"]))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _text(value: object) -> str:
    """Without the control characters that XML cannot hold."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", str(value))
