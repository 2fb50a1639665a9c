# SPDX-License-Identifier: Apache-2.0
"""A bundle's manifest: a bundle as JSON values and back, and the rules between its parts.

``core/schemas/bundle.schema.json`` says what each value may be, `require_consistent` what they may be together. The
launcher has the same rules (``runtime/bundle``), and the tests compare both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aotfactory.compiler.variant import LaunchedKernel, Variant
from aotfactory.compiler.variant_json import Text, variant_from_json, variant_to_json
from aotfactory.core.arch import Road
from aotfactory.core.arguments import KINDS, Quotient
from aotfactory.core.errors import DocumentError
from aotfactory.core.expressions import SizeTensor
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Call, Network
from aotfactory.core.network_json import network_from_json, network_to_json
from aotfactory.core.network_rules import require_known_symbols

SCHEMA = "aotfactory.bundle/1"

PTX_FILE = re.compile(r"[\w.-]+\.t\d+\.[0-9a-f]{8}\.ptx", re.ASCII)
"""Names of a bundle's PTX files: a variant's id, and the beginning of the content's SHA-256."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """All compiled kernels of one engine, with the network they belong to and the versions that made them.

    Attributes:
        skipped: Names of checks that did not count when it was built, each with the reason that was given.
        road: What its kernels are for.
    """

    network: Network
    variants: tuple[Variant, ...]
    versions: Mapping[str, str]
    skipped: Mapping[str, str] = field(default_factory=dict)
    road: Road = "aot"

    @property
    def texts(self) -> dict[str, str]:
        """The PTX of all kernels, by the names of their files."""
        return {name: text for variant in self.variants for name, text in variant.texts.items()}


def manifest(bundle: Bundle) -> dict[str, Any]:
    """The bundle's manifest as JSON values."""
    network = bundle.network
    return {
        "schema": SCHEMA,
        "name": network.name,
        "target": network.target,
        "versions": dict(bundle.versions),
        **({"skipped_checks": dict(bundle.skipped)} if bundle.skipped else {}),
        **({"road": bundle.road} if bundle.road != "aot" else {}),
        **network_to_json(network),
        "variants": [variant_to_json(v) for v in bundle.variants],
    }


def bundle_from_json(data: Mapping[str, Any], text: Text, *, plain: bool = False) -> Bundle:
    """The bundle of a manifest that its schema allows. `require_consistent` does not hold yet.

    Args:
        text: Gives each kernel's PTX.
        plain: As `network_from_json` has it.

    Raises:
        DefinitionError: The network's parts contradict each other.
    """
    return Bundle(
        network=network_from_json(data, plain=plain),
        variants=tuple(variant_from_json(item, text) for item in data["variants"]),
        versions=dict(data["versions"]),
        skipped=dict(data.get("skipped_checks", {})),
        road=data.get("road", "aot"),
    )


def require_consistent(bundle: Bundle) -> None:
    """Every variant fits its call, every call has one, and no two share a name.

    Raises:
        DefinitionError: The first thing that is not so.
    """
    calls = {call.name: call for call in bundle.network.calls}
    found: set[str] = set()
    for variant in bundle.variants:
        if variant.id in found:
            raise DocumentError(f"two variants are called {variant.id!r}")
        found.add(variant.id)
        call = calls.get(variant.call)
        if call is None or call.plugin != variant.plugin:
            raise DocumentError(f"{variant.id}: the network has no call {variant.call!r} of {variant.plugin}")
        _require_variant(variant, call, bundle)
    if without := calls.keys() - {variant.call for variant in bundle.variants}:
        raise DocumentError(f"the call {min(without)} has no variant")


def _require_variant(variant: Variant, call: Call, bundle: Bundle) -> None:
    tensors = len(call.inputs) + len(call.outputs)
    if not len(variant.dtypes) == len(variant.formats) == tensors:
        raise DocumentError(f"{variant.id}: dtypes and formats need one entry for each of {tensors} tensors")
    if bundle.road != "library" and variant.needs_library:
        raise DocumentError(f"{variant.id}: it needs a plugin library, but the bundle does not say so (road)")
    for kernel in variant.kernels:
        if not PTX_FILE.fullmatch(name := variant.file_of(kernel)):
            raise DocumentError(f"{variant.id}: {name!r} is not the name of a bundle's file")
        _require_kernel(kernel, variant, call)
    for expr in variant.expressions:
        require_known_symbols(expr, bundle.network, variant.id)
        if isinstance(expr, SizeTensor):
            raise DocumentError(f"{variant.id}: {expr} can only be a whole dimension of an output")


def _require_kernel(kernel: LaunchedKernel, variant: Variant, call: Call) -> None:
    from aotfactory.compiler import calling_convention, ptx  # late: a cached build is shown without them

    inputs, after = ("ptr",) * len(call.inputs), ("ptr",) * (len(call.outputs) + len(variant.workspaces))
    kinds = kernel.parameters[len(inputs) : len(inputs) + len(kernel.extra_args)]
    if kernel.parameters != (*inputs, *kinds, *after) or len(kinds) != len(kernel.extra_args):
        raise DocumentError(
            f"{variant.id}: parameters must be one ptr for each input, one i32, i64 or fp32 for each extra "
            "argument, one ptr for each output and each workspace"
        )
    for kind, argument in zip(kinds, kernel.extra_args, strict=True):
        if (kind == "fp32") != isinstance(argument, Quotient) or kind not in KINDS:
            raise DocumentError(f"{variant.id}: an {kind} argument that is {argument}")
    if max(math.prod(kernel.cluster), math.prod(kernel.cluster_at_launch or (1,))) > LIMITS["cluster"]:
        raise DocumentError(f"{variant.id}: a cluster of more than {LIMITS['cluster']} blocks")
    calling_convention.require_parameters(ptx.parse_module(kernel.text).entry(kernel.kernel), kernel.parameters)
