# SPDX-License-Identifier: Apache-2.0
"""One variant in Triton's interpreter, at one shape, with one kind of data: what ran, and what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aotfactory.core import dimensions, dtypes, expressions
from aotfactory.core.errors import InterpreterError
from aotfactory.core.expressions import Expr
from aotfactory.core.network import Call, Network, Shape, shape_text
from aotfactory.core.recipe import Recipe
from aotfactory.executors import reference
from aotfactory.executors.data import Data, make_inputs
from aotfactory.executors.inputs import Array, Kind
from aotfactory.executors.interpreter import kernel as interpreted
from aotfactory.executors.interpreter.kernel import Buffer, Program
from aotfactory.executors.interpreter.row import Row
from aotfactory.plugins.autotuned import preferring
from aotfactory.plugins.catalog import Catalog
from aotfactory.plugins.plugin_call import PluginCall, ReturnedKernel
from aotfactory.targets.network_builder import at_shapes, plugin_call, with_types

LARGEST = 2**24
"""Elements of a tensor whose float64 reference is computed; beyond, memory accesses alone are checked."""

LARGEST_BYTES = 2**29
"""Bytes of a tensor that is filled with data; a larger one is zeros, and its memory accesses alone are checked."""

WHOLE = 256
"""Programs of a grid that is run as a whole."""

SAMPLE = 64
"""Programs that are run of a larger one."""

FEWEST = 4
"""Programs that are run whatever time they take."""


ROW_IN_PART = "not all programs of its kernels in a row were run"
"""Why nothing was compared: a kernel reads what all programs of those before it have written."""


class CannotRun(Exception):
    """A case that cannot be run, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Shapes and data to judge a variant with.

    Attributes:
        profile: Whether the shapes lie in the network's profile: then the variant's own expressions are evaluated, as
            TensorRT does. Elsewhere the definitions are asked for those of a static network.
        arrays: The inputs' data; None: it is made.
        vast: Whether an input is known to be too large for data.
        draw: Which random data: the first, or other integers, for which there is time left.
    """

    label: str
    shapes: Mapping[str, Shape]
    kind: Kind
    profile: bool = True
    arrays: Mapping[str, Array] | None = None
    vast: bool = False
    draw: int = 0

    def __str__(self) -> str:
        shapes = ", ".join(f"{n} {shape_text(s)}" for n, s in self.shapes.items())
        return f"{shapes}, {'the given' if self.arrays else self.kind} data{' drawn again' if self.draw else ''}"


@dataclass
class Verdict:
    """The outcome of one situation.

    Attributes:
        wrong: What is wrong, or None.
        compared: Whether outputs were compared with a reference.
        run, of: Programs that ran, and of the grid.
        idle: Outputs of which the whole grid wrote no element; made-up indices may be why.
    """

    wrong: str | None = None
    compared: bool = False
    run: int = 0
    of: int = 0
    notes: list[str] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)


@dataclass
class _Prepared:
    """The parts that variants of one combination share in one situation: the network, its data and references.

    Attributes:
        vast: A tensor that is too large for data, if there is one.
    """

    network: Network
    symbols: Mapping[str, int]
    data: Data
    expected: dict[str, Array]
    vast: str | None = None
    references: dict[str, tuple[Array, ...]] = field(default_factory=dict)


class Judge:
    """Judges the variants of one network; keeps what the last situations needed, for they share it."""

    def __init__(self, network: Network, catalog: Catalog) -> None:
        self.network, self.catalog = network, catalog
        self._prepared: dict[Any, _Prepared] = {}
        self._networks: dict[Any, Network] = {}
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
        prepared = self._prepare(self.network.calls[position], job, situation)
        network, symbols = prepared.network, prepared.symbols
        call = network.calls[position]
        needed = {name for c in network.calls[: position + 1] for name in c.inputs}
        if prepared.vast and position:
            raise CannotRun(f"{prepared.vast}: too large to run the call after another one")
        buffers = {n: Buffer(n, a, initialised=True) for n, a in prepared.data.arrays.items() if n in needed}
        if prepared.vast:
            buffers = {n: _vast(network, n, symbols, initialised=True) for n in call.inputs}
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
        _outputs_of(network, call, plugin, symbols, buffers, vast=prepared.vast is not None)
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
                    verdict.run += _run(step.source, grid, arguments, left, buffers, most, backwards, row.several)
        except interpreted.AccessError as error:
            verdict.wrong = f"{call.name}: {error}"
            return verdict
        except interpreted.Unsupported as error:
            raise CannotRun(f"{call.name}: {error}") from error
        if row.several and verdict.run < verdict.of:
            verdict.notes.append(ROW_IN_PART)
            return verdict
        wrong = self._compare(prepared, call, plugin, buffers, most, verdict)
        verdict.wrong = f"{call.name}: {wrong}" if wrong else None
        return verdict

    # Parts that variants share.

    def _prepare(self, call: Call, job: Mapping[str, Any], situation: Situation) -> _Prepared:
        roles = {t.name: t.role for t in self.network.tensors}
        types = {t.name: t.dtype for t in self.network.inputs}
        types |= {n: d for n, d in zip(call.inputs, job["dtypes"], strict=False) if roles[n] == "input"}
        key = (str(situation), situation.draw, situation.profile, tuple(types.items()))
        if key not in self._prepared:
            while len(self._prepared) > 2:
                self._prepared.pop(next(iter(self._prepared)))
            self._prepared[key] = self._prepare_new(types, situation)
        return self._prepared[key]

    def _prepare_new(self, types: Mapping[str, str], situation: Situation) -> _Prepared:
        if situation.profile:
            key = tuple(types.items())
            if key not in self._networks:
                self._networks[key] = with_types(self.network, types)
            network = self._networks[key]
        else:
            network = at_shapes(self.network, situation.shapes, types)
        symbols = dimensions.bind(self.network, situation.shapes) if situation.profile else {}
        extents: list[int] = []
        vast: str | None = None
        for tensor in network.tensors:
            shape = tuple(d.evaluate(symbols) for d in tensor.shape)
            size = int(np.prod(shape, dtype=object)) * dtypes.find(tensor.dtype).itemsize
            if size > LARGEST_BYTES:
                vast = vast or f"{tensor.name} is {shape_text(shape)}, {size} bytes"
            extents += shape
        if situation.arrays is not None:
            data = Data(arrays=dict(situation.arrays))
        elif vast:
            data = Data(notes=[f"{vast}: of zeros, only memory accesses were checked"])
        else:
            data = make_inputs(
                network,
                self.catalog.for_plugin,
                situation.shapes,
                types,
                situation.kind,
                tuple(extents),
                situation.draw,
            )
        return _Prepared(network=network, symbols=symbols, data=data, expected=dict(data.arrays), vast=vast)

    def _recipe(self, prepared: _Prepared, call: Call) -> Recipe | None:
        """The recipe that judges a call, unless its tensors are too large for a reference."""
        recipe = self.catalog.for_plugin(call.plugin)
        if recipe is None:
            return None
        for name in (*call.inputs, *call.outputs):
            shape = [d.evaluate(prepared.symbols) for d in prepared.network.tensor(name).shape]
            if int(np.prod(shape, dtype=object)) > LARGEST:
                return None
        return recipe

    def _reference(self, prepared: _Prepared, recipe: Recipe, call: Call) -> tuple[Array, ...]:
        if call.name not in prepared.references:
            prepared.references[call.name] = reference.of_call(recipe, call, prepared.expected)
        return prepared.references[call.name]

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

    def _before(self, prepared: _Prepared, call: Call, job: Mapping[str, Any], buffers: dict[str, Buffer]) -> None:
        """An earlier call of the network: its outputs by its reference, else by interpreting it."""
        network = prepared.network
        recipe = self._recipe(prepared, call)
        plugin = self._plugin(network, call)
        if recipe is not None:
            arrays = self._reference(prepared, recipe, call)
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
        _outputs_of(network, call, plugin, prepared.symbols, buffers)
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

    # The verdict.

    def _compare(
        self,
        prepared: _Prepared,
        call: Call,
        plugin: PluginCall,
        buffers: Mapping[str, Buffer],
        most: Mapping[str, int],
        verdict: Verdict,
    ) -> str | None:
        """Compare a call's outputs, as far as they were written, with the reference."""
        network = prepared.network
        whole = verdict.run == verdict.of
        sized = [d for n in call.outputs for d in network.tensor(n).shape if isinstance(d, expressions.SizeTensor)]
        if sized and not whole:
            verdict.notes.append("how large an output is depends on every program: only memory accesses were checked")
            return None
        if prepared.vast:
            return None
        recipe = self._recipe(prepared, call)
        if recipe is None and self.catalog.for_plugin(call.plugin) is not None:
            verdict.notes.append(f"more than {LARGEST} elements: only memory accesses were checked")
        references = self._reference(prepared, recipe, call) if recipe else ()
        verdict.compared = recipe is not None
        shapes: dict[str, Shape] = {}
        for name in reversed(call.outputs):  # a size tensor comes after the output whose extent it is
            shapes[name] = tuple(
                _extent(d, call, buffers, network, prepared.symbols) for d in network.tensor(name).shape
            )
        for i, name in enumerate(call.outputs):
            tensor, buffer = network.tensor(name), buffers[name]
            out = buffer.array(tensor.dtype, shapes[name])
            written = buffer.touched(buffer.written, tensor.dtype, shapes[name])
            unwritten = 0 if plugin.aliases[i] is not None else _unwritten(written, whole, most[name] * verdict.of)
            if unwritten and recipe is None and prepared.data.guessed:
                verdict.notes.append(
                    f"{unwritten} of {out.size} elements of {name} were not written, with made-up indices"
                )
                verdict.idle += [name] * (whole and unwritten == out.size)
            elif unwritten:
                return f"{unwritten} of {out.size} elements of {name} were not written"
            if recipe is None:
                continue
            expected = references[i]
            if not whole and out.shape == expected.shape:
                judged = written
                if buffer.atomic is not None:  # other programs would have had their part in these
                    judged = judged & ~buffer.touched(buffer.atomic, tensor.dtype, shapes[name])
                out = np.where(judged, out, reference.rounded(expected, tensor))
            wrong = reference.mismatch(network, recipe, call, name, out, expected)
            if wrong:
                return f"{name}: {wrong}"
        return None


def _outputs_of(
    network: Network,
    call: Call,
    plugin: PluginCall,
    symbols: Mapping[str, int],
    buffers: dict[str, Buffer],
    *,
    vast: bool = False,
) -> None:
    """Buffers for a call's outputs; its inputs become read-only, but for those that an output shares."""
    for name in call.inputs:
        buffers[name].writable = False
    for name, alias in zip(call.outputs, plugin.aliases, strict=True):
        if alias is not None:
            buffers[name] = buffers[call.inputs[alias]]
            buffers[name].writable = True
            continue
        if vast:
            buffers[name] = _vast(network, name, symbols, initialised=False)
            continue
        tensor = network.tensor(name)
        shape = tuple(d.evaluate(symbols) for d in tensor.shape)
        buffers[name] = Buffer(name, np.zeros(shape, dtypes.find(tensor.dtype).array), initialised=False)


def _vast(network: Network, name: str, symbols: Mapping[str, int], *, initialised: bool) -> Buffer:
    """Zeros for a tensor that is too large for data."""
    tensor = network.tensor(name)
    size = int(np.prod([d.evaluate(symbols) for d in tensor.shape], dtype=object)) * dtypes.find(tensor.dtype).itemsize
    try:
        return Buffer.vast(name, size, initialised=initialised)
    except (OSError, ValueError, OverflowError) as error:
        raise CannotRun(f"{name} has {size} bytes, for which there is no room: {error}") from error


def _run(
    source: Any,
    grid: Program,
    arguments: Sequence[Buffer | int | float],
    seconds: float,
    buffers: Mapping[str, Buffer],
    most: dict[str, int],
    backwards: bool,
    several: bool,
) -> int:
    """Run a grid, or a sample of it; `most` becomes the most elements of each output that a program wrote.

    Args:
        several: Whether it is one of several kernels in a row, which need what all programs of those before wrote.
    """
    before = {name: buffers[name].stores for name in most}
    end = time.process_time() + seconds

    def stop(done: int) -> bool:
        for name in most:
            most[name] = max(most[name], buffers[name].stores - before[name])
            before[name] = buffers[name].stores
        return done >= FEWEST and time.process_time() > end

    if not np.prod(grid, dtype=object):
        return 0
    return interpreted.run(source, grid, arguments, _programs(grid, backwards, several), stop)


def _programs(grid: Program, backwards: bool, several: bool) -> Iterator[Program]:
    """All programs of a small grid; of a larger one the corners, the borders of each axis, and random ones.

    Args:
        backwards: The last ones first, so that one which needs what another does after it is found; and fewer, for all
            have run forwards.
        several: See `_run`.
    """
    total = int(np.prod(grid, dtype=object))
    if total <= (SAMPLE if backwards and not several else WHOLE):
        every = list(interpreted.every(grid))
        yield from reversed(every) if backwards else every
        return
    ends = [sorted({0, extent - 1}) for extent in grid]
    middles = [sorted({0, 1, extent // 2, extent - 2, extent - 1} & set(range(extent))) for extent in grid]
    first = [(x, y, z) for x in ends[0] for y in ends[1] for z in ends[2]]
    for axis in range(3):
        first += [(*first[0][:axis], n, *first[-1][axis + 1 :]) for n in middles[axis]]  # type: ignore[misc]
    known = list(dict.fromkeys(first))
    yield from reversed(known) if backwards else known
    seen = set(known)
    rng = np.random.default_rng(total % 2**32)
    while len(seen) < SAMPLE:
        program = int(rng.integers(grid[0])), int(rng.integers(grid[1])), int(rng.integers(grid[2]))
        if program not in seen:
            seen.add(program)
            yield program


def _unwritten(written: Array, whole: bool, at_most: int) -> int:
    """Elements that no program wrote; of a sample, by the most that one program of it wrote."""
    if whole:
        return int(written.size - np.count_nonzero(written))
    return max(written.size - at_most, 0)


def _chosen(sources: list[Any], kernel: ReturnedKernel, compilations: list[dict[str, Any]]) -> Any:
    """The source that the kernel was compiled from: an `aot_impl` may compile several and choose."""
    named = [
        (source, compiled["ptx"] == kernel.ptx)
        for source, compiled in zip(sources, compilations, strict=False)
        if source.name == kernel.name
    ]
    chosen = [source for source, same in named if same] or [source for source, _ in named] or sources
    return chosen[-1]


def _extent(
    dimension: Expr, call: Call, buffers: Mapping[str, Buffer], network: Network, symbols: Mapping[str, int]
) -> int:
    if isinstance(dimension, expressions.SizeTensor):
        name = call.outputs[dimension.index]
        return min(int(buffers[name].array(network.tensor(name).dtype, ())), dimension.evaluate(symbols))
    return dimension.evaluate(symbols)
