# SPDX-License-Identifier: Apache-2.0
"""Tables of what commands made or found: builds, checks, grafts, new files, findings of doctor."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aotfactory.cli.tables.bundles import print_network, print_variants
from aotfactory.cli.tables.text import MARKS, folded, mark, print_skipped, say
from aotfactory.core.check import NAMES, Check, summary

if TYPE_CHECKING:
    from rich.console import Console

    from aotfactory.api.bake import Baked
    from aotfactory.api.build import BuildResult
    from aotfactory.api.doctor import Finding
    from aotfactory.api.graft import Graft


def print_build(console: Console, report: BuildResult) -> None:
    """A build: the network, its variants with their checks, what failed or was skipped, and what was written."""
    print_network(console, report.bundle.network)
    print_variants(console, report.bundle, report.checks)
    if beside := report.bundle.network.beside:
        others = ", ".join(f"{count} {operator}" for operator, count in beside.items())
        say(console, f"TensorRT imports itself: {others}")
    for subject, check in folded(report.failed):
        say(console, (f"{check.name} failed", "bold red"), f": {subject}: {check.detail}")
    reasons = {(c.name, c.detail.split(" as ")[0]) for c in report.checks if c.status == "skipped"}
    reasons -= {(name, "abi failed") for name in NAMES}  # that has been said
    for name, detail in sorted(reasons):
        say(console, (f"{name} skipped: {detail}", "dim"))
    if report.path:
        passed = ", ".join(n for n in NAMES if any(c.name == n and c.status == "passed" for c in report.checks))
        _print_judged(console, report.checks)
        print_skipped(console, report.bundle.skipped)
        say(console, f"checks passed: {passed}")
        say(console, "wrote ", (str(report.path), "bold"))
    else:
        say(console, ("nothing was written", "bold red"), ": a check failed")


def _print_judged(console: Console, checks: Sequence[Check]) -> None:
    """How kernels were judged: each thing that was said of any, and of how many, then the sum."""
    said: dict[tuple[str, str], int] = {}
    for check in checks:
        if check.compared in ("reference", "memory") and check.status == "passed":
            said[check.name, check.detail] = said.get((check.name, check.detail), 0) + 1
    for (name, detail), count in said.items():
        say(console, (f"{name}, {count} kernel{'s' * (count > 1)}: {detail}", "dim"))
    if judged := summary(checks):
        say(console, f"kernels: {judged}")


def print_baked(console: Console, baked: Baked) -> None:
    """The plan that was built."""
    kernels = ", ".join(v.id for v in baked.plan.kernels) or "hidden by the plan"
    say(console, f"kernels in the plan: {kernels}")
    for message in baked.plan.messages:
        say(console, ("TensorRT warns", "yellow"), f" {message}")
    say(console, "wrote ", (str(baked.path), "bold"))


def print_checks(console: Console, checks: Sequence[Check], skipped: Mapping[str, str]) -> None:
    """Checks of an artifact, each with what was compared, and their sum."""
    for subject, check in folded(checks):
        shown = mark([check]) if check.status == "passed" else (MARKS[check.status],)
        say(console, f"{check.name} {subject}: ", *shown, wrap=True)
        say(console, (f"  {check.detail}", "dim"), wrap=True)
    say(console, f"kernels: {summary(checks) or 'none judged'}")
    print_skipped(console, skipped)


def print_grafts(console: Console, found: Sequence[Graft], out: Path | None) -> None:
    """One line for every match, and what was written."""
    for match in found:
        outcome = ("replaced", "green") if match.replaced else ("left alone", "yellow")
        say(console, outcome, f" {', '.join(match.outputs)}: {match.rule}, by {match.plugin}")
        say(console, (f"  {len(match.nodes)} nodes ({', '.join(match.nodes)}): {match.detail}", "dim"))
    if not found:
        say(console, "nothing that a rule looks for is in the model")
    say(console, *(("wrote ", (str(out), "bold")) if out else ("nothing was written (--dry-run)",)))


def print_new(console: Console, name: str, files: Sequence[Path], package: bool) -> None:
    """The files of a new plugin, and what to do with them next."""
    for path in files:
        say(console, "wrote ", (str(path), "bold"))
    tests = shlex.quote(str(files[-1]))
    if package:
        folder = shlex.quote(str(files[0].parent))
        steps = [f"python -m pip install -e {folder}", f"python -m pytest {tests}", f"aotfactory build {name}"]
    else:
        steps = [f"python -m pytest {tests}", f"aotfactory build {name} --plugins {shlex.quote(str(files[0]))}"]
    # Another environment's pytest may be on the PATH, which would not find aotfactory.
    if importlib.util.find_spec("pytest") is None:
        steps.insert(0, "python -m pip install pytest")
    say(console, "next:")
    for step in steps:
        say(console, f"  {step}")


def print_findings(console: Console, findings: Iterable[Finding]) -> None:
    """The findings of `doctor`: a line for everything, and the remedy under what is not right."""
    styles = {"ok": "green", "warning": "yellow", "failure": "bold red"}
    for finding in findings:
        say(console, (finding.status, styles[finding.status]), " ", (finding.name, "bold"), f": {finding.detail}")
        if finding.remedy:
            say(console, f"  remedy: {finding.remedy}")
