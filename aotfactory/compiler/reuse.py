# SPDX-License-Identifier: Apache-2.0
"""A variant and its checks, kept in the cache: the same kernel, launch and profile give the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from aotfactory.compiler import ptxas
from aotfactory.compiler.bundle import Variant
from aotfactory.compiler.variant_json import variant_from_json, variant_to_json
from aotfactory.core.cache import Cache, key_of
from aotfactory.core.check import Check
from aotfactory.core.fingerprint import fingerprint

KIND = "variant"

Checked = tuple[Variant | None, tuple[Check, ...]]


def checked(cache: Cache | None, inputs: Mapping[str, Any], check: Callable[[], Checked]) -> Checked:
    """What `check` gives, from the cache where it was given before.

    Args:
        inputs: Everything that the outcome depends on, as JSON values, but the versions.
    """
    if cache is None:
        return check()
    key = key_of(KIND, fingerprint(), ptxas.identity(), inputs)
    if (known := cache.get_json(KIND, key)) is not None:
        variant = known["variant"]
        return variant and variant_from_json(variant), tuple(Check(**c) for c in known["checks"])
    variant, checks = check()
    kept = {"variant": variant and variant_to_json(variant), "checks": [asdict(c) for c in checks]}
    if not any(ptxas.TIMED_OUT in c.detail for c in checks):  # another time it may be faster
        cache.put_json(KIND, key, kept)
    return variant, checks
