# SPDX-License-Identifier: Apache-2.0
"""Checks: what was verified of which variant, and with what outcome."""

from __future__ import annotations

from collections.abc import Mapping

from aotfactory.compiler.bundle import Variant
from aotfactory.core import expressions, proofs
from aotfactory.core.arch import SHARED_LIMIT, shared_limiter
from aotfactory.core.check import Check
from aotfactory.core.expressions import Expr
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Call, Network
from aotfactory.core.proofs import Interval, Proof

INT32, INT64 = 2**31 - 1, 2**63 - 1


GRID_LIMITS = {name: LIMITS[name] for name in ("grid_x", "grid_y", "grid_z")}
BLOCK_LIMITS = {name: LIMITS[name] for name in ("block_x", "block_y", "block_z")}
MAX_THREADS = LIMITS["block_threads"]
"""Limits of CUDA (CUDA C++ Programming Guide, "Compute Capabilities")."""


def check(
    variant: Variant, network: Network, call: Call, divisible: Mapping[int, int], *, shared: int = SHARED_LIMIT
) -> Check:
    """Prove a variant's launch parameters and extra arguments over the whole optimization profile.

    Every extra argument fits int32; every launch parameter is within CUDA's limits, and none is 0 unless the call's
    outputs are empty; what the kernel was promised to be divisible is so; the grid is of whole clusters.

    Args:
        divisible: Index of an extra argument, and the divisor that the kernel was compiled for.
        shared: Bytes of shared memory that the launcher gives a block.
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
    empty = any(d == expressions.Constant(0) for name in call.outputs for d in network.tensor(name).shape)
    for field, limit in (GRID_LIMITS | BLOCK_LIMITS).items():
        expr = variant.launch[field]
        demand(field, expr, 0, limit, f"CUDA's limit is {limit}", domain)
        if not empty:
            demand(field, expr, 1, INT64, "nothing would run", working)
    for axis, blocks in zip("xyz", variant.cluster, strict=True):
        expr = variant.launch[f"grid_{axis}"]
        if proofs.divisor(expr, domain) % blocks:
            problems.append(
                f"grid_{axis} = {expr} is not a multiple of the cluster's {blocks} blocks over the profile, as far as "
                "can be proved: the grid counts blocks, for Triton programs times num_ctas"
            )
    threads: Expr = expressions.Constant(1)
    for field in BLOCK_LIMITS:
        threads = expressions.operation(expressions.Op.PROD, threads, variant.launch[field])
    demand("threads of a block", threads, 1, MAX_THREADS, f"CUDA's limit is {MAX_THREADS}", domain)
    demand("shared_mem", variant.launch["shared_mem"], 0, shared, f"{shared_limiter(shared)} {shared}", domain)
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
