# SPDX-License-Identifier: Apache-2.0
"""The command `inspect`: a bundle or plan shown, after it was verified."""

from __future__ import annotations

from aotfactory.cli.options import Artifact, FormatOption
from aotfactory.cli.terminal import Format, print_json, show


def inspect(
    path: Artifact,
    format: FormatOption = Format.text,
) -> None:
    """Show what a bundle or plan holds, after verifying that every file is as it was made.

    Example: aotfactory inspect engines/circ_pad.aot
    """
    from aotfactory.compiler import bundle as bundles

    if path.suffix == ".plan":
        from aotfactory.plan import record as provenance

        record = provenance.verified(path)
        found = None
    else:
        found = bundles.read(path)
        record = bundles.manifest(found)
    if format is Format.json:
        print_json(record)
        return
    from aotfactory.cli.tables.bundles import print_bundle, print_record

    if found:
        show(lambda console: print_bundle(console, found))
    else:
        show(lambda console: print_record(console, record))
