# SPDX-License-Identifier: Apache-2.0
"""docs/bundle.md lists every limit as limits.json has it."""

from __future__ import annotations

import re
from pathlib import Path

from aotfactory.core.limits import LIMITS

DOCS = Path(__file__).resolve().parents[2] / "docs" / "bundle.md"


def test_the_documentation_lists_every_limit() -> None:
    found = re.findall(r"^\| `(\w+)` \| (\d+) \| [^|]+ \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    assert {name: int(value) for name, value in found} == dict(LIMITS)
