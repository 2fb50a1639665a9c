# SPDX-License-Identifier: Apache-2.0
"""The `interpreter` check: the Triton kernels of a network run on the CPU, as TensorRT would launch them.

A process with Triton's interpreter on runs the same definitions again. `triton.compile` there takes down the kernel
instead of compiling it, so whatever the `aot_impl` does is followed, and then the kernel runs with the pointers,
extra arguments and grid of the compiled variant. Each output is compared with the recipe's reference; every access is
checked to be inside its tensor, and every element of an output to be written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from aotfactory.compiler.compile import CompiledVariant
from aotfactory.core.check import Check
from aotfactory.core.errors import CheckError
from aotfactory.core.network import Network
from aotfactory.core.network_json import network_to_json

LARGEST = 4096
"""Elements of a tensor that the interpreter is run with at most; it takes about a millisecond for each program."""

TIME_LIMIT = 1800
"""Seconds for all variants of a network."""


def check(network: Network, results: Sequence[CompiledVariant], sources: Sequence[str]) -> list[Check]:
    """Run every variant that Triton compiled; variants that differ in the architecture alone are run once.

    Args:
        results: What was compiled.
        sources: Modules of definitions and recipes, as `plugins.load` takes them.

    Raises:
        CheckError: The interpreter's process did not answer.
    """
    found = []
    alike: dict[Any, list[CompiledVariant]] = {}
    for result in results:
        if reason := _skipped(result):
            found.append(Check(name="interpreter", subject=result.id, status="skipped", detail=reason))
        else:
            alike.setdefault(_what_runs(result), []).append(result)
    if alike:
        outcomes = _run(network, [_job(group[0]) for group in alike.values()], sources)
        for group, outcome in zip(alike.values(), outcomes, strict=True):
            found += [Check(name="interpreter", subject=result.id, **outcome) for result in group]
    return found


def _what_runs(result: CompiledVariant) -> Any:
    """What the interpreter's answer depends on: everything but the architecture."""
    assert result.variant is not None
    launch = tuple(result.variant.launch.items())
    sources = tuple(c.source for c in result.compilations)
    return result.call.name, result.combination, result.tactic, launch, result.variant.extra_args, sources


def _skipped(result: CompiledVariant) -> str | None:
    if result.variant is None:
        return "abi failed" if any(c.status == "failed" for c in result.checks) else result.checks[0].detail
    if not result.compilations:
        return "not a Triton kernel"
    other = [f for f in result.combination.formats if f != "linear"]
    return f"format {other[0]} is not laid out by this check" if other else None


def _job(result: CompiledVariant) -> dict[str, Any]:
    assert result.variant is not None
    return {
        "id": result.id,
        "call": result.call.name,
        "dtypes": result.combination.dtypes,
        "tactic": result.tactic,
        "kernel": next((c.metadata["name"] for c in reversed(result.compilations)), ""),
        "launch": {n: e.to_json() for n, e in result.variant.launch.items()},
        "extra_args": [e.to_json() for e in result.variant.extra_args],
        "compilations": [
            {"metadata": {k: v for k, v in c.metadata.items() if isinstance(v, int | str | float)}, "ptx": c.ptx}
            for c in result.compilations
        ],
    }


def _run(network: Network, jobs: list[dict[str, Any]], sources: Sequence[str]) -> list[dict[str, Any]]:
    request = {
        "network": {"name": network.name, "target": network.target, **network_to_json(network)},
        "sources": list(sources),
        "variants": jobs,
    }
    command = [sys.executable, "-m", "aotfactory.executors.interpreter.worker"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            env={**os.environ, "TRITON_INTERPRET": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"Triton's interpreter took more than {TIME_LIMIT} s", hint="use smaller shapes") from error
    if done.returncode:
        # The last line of a traceback; the hint of an error is indented.
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line[0].isspace()]
        last = lines[-1] if lines else f"exit code {done.returncode}"
        raise CheckError(f"Triton's interpreter failed: {last}", hint=f"to see more: {' '.join(command)}")
    outcomes: list[dict[str, Any]] = json.loads(done.stdout)
    return outcomes
