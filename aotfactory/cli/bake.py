# SPDX-License-Identifier: Apache-2.0
"""The command `bake`: a bundle into a TensorRT plan, where TensorRT's builder and a GPU are."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from aotfactory.cli.flags import ShapeFlags, with_flags
from aotfactory.cli.options import NoCache, RoadName
from aotfactory.cli.terminal import Format, print_json, say, show, working
from aotfactory.core.cache import open_cache


class Mode(str, enum.Enum):
    """How TensorRT gets the network."""

    network = "network"
    onnx = "onnx"


class Hardware(str, enum.Enum):
    """Which other GPUs the plan runs on."""

    none = "none"
    ampere_plus = "ampere+"
    same_compute_capability = "same-compute-capability"


class Verbosity(str, enum.Enum):
    """How much the plan says about its layers."""

    layer_names = "layer-names"
    detailed = "detailed"
    none = "none"


@with_flags
def bake(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A bundle: engines/NAME.aot.", show_default=False)],
    flags: ShapeFlags,
    plugins: Annotated[
        list[str], typer.Option("--plugins", metavar="PATH[:FUNC]", help="Plugin definitions; only --jit needs them.")
    ] = [],  # noqa: B006  (typer copies it)
    mode: Annotated[Mode, typer.Option(help="Build the network through the API, or from ONNX.")] = Mode.network,
    model: Annotated[Path | None, typer.Option(metavar="FILE.onnx", help="The model, if it was moved.")] = None,
    jit: Annotated[bool, typer.Option("--jit", help="Take the plugins' impl; the plan then needs Python.")] = False,
    road: Annotated[RoadName, typer.Option("--road", help="library: with a plugin library.")] = RoadName.aot,
    tactic: Annotated[int | None, typer.Option(metavar="N", help="Offer TensorRT only this tactic.")] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Run in later minor versions, with the lean runtime.")
    ] = False,
    exclude_lean_runtime: Annotated[
        bool, typer.Option("--exclude-lean-runtime", help="Leave the lean runtime out of the plan.")
    ] = False,
    hardware_compatibility: Annotated[Hardware, typer.Option(help="Which other GPUs it runs on.")] = Hardware.none,
    workspace: Annotated[int | None, typer.Option(metavar="BYTES", help="Memory that layers may use.")] = None,
    optimization_level: Annotated[int | None, typer.Option(metavar="0-5", help="How long to search.")] = None,
    timing_cache: Annotated[Path | None, typer.Option(metavar="DIR", help="One file in it for each bundle.")] = None,
    profiling_verbosity: Annotated[Verbosity, typer.Option(help="What the plan says of layers.")] = Verbosity.detailed,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; default: beside the bundle.")] = None,
    no_cache: NoCache = False,
    format: Annotated[Format, typer.Option(help="JSON goes to stdout, everything else to stderr.")] = Format.text,
) -> None:
    """Build a TensorRT plan from a bundle's own kernels, byte for byte.

    Shapes are for a bundle of an ONNX model, and there for the inputs that no plugin reads.

    Example: aotfactory bake engines/circ_pad.aot
    """
    with working() as progress:
        from aotfactory.api import bake as baking
        from aotfactory.plan.options import PlanOptions

        options = PlanOptions(
            mode=mode.value,
            jit=jit,
            tactic=tactic,
            model=model,
            shapes=flags.target_options(),
            version_compatible=version_compatible,
            exclude_lean_runtime=exclude_lean_runtime,
            hardware_compatibility=hardware_compatibility.value,
            workspace=workspace,
            optimization_level=optimization_level,
            timing_cache=timing_cache,
            profiling_verbosity=profiling_verbosity.value,
        )
        cache = None if no_cache else open_cache(warn=lambda text: say(f"warning: {text}"))
        baked = baking.bake(
            path, options=options, road=road.value, out=out, plugins=plugins, progress=progress, cache=cache
        )
    if format is Format.json:
        print_json(baked.to_json())
    else:
        from aotfactory.cli.tables.builds import print_baked

        show(lambda console: print_baked(console, baked))
