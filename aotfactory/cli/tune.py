# SPDX-License-Identifier: Apache-2.0
"""The command `tune`: which tactic of a target is fastest on the GPU here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aotfactory.cli.flags import TargetFlags, with_flags
from aotfactory.cli.options import FormatOption, Out, Target
from aotfactory.cli.terminal import Format, print_json, show, working


@with_flags
def tune(
    target: Target,
    flags: TargetFlags,
    iterations: Annotated[
        int, typer.Option("--iterations", min=1, metavar="N", help="Samples; the median counts.")
    ] = 50,
    out: Out = Path("engines"),
    format: FormatOption = Format.text,
) -> None:
    """Time every tactic of a target on the GPU here, and keep the ranking in NAME.tuning.json.

    Example: aotfactory tune circ_pad --shape 8x64x512x512
    """
    with working() as progress:
        from aotfactory.api import tune as tuning

        tuned = tuning.tune(
            target,
            request=flags.target_options(),
            out=out,
            plugins=flags.plugins,
            iterations=iterations,
            progress=progress,
        )
    if format is Format.json:
        print_json(tuned.to_json())
    else:
        from aotfactory.cli.tables.runs import print_ranking

        show(lambda console: print_ranking(console, tuned))
