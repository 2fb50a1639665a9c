# SPDX-License-Identifier: Apache-2.0
"""Which of a bundle's variants a GPU gets. The launcher chooses the same (``runtime/bundle/select.cpp``)."""

from __future__ import annotations

from aotfactory.compiler.manifest import Bundle
from aotfactory.compiler.variant import Variant
from aotfactory.core.arch import Arch, PtxTarget
from aotfactory.core.errors import NoKernelError, TacticError


def usable_variants(bundle: Bundle, arch: Arch, tactic: int | None = None) -> dict[str, list[Variant]]:
    """The variants to offer for each call, by the call's name; those of the tactic alone where it has that.

    They are the architecture's own, else those of the newest plain PTX target that runs on it (plain PTX runs on every
    later GPU), all of one architecture. So ``portable`` takes the variants of sm_80 where it has none of its own.

    Raises:
        MissingError: A call has no variant for the architecture.
        UsageError: No call has this tactic.
    """
    found = {call.name: _of_call(bundle, call.name, arch) for call in bundle.network.calls}
    if tactic is None:
        return found
    chosen = {name: [v for v in variants if v.tactic == tactic] for name, variants in found.items()}
    if not any(chosen.values()):
        known = sorted({v.tactic for variants in found.values() for v in variants})
        raise TacticError(f"the bundle has no tactic {tactic} for {arch}", hint=f"it has {', '.join(map(str, known))}")
    return {name: chosen[name] or variants for name, variants in found.items()}


def _of_call(bundle: Bundle, call: str, arch: Arch) -> list[Variant]:
    variants = [v for v in bundle.variants if v.call == call]
    runs = [v for v in variants if arch.runs(v.ptx_target)]
    if own := [v for v in runs if v.arch == arch.name]:
        return own
    plain = [v for v in runs if not PtxTarget.parse(v.ptx_target).suffix]
    if not plain:
        there = sorted({v.arch for v in variants}) or ["nothing"]
        raise NoKernelError(
            f"the bundle has no kernel of {call} that runs on {arch}, only for {', '.join(there)}",
            hint=f"compile it with --arch {arch}, or --arch portable",
        )
    newest = max(PtxTarget.parse(v.ptx_target).capability for v in plain)
    chosen = [v for v in plain if PtxTarget.parse(v.ptx_target).capability == newest]
    return [v for v in chosen if v.arch == chosen[0].arch]
