# SPDX-License-Identifier: Apache-2.0
"""The outcomes of the `interpreter` check kept in the cache: most of a build's time goes into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from aotfactory.compiler.compile import CompiledVariant
from aotfactory.core.cache import Cache, key_of
from aotfactory.core.check import Check
from aotfactory.core.dependencies import Dependencies
from aotfactory.core.fingerprint import fingerprint
from aotfactory.core.network import Network
from aotfactory.core.network_json import network_to_json
from aotfactory.executors.effort import DEFAULT_EFFORT, SPENT, Effort
from aotfactory.executors.interpreter import check as interpreter

KIND = "interpreter"


def check(
    cache: Cache | None,
    network: Network,
    results: Sequence[CompiledVariant],
    sources: Sequence[str],
    dependencies: Dependencies,
    effort: Effort = DEFAULT_EFFORT,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Check]:
    """As `interpreter.check`, of the variants that were not run before with the same definitions.

    Args:
        dependencies: What the definitions read, references and tolerances included.
    """
    if cache is None:
        return interpreter.check(network, results, sources, effort, progress)
    common = [KIND, fingerprint(), dependencies.contents, network_to_json(network)]
    keys = {result.id: key_of(*common, _what_runs(result)) for result in results}
    known = {r.id: cache.get_as(KIND, keys[r.id], partial(_known, r.id)) for r in results}
    unknown = [r for r in results if not known[r.id]]
    found = {c.subject: c for c in interpreter.check(network, unknown, sources, effort, progress)}
    for name, check in found.items():
        if SPENT not in check.detail:  # with more time, or on another machine, more is run
            kept = {key: value for key, value in check.to_json().items() if key not in ("name", "subject", "programs")}
            cache.put_json(KIND, keys[name], kept)
    return [known[r.id] or found[r.id] for r in results]


def _known(name: str, data: Any) -> Check:
    return Check.from_json({**data, "name": KIND, "subject": name})


def _what_runs(result: CompiledVariant) -> Any:
    """All that the outcome depends on beside the definitions, which is everything but the architecture."""
    launched: list[Any] = []
    if result.variant:
        launched = [
            [[[n, e.to_json()] for n, e in kernel.launch.items()], [e.to_json() for e in kernel.extra_args]]
            for kernel in result.variant.kernels
        ]
        launched += [w.bytes.to_json() for w in result.variant.workspaces]
    types = result.combination
    sources = [compilation.source for compilation in result.compilations]
    return [result.call.name, types.dtypes, types.formats, result.tactic, launched, sources]
