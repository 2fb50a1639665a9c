# SPDX-License-Identifier: Apache-2.0
"""Limits and schemas: each limit is documented with its value, each schema is one, and names only limits there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from aotfactory.core import documents
from aotfactory.core.limits import LIMITS

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = sorted((ROOT / "aotfactory" / "core" / "schemas").glob("*.json"))


def test_security_md_has_every_limit_and_its_value() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", (ROOT / "SECURITY.md").read_text(), re.MULTILINE))
    assert {name: int(value.replace(",", "")) for name, value in rows.items()} == dict(LIMITS)


def limits(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(limits, value))
    if not isinstance(value, dict):
        return set()
    own = {value["x-limit"]} if isinstance(value.get("x-limit"), str) else set()
    return own.union(*map(limits, value.values()))


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_schemas_compile_and_name_limits(path: Path) -> None:
    assert limits(json.loads(path.read_text())) <= set(LIMITS)
    documents._validator(path.name.removesuffix(".schema.json"))
