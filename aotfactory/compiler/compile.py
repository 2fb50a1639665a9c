# SPDX-License-Identifier: Apache-2.0
"""Compile a network: every call, for every architecture, combination and tactic, into checked variants."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aotfactory.compiler import needed_isa, ptxas, reuse
from aotfactory.compiler.candidate import Candidate, check_candidate, entry_name
from aotfactory.compiler.cross_compile import Compilation, compiling_for
from aotfactory.compiler.options import Options as Options
from aotfactory.compiler.triton_cache import prepare, triton_in
from aotfactory.compiler.variant import Kernel, Variant
from aotfactory.compiler.warm_up import warm_up
from aotfactory.core import dependencies, workers
from aotfactory.core.arch import Arch, PtxIsa, Road, default_isa, shared_limit
from aotfactory.core.cache import Cache
from aotfactory.core.check import Check
from aotfactory.core.cuda import driver_version
from aotfactory.core.errors import ArchitectureError, CombinationError, ConfigError, DefinitionError, TacticError
from aotfactory.core.network import Call, Combination, Network
from aotfactory.plugins.autotuned import ConfigRefused
from aotfactory.plugins.clusters import left_out
from aotfactory.plugins.plugin_call import PluginCall
from aotfactory.targets.network_builder import plugin_call


@dataclass(frozen=True, kw_only=True)
class CompiledVariant:
    """One compiled variant; where the `abi` check failed there is none.

    Attributes:
        compilations: What Triton compiled while the `aot_impl` ran; empty for kernels that are not Triton's.
        config: Number of the autotuner's config; None where the kernel is not tuned.
        road: What it was compiled for.
    """

    id: str
    call: Call
    combination: Combination
    tactic: int
    variant: Variant | None
    checks: tuple[Check, ...]
    compilations: tuple[Compilation, ...]
    config: int | None = None
    road: Road = "aot"

    @property
    def left_out(self) -> bool:
        """Whether it is a config of an autotuner that a plan cannot launch, beside others that it can."""
        return self.variant is None and not any(check.status == "failed" for check in self.checks)


def compile_network(
    network: Network,
    options: Options,
    progress: Callable[[str], None] = lambda text: None,
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
        prepare((arch.capability for arch in options.archs), cache)
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
        then = tuple(_renamed(kernel, name, place) for place, kernel in enumerate(variant.then, start=1))
        renamed = replace(_renamed(variant, name, 0), id=name, call=call.name, then=then)
        for old, new in zip(variant.kernels, renamed.kernels, strict=True):
            checks = [replace(check, detail=check.detail.replace(old.kernel, new.kernel)) for check in checks]
        variant = renamed
    return replace(result, id=name, call=call, variant=variant, checks=tuple(checks))


def _renamed(kernel: Kernel, variant: str, place: int) -> Kernel:
    """The kernel with the entry's name that it has in another variant."""
    name = entry_name(kernel.kernel.rpartition("_")[0], variant, place)
    return replace(kernel, kernel=name, text=kernel.text.replace(kernel.kernel, name))


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
            # Where neither a driver nor the user limits the ISA, a kernel may ask for a newer one.
            known = options.isa is not None or driver_version() is not None
            isas = isa, isa if known else max(isa, ptxas.compiler_isa(arch))
            plugin = plugin_call(network, call)
            # Autotune may choose by the architecture.
            with (
                compiling_for(
                    arch.capability, arch.oldest_isa.number, shared_limit(arch, options.road), road=options.road
                ),
                left_out() as without,
            ):
                wanted = list(_wanted(plugin, call, options))
            for tactic, reason in without.items():
                name = variant_id(call, arch, plugin.combination, tactic)
                yield name, functools.partial(_left_out, name, call, plugin.combination, tactic, reason, options.road)
            for combination, tactic in wanted:
                task = functools.partial(
                    _variant_of, network, plugin, call, arch, isas, combination, tactic, options.road, cache
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
    road: Road,
    cache: Cache | None,
) -> tuple[CompiledVariant, tuple[set[str], set[str]]]:
    isa, most = isas
    shared = shared_limit(arch, road)
    name = variant_id(call, arch, combination, tactic)
    assemble = False
    while True:
        newest = min(isa, ptxas.compiler_isa(arch)).number
        compiling = compiling_for(arch.capability, newest, shared, road=road, assemble=assemble)
        try:
            with dependencies.recording(), triton_in(cache), compiling as compilations:
                kernel = plugin.kernel(combination, tactic)
        except ConfigRefused as refusal:
            return _left_out(name, call, combination, tactic, refusal.message, road)
        except DefinitionError as error:
            least = needed_isa.needed(error)
            if least is None or not isa < least <= most:
                raise needed_isa.shortened(error, isa) from error
            isa = least
            continue
        candidate = Candidate(
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
            road=road,
            compilations=tuple(compilations),
        )
        variant, checks = reuse.checked(
            cache, candidate.inputs(network), functools.partial(check_candidate, candidate, network)
        )
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
        road=road,
    )
    return result, dependencies.recorded()


def _left_out(
    name: str, call: Call, combination: Combination, tactic: int, reason: str, road: Road
) -> tuple[CompiledVariant, tuple[set[str], set[str]]]:
    """A tactic that a plan cannot have, beside others that it can: named, and not compiled."""
    check = Check(name="abi", subject=name, status="skipped", detail=f"left out: {reason}")
    result = CompiledVariant(
        id=name,
        call=call,
        combination=combination,
        tactic=tactic,
        variant=None,
        checks=(check,),
        compilations=(),
        road=road,
    )
    return result, dependencies.recorded()


def _require_one(results: Sequence[CompiledVariant]) -> None:
    """Hold that one tactic at least is left for each call, architecture and combination.

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
