# SPDX-License-Identifier: Apache-2.0
"""One variant in Triton's interpreter, at one shape, with one kind of data: what ran, and what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from aotfactory.core.errors import InterpreterError
from aotfactory.core.network import Call, Network
from aotfactory.executors import reference
from aotfactory.executors.interpreter import kernel as interpreted
from aotfactory.executors.interpreter.grid import WHOLE, run_grid
from aotfactory.executors.interpreter.kernel import Buffer
from aotfactory.executors.interpreter.outputs import compare
from aotfactory.executors.interpreter.prepared import Preparations, Prepared, outputs_of, vast_buffer
from aotfactory.executors.interpreter.row import Row
from aotfactory.executors.interpreter.situation import ROW_IN_PART, CannotRun, Situation, Verdict
from aotfactory.plugins.autotuned import preferring
from aotfactory.plugins.catalog import Catalog
from aotfactory.plugins.plugin_call import PluginCall
from aotfactory.plugins.returned_kernel import ReturnedKernel
from aotfactory.targets.network_builder import plugin_call


class Judge:
    """Judges the variants of one network; keeps what the last situations needed, for they share it."""

    def __init__(self, network: Network, catalog: Catalog) -> None:
        self.network = network
        self._preparations = Preparations(network, catalog)
        self._plugins: dict[Any, tuple[Network, PluginCall]] = {}  # who holds the network keeps its id
        self._sources: dict[Any, tuple[list[Any], ReturnedKernel]] = {}

    def judge(self, job: Mapping[str, Any], situation: Situation, seconds: float) -> Verdict:
        """Run a variant.

        Args:
            job: The variant, as `check` describes it.
            seconds: Processor time after which no more programs are begun.

        Raises:
            CannotRun: The interpreter, the network or its size does not let it run.
            AotError: The plugins do not take these shapes, or a reference or function for data raises.
        """
        position = [c.name for c in self.network.calls].index(job["call"])
        prepared = self._preparations.of(self.network.calls[position], job, situation)
        network, symbols = prepared.network, prepared.symbols
        call = network.calls[position]
        needed = {name for c in network.calls[: position + 1] for name in c.inputs}
        if prepared.vast and position:
            raise CannotRun(f"{prepared.vast}: too large to run the call after another one")
        buffers = {n: Buffer(n, a, initialised=True) for n, a in prepared.data.arrays.items() if n in needed}
        if prepared.vast:
            buffers = {n: vast_buffer(network, n, symbols, initialised=True) for n in call.inputs}
        for before in network.calls[:position]:
            self._before(prepared, before, job, buffers)
        verdict = Verdict(notes=list(prepared.data.notes))
        plugin = self._plugin(network, call)
        if all(c != plugin.combination for c, _ in plugin.combinations()) or (
            plugin.combination.dtypes != tuple(job["dtypes"])
        ):
            raise CannotRun("the network does not reach this combination")
        sources, kernel = self._sources_of(network, plugin, job)
        row = Row.of_job(job, sources, kernel) if situation.profile else Row.of_kernel(sources, kernel)
        outputs_of(network, call, plugin, symbols, buffers, vast=prepared.vast is not None)
        workspaces = row.make_workspaces(symbols, vast=prepared.vast is not None)
        most = dict.fromkeys(call.outputs, 0)
        try:
            backwards = situation.kind == "adversarial"  # a right kernel is right in any order
            end = time.process_time() + seconds
            for step in row.steps:
                arguments = step.arguments(call, symbols, buffers, workspaces)
                grid = step.grid(symbols)
                verdict.of += int(np.prod(grid, dtype=object))
                if verdict.run == verdict.of - int(np.prod(grid, dtype=object)):  # else what it needs is not whole
                    left = max(end - time.process_time(), 0.0)
                    verdict.run += run_grid(step.source, grid, arguments, left, buffers, most, backwards, row.several)
        except interpreted.AccessError as error:
            verdict.wrong = f"{call.name}: {error}"
            return verdict
        except interpreted.Unsupported as error:
            raise CannotRun(f"{call.name}: {error}") from error
        if row.several and verdict.run < verdict.of:
            verdict.notes.append(ROW_IN_PART)
            return verdict
        wrong = compare(prepared, call, plugin, buffers, most, verdict)
        verdict.wrong = f"{call.name}: {wrong}" if wrong else None
        return verdict

    def _plugin(self, network: Network, call: Call) -> PluginCall:
        key = (id(network), call.name)
        if key not in self._plugins:
            self._plugins[key] = network, plugin_call(network, call)
        return self._plugins[key][1]

    def _sources_of(
        self, network: Network, plugin: PluginCall, job: Mapping[str, Any]
    ) -> tuple[list[Any], ReturnedKernel]:
        """The source of each of the variant's kernels, from its `aot_impl`."""
        key = (id(network), job["id"])
        if key not in self._sources:
            with interpreted.capturing(job["compilations"]) as sources, preferring(job["config"]):
                kernel = plugin.kernel(plugin.combination, job["tactic"])
            if not sources:
                raise CannotRun("its aot_impl compiles nothing when it is called again")
            others = {k.name for k in kernel.in_a_row} - {source.name for source in sources}
            if kernel.then and others:
                raise CannotRun(f"{', '.join(sorted(others))}, in a row with others, is not a Triton kernel")
            self._sources[key] = [_chosen(sources, k, job["compilations"]) for k in kernel.in_a_row], kernel
        return self._sources[key]

    def _before(self, prepared: Prepared, call: Call, job: Mapping[str, Any], buffers: dict[str, Buffer]) -> None:
        """An earlier call of the network: its outputs by its reference, else by interpreting it."""
        network = prepared.network
        recipe = prepared.recipe(call)
        plugin = self._plugin(network, call)
        if recipe is not None:
            arrays = prepared.expected_of(recipe, call)
            for name, array, alias in zip(call.outputs, arrays, plugin.aliases, strict=True):
                prepared.expected[name] = reference.rounded(array, network.tensor(name))
                buffers[name] = Buffer(name, prepared.expected[name], initialised=True)
                if alias is not None:
                    buffers[call.inputs[alias]] = buffers[name]
            return
        tactics = next((t for c, t in plugin.combinations() if c == plugin.combination), None)
        if tactics is None:
            raise CannotRun("the network does not reach this combination")
        with interpreted.capturing(job["compilations"]) as sources:
            kernel = plugin.kernel(plugin.combination, tactics[0])
        if not sources:
            raise CannotRun(f"{call.name} is not a Triton kernel and has no reference")
        row = Row.of_kernel([_chosen(sources, k, job["compilations"]) for k in kernel.in_a_row], kernel)
        if any(int(np.prod(step.grid(prepared.symbols), dtype=object)) > WHOLE for step in row.steps):
            raise CannotRun(f"{call.name} comes first, which has no reference and too many programs to run")
        outputs_of(network, call, plugin, prepared.symbols, buffers)
        workspaces = row.make_workspaces(prepared.symbols)
        try:
            for step in row.steps:
                arguments = step.arguments(call, prepared.symbols, buffers, workspaces)
                interpreted.run(step.source, step.grid(prepared.symbols), arguments)
        except interpreted.AccessError as error:
            raise InterpreterError(f"{call.name}: {error}") from error
        except interpreted.Unsupported as error:
            raise CannotRun(f"{call.name}: {error}") from error
        for name in call.outputs:
            tensor = network.tensor(name)
            shape = tuple(d.evaluate(prepared.symbols) for d in tensor.shape)
            prepared.expected[name] = buffers[name].array(tensor.dtype, shape)
            buffers[name] = Buffer(name, prepared.expected[name], initialised=True)


def _chosen(sources: list[Any], kernel: ReturnedKernel, compilations: list[dict[str, Any]]) -> Any:
    """The source that the kernel was compiled from: an `aot_impl` may compile several and choose."""
    named = [
        (source, compiled["ptx"] == kernel.ptx)
        for source, compiled in zip(sources, compilations, strict=False)
        if source.name == kernel.name
    ]
    chosen = [source for source, same in named if same] or [source for source, _ in named] or sources
    return chosen[-1]
