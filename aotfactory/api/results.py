# SPDX-License-Identifier: Apache-2.0
"""Results of verbs that are checks alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aotfactory.core.check import Check, failed, nothing_judged, summary

SCHEMA = "aotfactory.validate/1"


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """The checks of an artifact.

    Attributes:
        path: The bundle or plan.
        checks: One for every executor and subject; a skipped one says why.
        required: Names of checks that had to judge it.
        skipped_checks: Names of checks that did not count when the bundle was built, each with the reason.
    """

    path: Path
    checks: tuple[Check, ...]
    required: tuple[str, ...] = ()
    skipped_checks: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> list[Check]:
        """The checks that failed."""
        return failed(self.checks)

    @property
    def lacking(self) -> str | None:
        """Why nothing was judged, or not all that was required; None: it was."""
        return nothing_judged(self.checks, self.required)

    def to_json(self) -> dict[str, Any]:
        """The result as ``validate --format json`` prints it, schema ``aotfactory.validate/1``."""
        return {
            "schema": SCHEMA,
            "path": str(self.path),
            "checks": [check.to_json() for check in self.checks],
            "summary": summary(self.checks),
            **({"lacking": self.lacking} if self.lacking else {}),
            **({"skipped_checks": dict(self.skipped_checks)} if self.skipped_checks else {}),
        }
