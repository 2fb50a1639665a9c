# SPDX-License-Identifier: Apache-2.0
"""Checks: what was verified of which variant, and with what outcome."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aotfactory import proofs, symbolic
from aotfactory.bundle import Variant
from aotfactory.calling_convention import SHARED_LIMIT
from aotfactory.network import Call, Network
from aotfactory.proofs import Interval, Proof
from aotfactory.symbolic import Expr

NAMES = ("abi", "ptxas", "bounds", "interpreter", "launcher", "trtexec", "runner", "python-free")

INT32, INT64 = 2**31 - 1, 2**63 - 1
GRID_LIMITS = {"grid_x": 2**31 - 1, "grid_y": 65535, "grid_z": 65535}
BLOCK_LIMITS = {"block_x": 1024, "block_y": 1024, "block_z": 64}
MAX_THREADS = 1024
"""Limits of CUDA (CUDA C++ Programming Guide, "Compute Capabilities")."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: One of `NAMES`.
        subject: Id of the variant, or name of the artifact.
        status: A skipped check says why in `detail`.
    """

    name: str
    subject: str
    status: Literal["passed", "failed", "skipped"]
    detail: str = ""


def failed(checks: Iterable[Check]) -> list[Check]:
    return [check for check in checks if check.status == "failed"]


def python_free(subject: str, libraries: Sequence[str], *, tensorrt: bool, environment: Iterable[str] = ()) -> Check:
    """Whether a process has loaded neither Python nor what only comes with it.

    Args:
        libraries: File names of what was mapped into it.
        tensorrt: Whether TensorRT's own library may be there.
        environment: Names of the variables that it was run with.
    """
    foreign = "python|torch|triton|numpy" if tensorrt else "python|torch|triton|numpy|tensorrt|nvinfer"
    found = [name for name in libraries if re.search(foreign, Path(name).name, re.IGNORECASE)]
    variables = f"no variables but {' and '.join(environment)}" if environment else "empty environment"
    detail = f"the process has {', '.join(found)} loaded" if found else f"{variables}; loaded: {', '.join(libraries)}"
    return Check(name="python-free", subject=subject, status="failed" if found else "passed", detail=detail)


def bounds(variant: Variant, network: Network, call: Call, divisible: Mapping[int, int]) -> Check:
    """Prove a variant's launch parameters and extra arguments over the whole optimization profile.

    Every extra argument fits int32; every launch parameter is within CUDA's limits, and none is 0 unless the call's
    outputs are empty; what the kernel was promised to be divisible is so.

    Args:
        divisible: Index of an extra argument, and the divisor that the kernel was compiled for.
    """
    domain = {name: Interval(r.min, r.max) for name, r in network.ranges.items()}
    problems = []

    def demand(what: str, expr: Expr, low: int, high: int, why: str, over: Mapping[str, Interval]) -> None:
        proof = proofs.prove_within(expr, low, high, over)
        if proof.status != "proved":
            problems.append(f"{what} = {expr} {_where(proof, network, over)}: {why}")

    for i, expr in enumerate(variant.extra_args):
        demand(f"extra argument {i}", expr, -INT32 - 1, INT32, "an extra argument is an int32", domain)
        divisor = divisible.get(i, 1)
        proved = proofs.divisor(expr, domain)
        if proved % divisor:
            problems.append(
                f"extra argument {i} = {expr} was promised to be a multiple of {divisor}; the profile proves {proved}"
            )
    # A dimension of 0 leaves nothing to compute, and then a grid of 0 is right; what a kernel computes for the other
    # shapes must be computed, so there no launch parameter may be 0.
    working = {name: Interval(max(known.low, 1), max(known.high, 1)) for name, known in domain.items()}
    empty = any(d == symbolic.Constant(0) for name in call.outputs for d in network.tensor(name).shape)
    for field, limit in (GRID_LIMITS | BLOCK_LIMITS).items():
        expr = variant.launch[field]
        demand(field, expr, 0, limit, f"CUDA's limit is {limit}", domain)
        if not empty:
            demand(field, expr, 1, INT64, "nothing would run", working)
    threads: Expr = symbolic.Constant(1)
    for field in BLOCK_LIMITS:
        threads = symbolic.operation(symbolic.Op.PROD, threads, variant.launch[field])
    demand("threads of a block", threads, 1, MAX_THREADS, f"CUDA's limit is {MAX_THREADS}", domain)
    demand("shared_mem", variant.launch["shared_mem"], 0, SHARED_LIMIT, f"TensorRT's is {SHARED_LIMIT}", domain)
    if problems:
        return Check(name="bounds", subject=variant.id, status="failed", detail="; ".join(dict.fromkeys(problems)))
    over = ", ".join(f"{n} {r.min}..{r.max}" for n, r in network.ranges.items()) or "a static shape"
    return Check(name="bounds", subject=variant.id, status="passed", detail=f"proved over {over}")


def _where(proof: Proof, network: Network, domain: Mapping[str, Interval]) -> str:
    if proof.status == "unknown":
        return "could not be proved over the profile"
    if not proof.counterexample:
        return f"is {proof.value}" if proof.value is not None else "divides by 0"
    at = ", ".join(f"{name}={value}" for name, value in proof.counterexample.items())
    return f"is {proof.value} at {at}" if proof.value is not None else f"divides by 0 at {at}"
