# SPDX-License-Identifier: Apache-2.0
"""Compile a network: every call, for every architecture, combination and tactic, into checked variants."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from aotfactory.compiler import calling_convention, launch_bounds, needed_isa, ptx, ptxas, reuse
from aotfactory.compiler.bundle import Variant
from aotfactory.compiler.calling_convention import TENSOR_ALIGNMENT, FittedKernel
from aotfactory.compiler.cross_compile import Compilation, compiling_for
from aotfactory.compiler.options import Options as Options
from aotfactory.compiler.ptxas import PtxasReport
from aotfactory.compiler.triton_cache import prepare, triton_in
from aotfactory.compiler.warm_up import warm_up
from aotfactory.core import dependencies, dtypes, proofs, workers
from aotfactory.core.arch import Arch, PtxIsa, default_isa, shared_limit
from aotfactory.core.cache import Cache
from aotfactory.core.check import Check
from aotfactory.core.cuda import driver_version
from aotfactory.core.errors import (
    ArchitectureError,
    CallingConventionError,
    CheckError,
    CombinationError,
    CompilerError,
    ConfigError,
    DefinitionError,
    TacticError,
)
from aotfactory.core.network import Call, Combination, Network
from aotfactory.core.network_json import network_to_json
from aotfactory.core.proofs import Domain, Interval
from aotfactory.plugins.autotuned import ConfigRefused
from aotfactory.plugins.clusters import left_out
from aotfactory.plugins.plugin_call import PluginCall, ReturnedKernel
from aotfactory.targets.network_builder import plugin_call


@dataclass(frozen=True, kw_only=True)
class CompiledVariant:
    """One compiled variant; where the `abi` check failed there is none.

    Attributes:
        compilations: What Triton compiled while the `aot_impl` ran; empty for kernels that are not Triton's.
        config: Number of the autotuner's config; None where the kernel is not tuned.
    """

    id: str
    call: Call
    combination: Combination
    tactic: int
    variant: Variant | None
    checks: tuple[Check, ...]
    compilations: tuple[Compilation, ...]
    config: int | None = None

    @property
    def left_out(self) -> bool:
        """Whether it is a config of an autotuner that a plan cannot launch, beside others that it can."""
        return self.variant is None and not any(check.status == "failed" for check in self.checks)


def compile_network(
    network: Network,
    options: Options,
    progress: Callable[[str], None] = print,
    *,
    cache: Cache | None = None,
    jobs: int = 1,
) -> list[CompiledVariant]:
    """Compile and check every variant of a network.

    Args:
        progress: Told the id of each variant before it is compiled.
        cache: Where compiled kernels and the outcomes of their checks are kept.
        jobs: How many processes; the result is the same for any number.

    Raises:
        DefinitionError: A definition is wrong, or has no combination that matches the network.
        UsageError: There is no such tactic, or the PTX ISA is too old for an architecture.
    """
    alike: dict[Any, list[Call]] = {}
    for call in network.calls:
        alike.setdefault(network.likeness(call), []).append(call)
    distinct = [calls[0] for calls in alike.values()]
    named = list(_tasks(network, distinct, options, cache))
    tasks = [task for _, task in named]
    if min(jobs, len(tasks)) > 1:
        prepare(arch.capability for arch in options.archs)
        ptxas.identity()
        warm_up()
    results: dict[int, CompiledVariant] = {}
    for index, outcome in workers.completed(tasks, min(jobs, len(tasks)), starting=lambda i: progress(named[i][0])):
        results[index], (files, variables) = outcome.result()
        dependencies.add(files, variables)
    compiled = [results[index] for index in range(len(tasks))]
    _require_one(compiled)
    if len(distinct) == len(network.calls):
        return compiled
    same = {calls[0].name: calls for calls in alike.values()}
    found = [_for_call(call, result) for result in compiled for call in same[result.call.name]]
    order = {call.name: i for i, call in enumerate(network.calls)}
    return sorted(found, key=lambda result: order[result.call.name])


def _for_call(call: Call, result: CompiledVariant) -> CompiledVariant:
    """The variant for a call that is like the one that it was compiled for: under names of its own."""
    if call.name == result.call.name:
        return result
    variant = result.variant
    arch = result.id.split(".")[1]
    name = f"{_file_name(call)}.{arch}.{result.combination}.t{result.tactic}"
    checks = [replace(check, subject=name) for check in result.checks]
    if variant is not None:
        kernel = _entry_name(variant.kernel.rpartition("_")[0], name)
        checks = [replace(check, detail=check.detail.replace(variant.kernel, kernel)) for check in checks]
        text = variant.text.replace(variant.kernel, kernel)
        variant = replace(variant, id=name, call=call.name, kernel=kernel, text=text)
    return replace(result, id=name, call=call, variant=variant, checks=tuple(checks))


def _tasks(
    network: Network, calls: Sequence[Call], options: Options, cache: Cache | None
) -> Iterator[tuple[str, Callable[[], tuple[CompiledVariant, tuple[set[str], set[str]]]]]]:
    """Id and task of each variant; a task also returns what its `aot_impl` read, unseen by the parent process."""
    for call in calls:
        for arch in options.archs:
            isa = options.isa or default_isa(arch, driver_version())
            if isa < arch.oldest_isa:
                raise ArchitectureError(
                    f"PTX ISA {isa} does not know {arch.target}", hint=f"--ptx-isa {arch.oldest_isa}"
                )
            # What no driver and no user limits, the kernel may.
            known = options.isa is not None or driver_version() is not None
            isas = isa, isa if known else max(isa, ptxas.compiler_isa(arch))
            plugin = plugin_call(network, call)
            # Autotune may choose by the architecture.
            with (
                compiling_for(arch.capability, arch.oldest_isa.number, shared_limit(arch, options.road)),
                left_out() as without,
            ):
                wanted = list(_wanted(plugin, call, options))
            for tactic, reason in without.items():
                name = variant_id(call, arch, plugin.combination, tactic)
                yield name, functools.partial(_left_out, name, call, plugin.combination, tactic, reason)
            for combination, tactic in wanted:
                limit = shared_limit(arch, options.road)
                task = functools.partial(
                    _variant_of, network, plugin, call, arch, isas, combination, tactic, limit, cache
                )
                yield variant_id(call, arch, combination, tactic), task


def _variant_of(
    network: Network,
    plugin: PluginCall,
    call: Call,
    arch: Arch,
    isas: tuple[PtxIsa, PtxIsa],
    combination: Combination,
    tactic: int,
    shared: int,
    cache: Cache | None,
) -> tuple[CompiledVariant, tuple[set[str], set[str]]]:
    isa, most = isas
    name = variant_id(call, arch, combination, tactic)
    assemble = False
    while True:
        newest = min(isa, ptxas.compiler_isa(arch)).number
        compiling = compiling_for(arch.capability, newest, shared, assemble=assemble)
        try:
            with dependencies.recording(), triton_in(cache), compiling as compilations:
                kernel = plugin.kernel(combination, tactic)
        except ConfigRefused as refusal:
            return _left_out(name, call, combination, tactic, refusal.message)
        except DefinitionError as error:
            least = needed_isa.needed(error)
            if least is None or not isa < least <= most:
                raise needed_isa.shortened(error, isa) from error
            isa = least
            continue
        candidate = _Candidate(
            id=name,
            call=call,
            plugin=plugin,
            arch=arch,
            isa=isa,
            default_isa=isas[0],
            combination=combination,
            tactic=tactic,
            kernel=kernel,
            shared=shared,
            compilations=tuple(compilations),
        )
        variant, checks = reuse.checked(cache, candidate.inputs(network), functools.partial(_check, candidate, network))
        if assemble or not any(check.name == "ptxas" and check.status == "failed" for check in checks):
            break
        assemble = True  # Triton says with the line of the definition what ptxas refuses, and which ISA it asks for
    result = CompiledVariant(
        id=candidate.id,
        call=call,
        combination=combination,
        tactic=tactic,
        variant=variant,
        checks=checks,
        compilations=candidate.of_kernel,
        config=kernel.config,
    )
    return result, dependencies.recorded()


def _left_out(
    name: str, call: Call, combination: Combination, tactic: int, reason: str
) -> tuple[CompiledVariant, tuple[set[str], set[str]]]:
    """A tactic that a plan cannot have, beside others that it can: named, and not compiled."""
    check = Check(name="abi", subject=name, status="skipped", detail=f"left out: {reason}")
    result = CompiledVariant(
        id=name, call=call, combination=combination, tactic=tactic, variant=None, checks=(check,), compilations=()
    )
    return result, dependencies.recorded()


def _require_one(results: Sequence[CompiledVariant]) -> None:
    """Of each call, architecture and combination, one tactic at least must be left.

    Raises:
        DefinitionError: A plan can launch none of an autotuner's configs.
    """
    groups: dict[str, list[CompiledVariant]] = {}
    for result in results:
        groups.setdefault(result.id.rpartition(".")[0], []).append(result)
    for name, group in groups.items():
        if all(result.left_out for result in group):
            raise ConfigError(
                f"{name}: a plan can launch the kernel with none of its {len(group)} configs; "
                f"the first: {group[0].checks[0].detail.removeprefix('left out: ')}",
                hint="give aot_kernel smaller values for what is tuned: blocks, num_stages",
            )


def variant_id(call: Call, arch: Arch, combination: Combination, tactic: int) -> str:
    """``circ_pad.sm_90.fp32-fp32.t1``: also the beginning of a file name."""
    return f"{_file_name(call)}.{arch}.{combination}.t{tactic}"


def _file_name(call: Call) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", call.name)


def _entry_name(kernel: str, variant: str) -> str:
    """A name that no other variant's kernel has: TensorRT tells tactics apart by it."""
    return f"{kernel}_{hashlib.sha256(variant.encode()).hexdigest()[:8]}"


def _wanted(plugin: PluginCall, call: Call, options: Options) -> Iterator[tuple[Combination, int]]:
    offered = plugin.combinations()
    matching = [
        (combination, tactics)
        for combination, tactics in offered
        if options.all_dtypes or combination.dtypes == plugin.combination.dtypes
    ]
    if not matching:
        raise CombinationError(
            f"autotune of {call.plugin} offers no combination for {plugin.combination}, which this network needs",
            where=plugin.definition.where("autotune"),
            hint=f"it offers {', '.join(str(c) for c, _ in offered)}",
        )
    tactics = sorted({tactic for _, offered_tactics in matching for tactic in offered_tactics})
    if options.tactic is not None and options.tactic not in tactics:
        raise TacticError(
            f"{call.plugin} has no tactic {options.tactic} here", hint=f"its tactics: {', '.join(map(str, tactics))}"
        )
    for combination, offered_tactics in matching:
        for tactic in offered_tactics:
            if options.tactic in (None, tactic):
                yield combination, tactic


@dataclass(frozen=True, kw_only=True)
class _Candidate:
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


def _check(candidate: _Candidate, network: Network) -> reuse.Checked:
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


def _fit(candidate: _Candidate) -> FittedKernel:
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
        new_name=_entry_name(kernel.name, candidate.id),
    )
    calling_convention.check_shared(fitted, shared.high, candidate.shared)
    return fitted


def _variant(candidate: _Candidate, fitted: FittedKernel) -> Variant:
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


def _raised(candidate: _Candidate) -> str:
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
