# SPDX-License-Identifier: Apache-2.0
"""How large anything may be that comes from a file: limits.json, which the C++ programs read too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

LIMITS: Mapping[str, int] = json.loads(Path(__file__).with_name("limits.json").read_text(encoding="ascii"))
"""By name; what each one bounds is in docs/bundle.md and SECURITY.md."""
