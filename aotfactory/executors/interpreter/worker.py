# SPDX-License-Identifier: Apache-2.0
"""The process behind the `interpreter` check: reads a request from stdin, writes the outcomes to stdout, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aotfactory.core import dimensions, dtypes, expressions
from aotfactory.core.errors import AotError, CheckError
from aotfactory.core.expressions import Expr
from aotfactory.core.network import Call, Network, Shape
from aotfactory.core.network_json import network_from_json
from aotfactory.core.recipe import Recipe
from aotfactory.executors import cases as run_cases
from aotfactory.executors import inputs, reference
from aotfactory.executors.inputs import make_input
from aotfactory.executors.interpreter import kernel as interpreted
from aotfactory.executors.interpreter.check import LARGEST
from aotfactory.plugins.catalog import Catalog
from aotfactory.plugins.plugin_call import ReturnedKernel
from aotfactory.targets.network_builder import at_shapes, plugin_call

Array = np.ndarray[Any, Any]

LARGEST_GRID = 4096
"""Programs of one launch that the interpreter is run with at most."""


class CannotRun(Exception):
    """A case that cannot be run, with the reason."""


def main() -> None:
    request = json.load(sys.stdin)
    answer, sys.stdout = sys.stdout, sys.stderr  # what definitions print must not get between
    network = network_from_json(request["network"])
    catalog = Catalog(request["sources"])
    outcomes = [_variant(network, catalog, job) for job in request["variants"]]
    json.dump(outcomes, answer)


def _variant(network: Network, catalog: Catalog, job: Mapping[str, Any]) -> dict[str, str]:
    """Run one variant at every case; the first that is wrong decides."""
    call = next(c for c in network.calls if c.name == job["call"])
    recipe = catalog.for_plugin(call.plugin)
    done, reasons = [], []
    retyped = _retype(network, call, job["dtypes"])
    names = [t.name for t in network.tensors if t.role == "input"]
    odd = [shapes for shapes in recipe.odd_shapes if len(shapes) == len(names)] if recipe else []
    cases = run_cases.shape_cases(network, odd, LARGEST)
    for label, shapes in cases:
        at = dict(zip(names, shapes, strict=True))
        text = ", ".join(f"{n} {'x'.join(map(str, s))}" for n, s in at.items())
        for kind in ("random", "adversarial"):
            try:
                wrong = _case(network, catalog, job, label, at, retyped, kind)
            except CannotRun as reason:
                reasons.append(str(reason))
                continue
            except CheckError as error:
                wrong = error.message
            except AotError as error:
                if label in ("odd", "reduced"):  # a shape that the plugin itself refuses
                    reasons.append(f"{text}: {error.message}")
                    continue
                wrong = error.message
            if wrong:
                return {"status": "failed", "detail": f"{wrong}; at {text}, {kind} data"}
            done.append(label if label != "odd" else "x".join(map(str, shapes[0])))
    if not done:
        return {"status": "skipped", "detail": reasons[0]}
    against = "against the reference" if recipe else "memory accesses only: the plugin has no recipe"
    return {"status": "passed", "detail": f"{against}, at {', '.join(dict.fromkeys(done))}"}


def _retype(network: Network, call: Call, types: list[str]) -> dict[str, str]:
    """Data types of the network's inputs with which `call` gets this combination."""
    roles = {t.name: t.role for t in network.tensors}
    return {n: d for n, d in zip(call.inputs, types, strict=False) if roles[n] == "input"}


def _case(
    network: Network,
    catalog: Catalog,
    job: Mapping[str, Any],
    label: str,
    at: dict[str, Shape],
    retyped: dict[str, str],
    kind: inputs.Kind,
) -> str | None:
    """Run the network with the variant in place of its call; what is wrong with the outputs, or None."""
    profile = label in ("min", "opt", "max") and all(network.tensor(n).dtype == d for n, d in retyped.items())
    if not profile:
        network = at_shapes(network, at, retyped)
    symbols = dimensions.bind(network, at)
    values = {t.name: make_input(t.name, t.dtype, at[t.name], kind=kind) for t in network.tensors if t.role == "input"}
    expected = dict(values)
    buffers = {n: interpreted.Buffer(n, a, initialised=True) for n, a in values.items()}
    for call in network.calls:
        plugin = plugin_call(network, call)
        mine = call.name == job["call"]
        tactics = next((t for c, t in plugin.combinations() if c == plugin.combination), None)
        if tactics is None or (mine and (plugin.combination.dtypes != tuple(job["dtypes"]))):
            raise CannotRun("the network does not reach this combination")
        tactic = job["tactic"] if mine or job["tactic"] in tactics else tactics[0]
        with interpreted.capturing(job["compilations"]) as sources:
            kernel = plugin.kernel(plugin.combination, tactic)
        if not sources:
            if mine:
                raise CannotRun("its aot_impl compiles nothing when it is called again")
            _by_reference(network, call, catalog.for_plugin(call.plugin), buffers, expected, plugin.aliases)
            continue
        source = _source(sources, kernel, job["compilations"])
        # In the profile, the variant's own expressions are what TensorRT evaluates; elsewhere the definition is asked.
        own = mine and profile
        launch = {n: expressions.from_json(e) for n, e in job["launch"].items()} if own else kernel.launch
        extra = [expressions.from_json(e) for e in job["extra_args"]] if own else kernel.extra_args
        grid = tuple(launch[f"grid_{axis}"].evaluate(symbols) for axis in "xyz")
        if int(np.prod(grid)) > LARGEST_GRID:
            raise CannotRun(f"{' x '.join(map(str, grid))} programs are too many for the interpreter")
        for name in call.inputs:
            buffers[name].writable = False
        for i, name in enumerate(call.outputs):
            alias = plugin.aliases[i]
            tensor = network.tensor(name)
            shape = tuple(d.evaluate(symbols) for d in tensor.shape)
            if alias is not None:
                buffers[name] = buffers[call.inputs[alias]]
                buffers[name].writable = True
            else:
                filled = np.full(shape, 0, dtypes.find(tensor.dtype).array)
                buffers[name] = interpreted.Buffer(name, filled, initialised=False)
        pointers = [buffers[n] for n in call.inputs], [buffers[n] for n in call.outputs]
        arguments: list[interpreted.Buffer | int] = [*pointers[0], *(e.evaluate(symbols) for e in extra), *pointers[1]]
        if all(grid):
            try:
                interpreted.run(source, (grid[0], grid[1], grid[2]), arguments)
            except interpreted.AccessError as error:
                return f"{call.name}: {error}"
            except interpreted.Unsupported as error:
                raise CannotRun(f"{call.name}: {error}") from error
        wrong = _outputs(network, call, catalog.for_plugin(call.plugin), buffers, expected, symbols)
        if wrong:
            return f"{call.name}: {wrong}"
    return None


def _source(sources: list[Any], kernel: ReturnedKernel, compilations: list[dict[str, Any]]) -> Any:
    """What the kernel was compiled from: an `aot_impl` may compile several and choose."""
    named = [
        (source, compiled["ptx"] == kernel.ptx)
        for source, compiled in zip(sources, compilations, strict=False)
        if source.name == kernel.name
    ]
    chosen = [source for source, same in named if same] or [source for source, _ in named] or sources
    return chosen[-1]


def _by_reference(
    network: Network,
    call: Call,
    recipe: Recipe | None,
    buffers: dict[str, interpreted.Buffer],
    expected: dict[str, Array],
    aliases: Sequence[int | None],
) -> None:
    """Let the reference compute a call that the interpreter cannot run, for the calls that follow."""
    if recipe is None:
        raise CannotRun(f"{call.name} is not a Triton kernel and has no reference")
    arrays = reference.of_call(recipe, call, expected)
    for name, array, alias in zip(call.outputs, arrays, aliases, strict=True):
        expected[name] = reference.rounded(array, network.tensor(name))
        buffers[name] = interpreted.Buffer(name, expected[name], initialised=True)
        if alias is not None:
            buffers[call.inputs[alias]] = buffers[name]


def _outputs(
    network: Network,
    call: Call,
    recipe: Recipe | None,
    buffers: Mapping[str, interpreted.Buffer],
    expected: dict[str, Array],
    symbols: Mapping[str, int],
) -> str | None:
    """Compare a call's outputs, and leave what the reference says of them in `expected` for the next call."""
    references = reference.of_call(recipe, call, expected) if recipe else ()
    shapes = {}
    for name in reversed(call.outputs):  # a size tensor comes after the output whose extent it is
        shapes[name] = tuple(_extent(d, call, buffers, network, symbols) for d in network.tensor(name).shape)
    for i, name in enumerate(call.outputs):
        tensor, buffer = network.tensor(name), buffers[name]
        out = buffer.array(tensor.dtype, shapes[name])
        unwritten = int((~buffer.written[: out.nbytes]).reshape(-1, max(1, out.dtype.itemsize)).any(axis=1).sum())
        if unwritten:
            return f"{unwritten} of {out.size} elements of {name} were not written"
        if recipe:
            wrong = reference.mismatch(network, recipe, call, out, references[i])
            if wrong:
                return f"{name}: {wrong}"
            expected[name] = reference.rounded(references[i], tensor)
        else:
            expected[name] = out
    return None


def _extent(
    dimension: Expr, call: Call, buffers: Mapping[str, Any], network: Network, symbols: Mapping[str, int]
) -> int:
    if isinstance(dimension, expressions.SizeTensor):
        name = call.outputs[dimension.index]
        return min(int(buffers[name].array(network.tensor(name).dtype, ())), dimension.evaluate(symbols))
    return dimension.evaluate(symbols)


if __name__ == "__main__":
    main()
