# SPDX-License-Identifier: Apache-2.0
"""The content of a plugin library: every call of some bundles, each as a bundle of its own.

TensorRT asks a plugin about itself alone, so the symbols of a call are those that its own inputs tell. The C++ side
(``runtime/plugin/part.cpp``) reads the document that is written here; plans carry parts of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from aotfactory.compiler.manifest import Bundle, manifest
from aotfactory.compiler.variant import LaunchedKernel, Variant
from aotfactory.core.dimensions import dimension, over_inputs, unsolved
from aotfactory.core.errors import ExpressionError, LibraryError
from aotfactory.core.expressions import Constant, Expr, SizeTensor, Symbol
from aotfactory.core.network import Call, Network, Range, Tensor
from aotfactory.core.proofs import Interval, bounds

SCHEMA = "aotfactory.plugin_parts/1"


@dataclass(frozen=True, kw_only=True)
class LibraryDocument:
    """The parts that are linked into a library.

    Attributes:
        parts: A bundle of one call each, those with the fewest dynamic dimensions first. No two have the same plugin,
            attributes, data types and shapes.
    """

    parts: tuple[Bundle, ...]

    @property
    def plugins(self) -> tuple[str, ...]:
        """Ids of the plugins that TensorRT finds in the library, as ``namespace::name``."""
        return tuple(sorted({part.network.calls[0].plugin for part in self.parts}))

    def text(self) -> bytes:
        """The document, as JSON in UTF-8."""
        parts = [
            {"manifest": manifest(p), "ptx": {n: t for v in p.variants for n, t in v.texts.items()}} for p in self.parts
        ]
        return json.dumps({"schema": SCHEMA, "parts": parts}, allow_nan=False, separators=(",", ":")).encode()


def library_document(bundles: Sequence[Bundle]) -> LibraryDocument:
    """The parts of these bundles; calls that are alike become one.

    Raises:
        LibraryError: Calls of one plugin have attributes of other names or types, or numbers of tensors; two that
            TensorRT could not tell apart have different kernels; or a dimension cannot be found out from a call's own
            inputs.
    """
    parts: dict[Any, Bundle] = {}
    for bundle in bundles:
        for call in bundle.network.calls:
            part = one_call(bundle, call)
            key = _key(part)
            if key in parts and _kernels(parts[key]) != _kernels(part):
                raise LibraryError(
                    f"{call.plugin} is there twice with the same attributes, types and shapes, and other kernels",
                    where=f"{parts[key].network.name} and {bundle.network.name}",
                    hint="give one of the two bundles",
                )
            parts.setdefault(key, part)
    forms: dict[str, tuple[Any, str]] = {}
    for part in parts.values():
        call = part.network.calls[0]
        form = (_types(call), len(call.inputs), len(call.outputs))
        known, where = forms.setdefault(call.plugin, (form, part.network.name))
        if known != form:
            raise LibraryError(
                f"{call.plugin} has other attributes, inputs or outputs in one of the bundles",
                where=f"{where} and {part.network.name}",
                hint="they are of different versions of the plugin: make a library of each",
            )
    # TensorRT gets the first part that takes its shapes: rather kernels made for them than for a range of shapes.
    return LibraryDocument(parts=tuple(sorted(parts.values(), key=lambda part: len(part.network.ranges))))


def one_call(bundle: Bundle, call: Call) -> Bundle:
    """A call as a bundle of its own: its tensors are inputs and outputs, its symbols those that its inputs tell.

    Raises:
        LibraryError: A dimension cannot be found out from the call's own inputs.
    """
    network = bundle.network
    inputs = {name: network.tensor(name) for name in call.inputs}
    outputs = [network.tensor(name) for name in call.outputs]
    variants = tuple(v for v in bundle.variants if v.call == call.name)
    shapes = [inputs[name].shape for name in call.inputs]
    used = sorted({s for e in _expressions(shapes, outputs, variants) for s in e.symbols})
    ranges = {name: network.ranges[name] for name in used}
    if unsolved(used, shapes):
        places = {dimension(i, a): d for i, shape in enumerate(shapes) for a, d in enumerate(shape)}
        domain = {name: Interval(r.min, r.max) for name, r in network.ranges.items()}

        def own(expr: Expr) -> Expr:
            if isinstance(expr, SizeTensor):
                return SizeTensor(expr.index, own(expr.opt), own(expr.upper))
            try:
                return over_inputs(expr, shapes)
            except ExpressionError as error:
                raise LibraryError(error.message, where=f"call {call.name}", hint=error.hint) from error

        inputs = {n: replace(t, shape=tuple(map(own, t.shape))) for n, t in inputs.items()}
        outputs = [replace(t, shape=tuple(map(own, t.shape))) for t in outputs]
        variants = tuple(v.with_expressions(own) for v in variants)
        names = {d.name for t in inputs.values() for d in t.shape if isinstance(d, Symbol)}
        ranges = {n: _range(e, network, domain) for n, e in places.items() if n in names}
    return replace(
        bundle,
        network=Network(
            name=network.name,
            target=network.target,
            ranges=ranges,
            tensors=(
                *(replace(t, role="input", aliases=None) for t in inputs.values()),
                *(replace(t, role="output", aliases=t.aliases if t.aliases in inputs else None) for t in outputs),
            ),
            calls=(call,),
        ),
        variants=variants,
    )


def _range(expr: Expr, network: Network, domain: dict[str, Interval]) -> Range:
    found = bounds(expr, domain)
    return Range(min=max(found.low, 0), opt=expr.evaluate(network.at("opt")), max=found.high)


def _expressions(
    shapes: Sequence[tuple[Expr, ...]], outputs: Sequence[Tensor], variants: Sequence[Variant]
) -> list[Expr]:
    dims = [d for shape in (*shapes, *(t.shape for t in outputs)) for d in shape]
    return [*dims, *(e for v in variants for e in v.expressions)]


def _types(call: Call) -> tuple[Any, ...]:
    return tuple((name, type(value), getattr(value, "dtype", None)) for name, value in call.attributes.items())


def _key(part: Bundle) -> tuple[Any, ...]:
    """Equal for parts that TensorRT could not tell apart when it asks for a kernel: by attributes, types and shapes.

    Dynamic dimensions are told apart by their ranges alone.
    """
    network, call = part.network, part.network.calls[0]

    def extent(expr: Expr) -> Any:
        ranges = tuple((s, network.ranges[s]) for s in sorted(expr.symbols))
        return expr.value if isinstance(expr, Constant) else (str(expr), ranges)

    shapes = tuple(tuple(map(extent, network.tensor(name).shape)) for name in call.inputs)
    types = tuple(sorted({(v.dtypes, v.formats, v.arch, v.tactic) for v in part.variants}))
    attributes = tuple((n, repr(v.tolist() if hasattr(v, "tolist") else v)) for n, v in call.attributes.items())
    return call.plugin, attributes, types, shapes


def _kernels(part: Bundle) -> list[Any]:
    """A part's kernels without the entries' names, which are unique in a bundle."""
    return sorted(
        (v.arch, v.dtypes, v.formats, v.tactic, [_kernel(k) for k in v.kernels], str(v.workspaces))
        for v in part.variants
    )


def _kernel(kernel: LaunchedKernel) -> tuple[str, ...]:
    launch = str(dict(kernel.launch)), str(kernel.extra_args), str(kernel.cluster_at_launch)
    return kernel.text.replace(kernel.kernel, ""), *launch
