# SPDX-License-Identifier: Apache-2.0
"""The `interpreter` check: the Triton kernels of a network run on the CPU, as TensorRT would launch them.

A process with Triton's interpreter on runs the same definitions again. `triton.compile` there records the kernel
instead of compiling it, so whatever the `aot_impl` does is followed, and then the kernel runs with the pointers,
extra arguments and grid of the compiled variant. Each output is compared with the recipe's reference; every access is
checked to be inside its tensor, and every element of an output to be written.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from aotfactory.compiler.compile import CompiledVariant, compile_network
from aotfactory.compiler.options import Options
from aotfactory.compiler.variant import LaunchedKernel
from aotfactory.core.arch import Road, parse_archs
from aotfactory.core.check import Check
from aotfactory.core.errors import AotError, DefinitionError, InterpreterError, OutOfTimeError
from aotfactory.core.network import Network, shape_text
from aotfactory.core.network_json import network_to_json
from aotfactory.core.processes import run_program
from aotfactory.executors.effort import DEFAULT_EFFORT, Effort
from aotfactory.executors.inputs import Array
from aotfactory.targets.network_builder import at_shapes

TIME_LIMIT = 1800.0
"""Seconds on the clock, on a machine however busy."""


def check(
    network: Network,
    results: Sequence[CompiledVariant],
    sources: Sequence[str],
    effort: Effort = DEFAULT_EFFORT,
    progress: Callable[[str], None] = lambda text: None,
    given: Mapping[str, Array] | None = None,
) -> list[Check]:
    """Run every variant that Triton compiled; those that differ in the architecture or the node alone are run once.

    Args:
        results: What was compiled.
        sources: Modules of definitions and recipes, as `plugins.load` takes them.
        progress: Told how many runs of how many are done.
        given: Data of all of the network's inputs, in place of what is made for the purpose.

    Raises:
        CheckError: The interpreter's process did not answer.
    """
    found = []
    alike: dict[Any, list[CompiledVariant]] = {}
    for result in results:
        if reason := _skipped(result):
            found.append(
                Check(name="interpreter", subject=result.id, status="skipped", detail=reason, compared="nothing")
            )
        else:
            whose = result.call.name if given else network.likeness(result.call)
            alike.setdefault((whose, *_what_runs(result)), []).append(result)
    if alike:
        jobs = [_job(group[0]) for group in alike.values()]
        (road,) = {result.road for result in results}
        outcomes = _run(network, jobs, road, sources, effort, progress, given)
        for group, outcome in zip(alike.values(), outcomes, strict=True):
            for shapes in outcome.pop("doubts", ()):
                if error := _not_compiled(network, group[0], shapes):
                    outcome |= {"status": "failed", "detail": error}
                    break
            found += [Check.from_json({"name": "interpreter", "subject": r.id, **outcome}) for r in group]
    return found


def _not_compiled(network: Network, result: CompiledVariant, shapes: Mapping[str, Sequence[int]]) -> str | None:
    """Why a variant does not compile at other shapes than those it was made for; None if it does.

    Where the interpreter fails, that tells a kernel's fault from the interpreter's.
    """
    assert result.variant is not None
    types = dict(zip(result.call.inputs, result.combination.dtypes, strict=False))
    options = Options(archs=parse_archs(result.variant.arch), tactic=result.tactic, road=result.road)
    try:
        made = at_shapes(network, {name: tuple(shape) for name, shape in shapes.items()}, types)
        compile_network(made, options, lambda name: None)
    except DefinitionError as error:
        places = ", ".join(f"{n} {shape_text(s)}" for n, s in shapes.items())
        return f"{result.call.name}: {error.message}; at {places}, where it does not compile"
    except AotError:
        return None  # not for these shapes, or not with this tactic
    return None


def _what_runs(result: CompiledVariant) -> Any:
    """All that the interpreter's answer depends on beside the call, which is everything but the architecture."""
    assert result.variant is not None
    launches = tuple((tuple(k.launch.items()), k.extra_args) for k in result.variant.kernels)
    sources = tuple(c.source for c in result.compilations)
    return result.combination, result.tactic, launches, result.variant.workspaces, sources


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
        "arch": result.variant.arch,
        "tactic": result.tactic,
        "config": result.config,
        "kernel": next((c.metadata["name"] for c in reversed(result.compilations)), ""),
        **_launch(result.variant),
        "workspaces": [w.bytes.to_json() for w in result.variant.workspaces],
        "then": [_launch(kernel) for kernel in result.variant.then],
        "compilations": [
            {"metadata": {k: v for k, v in c.metadata.items() if _plain(v)}, "ptx": c.ptx, "texts": c.texts}
            for c in result.compilations
        ],
    }


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, int | str | float | list | tuple)


def _launch(kernel: LaunchedKernel) -> dict[str, Any]:
    return {
        "launch": {n: e.to_json() for n, e in kernel.launch.items()},
        "extra_args": [e.to_json() for e in kernel.extra_args],
    }


def _run(
    network: Network,
    jobs: list[dict[str, Any]],
    road: Road,
    sources: Sequence[str],
    effort: Effort,
    progress: Callable[[str], None],
    given: Mapping[str, Array] | None = None,
) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="aotfactory-") as folder:
        files = {}
        for i, (name, array) in enumerate((given or {}).items()):
            files[name] = f"{folder}/{i}.npz"
            np.savez(files[name], bytes=np.frombuffer(array.tobytes(), np.uint8), shape=np.array(array.shape, np.int64))
        return _in_process(network, jobs, road, sources, effort, progress, files)


def worker_command() -> list[str]:
    return [sys.executable, "-m", "aotfactory.executors.interpreter.worker"]


def _in_process(
    network: Network,
    jobs: list[dict[str, Any]],
    road: Road,
    sources: Sequence[str],
    effort: Effort,
    progress: Callable[[str], None],
    given: Mapping[str, str],
) -> list[dict[str, Any]]:
    request = {
        "network": {"name": network.name, "target": network.target, **network_to_json(network)},
        "sources": list(sources),
        "path": sys.path,
        "arch": jobs[0]["arch"],
        "road": road,
        "variants": jobs,
        "given": given,
        "seconds": effort.seconds,
        "processes": effort.processes or len(os.sched_getaffinity(0)),
    }
    command = worker_command()
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    answers: list[list[dict[str, Any]]] = []

    def heard(line: str) -> None:
        message = json.loads(line)
        if "outcomes" in message:
            answers.append(message["outcomes"])
        else:
            progress(f"interpreter: {message['done']} of {message['of']} runs")

    try:
        done = run_program(
            worker_command(), timeout=TIME_LIMIT, text=json.dumps(request), env=environment, on_line=heard
        )
    except OutOfTimeError:
        message = f"Triton's interpreter took more than {TIME_LIMIT} s"
        raise InterpreterError(message, hint="use smaller shapes") from None
    if answers:
        return answers[0]
    # The last line of a traceback; the hint of an error is indented.
    lines = [line.rstrip() for line in done.stderr.splitlines() if line.strip() and not line[0].isspace()]
    last = lines[-1] if lines else "it ended without an answer"
    raise InterpreterError(f"Triton's interpreter failed: {last}", hint=f"to see more: {' '.join(command)}")
