# SPDX-License-Identifier: Apache-2.0
"""Files that aotfactory wrote and that are not as they were written: exit code 5."""

from __future__ import annotations

from aotfactory.core.errors.base import DamagedError


class DamagedBundleError(DamagedError):
    """A bundle is damaged, was changed by hand, or is of a version that is not known here."""

    code = "AOT501"
    example = "swell.ptx is not the file that was compiled: its SHA-256 differs from the manifest's"
    remedy = "Compile it again, or copy it again from where it is whole."


class DamagedRecordError(DamagedError):
    """The record beside a plan is damaged, or of a version that is not known here."""

    code = "AOT502"
    example = "damaged record: Expecting value: line 1 column 1 (char 0)"
    remedy = "Bake the plan again."


class DamagedRankingsError(DamagedError):
    """The rankings that `tune` keeps are damaged, or of a version that is not known here."""

    code = "AOT503"
    example = "damaged rankings: Expecting value: line 1 column 1 (char 0)"
    remedy = "Remove the file, and tune again."
