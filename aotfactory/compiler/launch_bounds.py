# SPDX-License-Identifier: Apache-2.0
"""The `bounds` check: launches and extra arguments are proved to be possible over the whole profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aotfactory.compiler.variant import LaunchedKernel, Variant
from aotfactory.core import expressions, proofs
from aotfactory.core.arch import SHARED_LIMIT, shared_limiter
from aotfactory.core.arguments import Quotient
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
    variant: Variant,
    network: Network,
    call: Call,
    divisible: Sequence[Mapping[int, int]],
    *,
    shared: int = SHARED_LIMIT,
) -> Check:
    """Prove a variant's launch parameters and extra arguments over the whole optimization profile.

    Every extra argument fits its type; every launch parameter is within CUDA's limits, and none is 0 unless the call's
    outputs are empty; what the kernels were promised to be divisible is so; the grid is of whole clusters; and a
    workspace has a size.

    Args:
        divisible: For each kernel: index of an extra argument, and the divisor that the kernel was compiled for.
        shared: Bytes of shared memory that the launcher gives a block.
    """
    domain = {name: Interval(r.min, r.max) for name, r in network.ranges.items()}
    # A dimension of 0 leaves nothing to compute, and then a grid of 0 is right; what a kernel computes for the other
    # shapes must be computed, so there no launch parameter may be 0.
    working = {name: Interval(max(known.low, 1), max(known.high, 1)) for name, known in domain.items()}
    empty = any(d == expressions.Constant(0) for name in call.outputs for d in network.tensor(name).shape)
    problems: list[str] = []

    def demand(what: str, expr: Expr, low: int, high: int, why: str, over: Mapping[str, Interval]) -> None:
        proof = proofs.prove_within(expr, low, high, over)
        if proof.status != "proved":
            where = "" if isinstance(expr, expressions.Constant) else f" {_where(proof, network, over)}"
            problems.append(f"{what} = {expr}{where}: {why}")

    for number, (kernel, promised) in enumerate(zip(variant.kernels, divisible, strict=True), start=1):
        of = f" of kernel {number}" if variant.then else ""
        _extra_args(kernel, len(call.inputs), of, domain, promised, demand, problems)
        for field, limit in (GRID_LIMITS | BLOCK_LIMITS).items():
            expr = kernel.launch[field]
            demand(f"{field}{of}", expr, 0, limit, f"CUDA's limit is {limit}", domain)
            if not empty:
                demand(f"{field}{of}", expr, 1, INT64, "nothing would run", working)
        for axis, blocks in zip("xyz", kernel.clusters, strict=True):
            expr = kernel.launch[f"grid_{axis}"]
            if proofs.divisor(expr, domain) % blocks:
                problems.append(
                    f"grid_{axis}{of} = {expr} is not a multiple of the cluster's {blocks} blocks over the profile, as "
                    "far as can be proved: the grid counts blocks, for Triton programs times num_ctas"
                )
        threads: Expr = expressions.Constant(1)
        for field in BLOCK_LIMITS:
            threads = expressions.operation(expressions.Op.PROD, threads, kernel.launch[field])
        demand(f"threads of a block{of}", threads, 1, MAX_THREADS, f"CUDA's limit is {MAX_THREADS}", domain)
        why = f"{shared_limiter(shared)} {shared}"
        demand(f"shared_mem{of}", kernel.launch["shared_mem"], 0, shared, why, domain)
    for i, workspace in enumerate(variant.workspaces):
        limit = LIMITS["tensor_bytes"]
        demand(f"workspace {i}", workspace.bytes, 0, limit, f"a workspace has 0 to {limit} bytes", domain)
    if problems:
        return Check(name="bounds", subject=variant.id, status="failed", detail="; ".join(dict.fromkeys(problems)))
    over = ", ".join(f"{n} {r.min}..{r.max}" for n, r in network.ranges.items()) or "a static shape"
    return Check(name="bounds", subject=variant.id, status="passed", detail=f"proved over {over}")


def _extra_args(
    kernel: LaunchedKernel,
    inputs: int,
    of: str,
    domain: Mapping[str, Interval],
    divisible: Mapping[int, int],
    demand: Callable[[str, Expr, int, int, str, Mapping[str, Interval]], None],
    problems: list[str],
) -> None:
    for i, argument in enumerate(kernel.extra_args):
        what, kind = f"extra argument {i}{of}", kernel.parameters[inputs + i]
        if isinstance(argument, Quotient):
            demand(what, argument.numerator, -INT64 - 1, INT64, "an expression is an int64", domain)
            demand(what, argument.denominator, 1, INT64, "a quotient's divisor is 1 or more", domain)
            continue
        most = INT64 if kind == "i64" else INT32
        demand(what, argument, -most - 1, most, f"an extra argument is an {kind.replace('i', 'int')}", domain)
        divisor, proved = divisible.get(i, 1), proofs.divisor(argument, domain)
        if proved % divisor:
            problems.append(
                f"{what} = {argument} was promised to be a multiple of {divisor}; the profile proves {proved}"
            )


def _where(proof: Proof, network: Network, domain: Mapping[str, Interval]) -> str:
    if proof.status == "unknown":
        return "could not be proved over the profile"
    if not proof.counterexample:
        return f"is {proof.value}" if proof.value is not None else "divides by 0"
    at = ", ".join(f"{name}={value}" for name, value in proof.counterexample.items())
    return f"is {proof.value} at {at}" if proof.value is not None else f"divides by 0 at {at}"
