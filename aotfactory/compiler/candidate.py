# SPDX-License-Identifier: Apache-2.0
"""One run of an `aot_impl`: its kernel in TensorRT's calling convention, and the checks `abi`, `ptxas` and `bounds`."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from aotfactory.compiler import calling_convention, launch_bounds, ptx, ptxas, reuse
from aotfactory.compiler.bundle import Variant
from aotfactory.compiler.calling_convention import TENSOR_ALIGNMENT, FittedKernel
from aotfactory.compiler.cross_compile import Compilation
from aotfactory.compiler.ptxas import PtxasReport
from aotfactory.core import dtypes, proofs
from aotfactory.core.arch import Arch, PtxIsa
from aotfactory.core.check import Check
from aotfactory.core.errors import CallingConventionError, CheckError, CompilerError, DefinitionError
from aotfactory.core.network import Call, Combination, Network
from aotfactory.core.network_json import network_to_json
from aotfactory.core.proofs import Domain, Interval
from aotfactory.plugins.plugin_call import PluginCall, ReturnedKernel


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
    compilations: tuple[Compilation, ...]

    @property
    def of_kernel(self) -> tuple[Compilation, ...]:
        """All compilations; where `aot_kernel` tried several configs, that of the one it took."""
        if self.kernel.config is not None and self.own is not None:
            return (self.own,)
        return self.compilations

    @property
    def own(self) -> Compilation | None:
        """The compilation that made the kernel: an `aot_impl` may compile several and choose."""
        named = [c for c in reversed(self.compilations) if c.metadata["name"] == self.kernel.name]
        return next((c for c in named if c.ptx == self.kernel.ptx), named[0] if named else None)

    def inputs(self, network: Network) -> dict[str, Any]:
        """All that the checks and the variant depend on, as JSON values."""
        described, own, kernel = network_to_json(network), self.own, self.kernel
        metadata = own and json.dumps(own.metadata, sort_keys=True, default=str)
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
            "kernel": [kernel.name, kernel.ptx, [[n, e.to_json()] for n, e in kernel.launch.items()]],
            "extra_args": [e.to_json() for e in kernel.extra_args],
            "compilation": own and [own.signature, own.divisible, metadata],
            "config": kernel.config,
        }


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
        fitted, report = _assemble(fitted, candidate.arch)
        variant = _variant(candidate, fitted)
        removed = f", removed {', '.join(fitted.removed)}" if fitted.removed else ""
        found = [outcome("abi", "passed", _signature(variant) + removed + _raised(candidate))]
        if isinstance(report, CheckError):
            found.append(outcome("ptxas", "failed", report.message))
        else:
            spills = report.spill_stores + report.spill_loads
            variant = replace(variant, registers=report.registers, spills=spills)
            found.append(outcome("ptxas", "passed", f"{report.registers} registers, {spills} bytes spilled"))
        divisible = _divisible(candidate.own, candidate.call)
        found.append(launch_bounds.check(variant, network, candidate.call, divisible, shared=candidate.shared))
    return variant, tuple(found)


def _fit(candidate: Candidate) -> FittedKernel:
    """The kernel in TensorRT's calling convention, under a name of its own.

    Raises:
        DefinitionError: It cannot be.
    """
    domain, kernel, call = candidate.plugin.builder.domain, candidate.kernel, candidate.call
    shared = proofs.bounds(kernel.launch["shared_mem"], domain)
    if candidate.own:
        _check_triton(candidate.own, call, candidate.combination, shared)
    fitted = calling_convention.fit(
        kernel.ptx,
        entry=kernel.name,
        inputs=len(call.inputs),
        extra_args=len(kernel.extra_args),
        outputs=len(call.outputs),
        aliased=[i for i, alias in enumerate(candidate.plugin.aliases) if alias is not None],
        block=_block(kernel, domain),
        shared_mem=shared.low,
        isa=candidate.isa,
        arch=candidate.arch,
        new_name=entry_name(kernel.name, candidate.id),
    )
    calling_convention.check_shared(fitted, shared.high, candidate.shared)
    return fitted


def _variant(candidate: Candidate, fitted: FittedKernel) -> Variant:
    return Variant(
        id=candidate.id,
        call=candidate.call.name,
        plugin=candidate.call.plugin,
        arch=candidate.arch.name,
        dtypes=candidate.combination.dtypes,
        formats=candidate.combination.formats,
        tactic=candidate.tactic,
        kernel=fitted.entry,
        text=fitted.text,
        ptx_isa=str(fitted.isa),
        ptx_target=fitted.target,
        parameters=fitted.parameters,
        launch=candidate.kernel.launch,
        extra_args=candidate.kernel.extra_args,
        cluster=fitted.cluster,
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


def _check_triton(compilation: Compilation, call: Call, combination: Combination, shared: Interval) -> None:
    """Facts that Triton knows and PTX does not show: element types, and launches TensorRT cannot make."""
    kinds = [kind for kind in compilation.signature.values() if kind != "constexpr"]
    count = len(call.inputs)
    pointers = [*kinds[:count], *kinds[len(kinds) - len(call.outputs) :]]
    for name, dtype, kind in zip((*call.inputs, *call.outputs), combination.dtypes, pointers, strict=False):
        element = dtypes.find(dtype).triton
        if kind.startswith("*") and kind.removeprefix("*") not in (element, "u1" if element == "i1" else element):
            raise CompilerError(
                f"the kernel takes {name} as {kind}, but the tensor is {dtype}",
                hint=f"declare it *{element} in the signature for this combination",
            )
    metadata = compilation.metadata
    if shared.low < metadata.get("shared", 0):
        raise CompilerError(
            f"the kernel needs {metadata['shared']} bytes of dynamic shared memory, the launch gives it {shared.low}",
            hint="set launch.shared_mem to Triton's metadata.shared",
        )
    for key, what in (("launch_cooperative_grid", "a cooperative launch"), ("launch_pdl", "a dependent launch")):
        if metadata.get(key):
            raise CallingConventionError(
                f"the kernel wants {what}, which TensorRT cannot make", hint=f"compile it without {key}"
            )
    for index, divisor in _divisible_parameters(compilation):
        if kinds[index].startswith("*") and TENSOR_ALIGNMENT % divisor:
            raise CallingConventionError(
                f"parameter {index} was promised to be aligned to {divisor} bytes; TensorRT aligns to "
                f"{TENSOR_ALIGNMENT}",
                hint="promise 16",
            )


def _divisible_parameters(compilation: Compilation) -> list[tuple[int, int]]:
    names = [name for name, kind in compilation.signature.items() if kind != "constexpr"]
    return [(names.index(n), d) for n, d in compilation.divisible.items() if n in names]


def _divisible(compilation: Compilation | None, call: Call) -> dict[int, int]:
    """Promised divisor of each extra argument, by its index."""
    promised = _divisible_parameters(compilation) if compilation else []
    kinds = [k for k in compilation.signature.values() if k != "constexpr"] if compilation else []
    return {index - len(call.inputs): divisor for index, divisor in promised if not kinds[index].startswith("*")}


def _raised(candidate: Candidate) -> str:
    """Told where a kernel needs a newer ISA than is written by default, and with it a newer driver."""
    if candidate.isa == candidate.default_isa:
        return ""
    return f", for PTX ISA {candidate.isa} instead of {candidate.default_isa}: the least that the kernel compiles with"


def _signature(variant: Variant) -> str:
    inputs = f"{variant.kernel}({', '.join(variant.parameters)})"
    clusters = f", clusters of {math.prod(variant.cluster)} blocks" if variant.cluster != (1, 1, 1) else ""
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


def entry_name(kernel: str, variant: str) -> str:
    """A name that no other variant's kernel has: TensorRT tells tactics apart by it."""
    return f"{kernel}_{hashlib.sha256(variant.encode()).hexdigest()[:8]}"
