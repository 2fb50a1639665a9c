# SPDX-License-Identifier: Apache-2.0
"""One run of an `aot_impl`: its kernel in TensorRT's calling convention, and the checks `abi`, `ptxas` and `bounds`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from aotfactory.compiler import calling_convention, launch_bounds, ptx, ptxas, reuse
from aotfactory.compiler.calling_convention import FittedKernel
from aotfactory.compiler.cross_compile import Compilation
from aotfactory.compiler.ptxas import PtxasReport
from aotfactory.compiler.triton_facts import check_triton, divisible
from aotfactory.compiler.variant import LaunchedKernel, Variant, Workspace
from aotfactory.core import proofs
from aotfactory.core.arch import Arch, PtxIsa, Road
from aotfactory.core.check import Check
from aotfactory.core.errors import CallingConventionError, CheckError, CompilerError, DefinitionError, LaunchError
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Call, Combination, Network
from aotfactory.core.network_json import network_to_json
from aotfactory.core.proofs import Domain
from aotfactory.plugins.plugin_call import PluginCall
from aotfactory.plugins.returned_kernel import ReturnedKernel

MOST = LIMITS["tensor_bytes"]
"""Bytes of a workspace."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The result of one run of an `aot_impl`, before any check."""

    id: str
    call: Call
    plugin: PluginCall
    arch: Arch
    isa: PtxIsa
    default_isa: PtxIsa
    combination: Combination
    tactic: int
    kernel: ReturnedKernel
    shared: int
    road: Road
    compilations: tuple[Compilation, ...]

    @property
    def row(self) -> tuple[ReturnedKernel, ...]:
        """All kernels, in the order of their launches."""
        return self.kernel.in_a_row

    @property
    def of_kernel(self) -> tuple[Compilation, ...]:
        """All compilations; where `aot_kernel` tried several configs, that of the one it took."""
        if self.kernel.config is not None and self.own is not None:
            return (self.own,)
        return self.compilations

    @property
    def own(self) -> Compilation | None:
        """The compilation that made the kernel: an `aot_impl` may compile several and choose."""
        return self.compilation(self.kernel)

    def compilation(self, kernel: ReturnedKernel) -> Compilation | None:
        """The one that made one of the kernels."""
        named = [c for c in reversed(self.compilations) if c.metadata["name"] == kernel.name]
        return next((c for c in named if c.ptx == kernel.ptx), named[0] if named else None)

    def inputs(self, network: Network) -> dict[str, Any]:
        """All that the checks and the variant depend on, as JSON values."""
        described = network_to_json(network)
        return {
            "id": self.id,
            "call": next(call for call in described["calls"] if call["name"] == self.call.name),
            "tensors": [t for t in described["tensors"] if t["name"] in (*self.call.inputs, *self.call.outputs)],
            "symbols": described["symbols"],
            "aliases": self.plugin.aliases,
            "combination": [self.combination.dtypes, self.combination.formats],
            "tactic": self.tactic,
            "arch": [self.arch.name, self.arch.capability],
            "isa": [self.isa, self.default_isa],
            "shared": self.shared,
            "kernels": [self._kernel_inputs(kernel) for kernel in self.kernel.in_a_row],
            "workspaces": [expr.to_json() for expr in self.kernel.workspaces],
            "config": self.kernel.config,
            "road": self.road,
        }

    def _kernel_inputs(self, kernel: ReturnedKernel) -> list[Any]:
        own = self.compilation(kernel)
        return [
            [kernel.name, kernel.ptx, [[n, e.to_json()] for n, e in kernel.launch.items()]],
            [e.to_json() for e in kernel.extra_args],
            [kernel.kinds, kernel.cluster],
            own and [own.signature, own.divisible, json.dumps(own.metadata, sort_keys=True, default=str)],
        ]


def check_candidate(candidate: Candidate, network: Network) -> reuse.Checked:
    """The checks `abi`, `ptxas` and `bounds` of one variant; without `abi` there is nothing for the others."""
    variant: Variant | None = None

    def outcome(name: str, status: Literal["passed", "failed", "skipped"], detail: str) -> Check:
        return Check(name=name, subject=candidate.id, status=status, detail=detail)

    try:
        fitted = _fit(candidate)
    except DefinitionError as error:
        reason = f"{error.message}; {error.hint}" if error.hint else error.message
        if candidate.kernel.config is not None:
            return None, (outcome("abi", "skipped", f"left out: {reason}"),)
        found = [outcome("abi", "failed", reason)]
        found += [outcome(name, "skipped", "abi failed") for name in ("ptxas", "bounds")]
    else:
        row = [
            _Made(kernel, *_assemble(each, candidate.arch)) for kernel, each in zip(candidate.row, fitted, strict=True)
        ]
        variant = _variant(candidate, row)
        details = [_signature(kernel) + made.removed for kernel, made in zip(variant.kernels, row, strict=True)]
        found = [outcome("abi", "passed", "; then ".join(details) + _raised(candidate))]
        reports = [made.report for made in row]
        if errors := [report for report in reports if isinstance(report, CheckError)]:
            found.append(outcome("ptxas", "failed", errors[0].message))
        else:
            used = [f"{k.registers} registers, {k.spills} bytes spilled" for k in variant.kernels]
            found.append(outcome("ptxas", "passed", "; then ".join(used)))
        promised = [divisible(candidate.compilation(kernel), candidate.call) for kernel in candidate.row]
        found.append(launch_bounds.check(variant, network, candidate.call, promised, shared=candidate.shared))
    return variant, tuple(found)


@dataclass(frozen=True)
class _Made:
    """A kernel of a row: as its `aot_impl` returned it, as it is launched, and ptxas' report."""

    returned: ReturnedKernel
    fitted: FittedKernel
    report: PtxasReport | CheckError

    @property
    def removed(self) -> str:
        return f", removed {', '.join(self.fitted.removed)}" if self.fitted.removed else ""

    def fields(self) -> dict[str, Any]:
        """Those of a `LaunchedKernel`."""
        report = None if isinstance(self.report, CheckError) else self.report
        return {
            "kernel": self.fitted.entry,
            "text": self.fitted.text,
            "ptx_isa": str(self.fitted.isa),
            "ptx_target": self.fitted.target,
            "parameters": self.fitted.parameters,
            "launch": self.returned.launch,
            "extra_args": self.returned.extra_args,
            "cluster": self.fitted.cluster,
            "cluster_at_launch": self.fitted.cluster_at_launch,
            "registers": report and report.registers,
            "spills": report and report.spill_stores + report.spill_loads,
        }


def _fit(candidate: Candidate) -> list[FittedKernel]:
    """The kernels in the calling convention, under names of their own.

    Raises:
        DefinitionError: They cannot be.
    """
    if candidate.road != "library" and candidate.kernel.needs_library:
        raise LaunchError(f"kernel {candidate.kernel.name} takes a plugin library", hint="compile with --road library")
    row = candidate.row
    fitted = [_fit_one(candidate, kernel, i) for i, kernel in enumerate(row)]
    inputs, count = len(candidate.call.inputs), len(candidate.call.outputs)
    for output in range(count if len(row) > 1 else 0):
        places = [inputs + len(kernel.extra_args) + output for kernel in row]
        unused = all(place in each.unused for place, each in zip(places, fitted, strict=True))
        if unused and candidate.plugin.aliases[output] is None:
            raise CallingConventionError(f"no kernel of the {len(row)} uses the pointer of output {output}")
    return fitted


def _fit_one(candidate: Candidate, kernel: ReturnedKernel, place: int) -> FittedKernel:
    domain, call = candidate.plugin.builder.domain, candidate.call
    shared = proofs.bounds(kernel.launch["shared_mem"], domain)
    own = candidate.compilation(kernel)
    if own:
        check_triton(own, call, candidate.combination, shared, len(candidate.kernel.workspaces))
    several = len(candidate.row) > 1  # then not each has to use every output
    aliased = [i for i, alias in enumerate(candidate.plugin.aliases) if several or alias is not None]
    fitted = calling_convention.fit(
        kernel.ptx,
        entry=kernel.name,
        inputs=len(call.inputs),
        extra_args=kernel.kinds,
        outputs=len(call.outputs),
        workspaces=len(candidate.kernel.workspaces),
        aliased=aliased,
        block=_block(kernel, domain),
        shared_mem=shared.low,
        isa=candidate.isa,
        arch=candidate.arch,
        new_name=entry_name(kernel.name, candidate.id, place),
        cluster=kernel.cluster,
        largest_cluster=LIMITS["cluster" if candidate.road == "library" else "portable_cluster"],
    )
    calling_convention.check_shared(fitted, shared.high, candidate.shared)
    return fitted


def _variant(candidate: Candidate, row: Sequence[_Made]) -> Variant:
    domain = candidate.plugin.builder.domain
    sizes = [(expr, proofs.bounds(expr, domain).high) for expr in candidate.kernel.workspaces]
    return Variant(
        id=candidate.id,
        call=candidate.call.name,
        plugin=candidate.call.plugin,
        arch=candidate.arch.name,
        dtypes=candidate.combination.dtypes,
        formats=candidate.combination.formats,
        tactic=candidate.tactic,
        workspaces=tuple(Workspace(bytes=expr, at_most=min(max(most, 0), MOST)) for expr, most in sizes),
        then=tuple(LaunchedKernel(**made.fields()) for made in row[1:]),
        **row[0].fields(),
    )


def _assemble(kernel: FittedKernel, arch: Arch) -> tuple[FittedKernel, PtxasReport | CheckError]:
    """The kernel under its plain target where ptxas takes it, which runs on later GPUs too; and ptxas' report."""
    plain = calling_convention.plain_target(kernel.text)
    if plain != kernel.text:
        try:
            report = ptxas.assemble(plain, arch)
        except CheckError:
            pass
        else:
            return replace(kernel, text=plain, target=arch.target), report
    try:
        return kernel, ptxas.assemble(kernel.text, arch)
    except CheckError as error:
        return kernel, error


def _raised(candidate: Candidate) -> str:
    """Told where a kernel needs a newer ISA than is written by default, and with it a newer driver."""
    if candidate.isa == candidate.default_isa:
        return ""
    return f", for PTX ISA {candidate.isa} instead of {candidate.default_isa}: the least that the kernel compiles with"


def _signature(variant: LaunchedKernel) -> str:
    inputs = f"{variant.kernel}({', '.join(variant.parameters)})"
    clusters = f", clusters of {math.prod(variant.clusters)} blocks" if variant.clusters != (1, 1, 1) else ""
    return f"{inputs}, PTX ISA {variant.ptx_isa}, {variant.ptx_target}{clusters}"


def _block(kernel: ReturnedKernel, domain: Domain) -> tuple[int, int, int]:
    """Threads of a block in x, y and z, the most over the profile.

    Raises:
        DefinitionError: It changes with the shape, but the kernel is compiled for a block of one size.
    """
    x, y, z = (proofs.bounds(kernel.launch[f"block_{axis}"], domain) for axis in "xyz")
    required = ptx.parse_module(kernel.ptx).entry(kernel.name).directives.get("reqntid")
    if required and any(extent.low != extent.high for extent in (x, y, z)):
        launch = " x ".join(str(kernel.launch[f"block_{axis}"]) for axis in "xyz")
        raise CompilerError(
            f"kernel {kernel.name}: it is compiled for blocks of {(*required, 1, 1)[:3]} threads (.reqntid), "
            f"the launch has {launch}",
            hint="a block that changes with the shape needs a kernel without .reqntid; Triton's all have it",
        )
    return x.high, y.high, z.high


def entry_name(kernel: str, variant: str, place: int = 0) -> str:
    """A name that no other variant's kernel has: TensorRT tells tactics apart by it.

    Args:
        place: Of the kernel in the variant's row.
    """
    variant += f".{place}" if place else ""
    return f"{kernel}_{hashlib.sha256(variant.encode()).hexdigest()[:8]}"
