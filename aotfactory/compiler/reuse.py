# SPDX-License-Identifier: Apache-2.0
"""A variant and its checks, kept in the cache: the same kernel, launch and profile give the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aotfactory.compiler import ptxas
from aotfactory.compiler.variant import Variant
from aotfactory.compiler.variant_json import whole_from_json, whole_to_json
from aotfactory.core.cache import Cache, key_of
from aotfactory.core.check import Check
from aotfactory.core.fingerprint import fingerprint

KIND = "variant"

Checked = tuple[Variant | None, tuple[Check, ...]]


def checked(cache: Cache | None, inputs: Mapping[str, Any], check: Callable[[], Checked]) -> Checked:
    """The result of `check`, from the cache where it is there.

    Args:
        inputs: Everything that the outcome depends on, as JSON values, but the versions.
    """
    if cache is None:
        return check()
    key = key_of(KIND, fingerprint(), ptxas.identity(), inputs)
    if (known := cache.get_as(KIND, key, _known)) is not None:
        return known
    variant, checks = check()
    kept = {"variant": variant and whole_to_json(variant), "checks": [c.to_json() for c in checks]}
    if not any(ptxas.TIMED_OUT in c.detail for c in checks):  # another time it may be faster
        cache.put_json(KIND, key, kept)
    return variant, checks


def _known(data: Any) -> Checked:
    variant = data["variant"]
    return variant and whole_from_json(variant), tuple(Check.from_json(c) for c in data["checks"])
