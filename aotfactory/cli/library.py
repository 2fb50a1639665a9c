# SPDX-License-Identifier: Apache-2.0
"""The command `library`: bundles into a TensorRT plugin library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aotfactory.cli.options import FormatOption
from aotfactory.cli.terminal import Format, print_json, show, working


def library(
    bundles: Annotated[
        list[Path], typer.Argument(metavar="BUNDLE", help="Bundles: engines/NAME.aot.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="libNAME.so", help="The library.")],
    tensorrt_root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="TensorRT's directory, for its headers; or TENSORRT_ROOT.")
    ] = None,
    format: FormatOption = Format.text,
) -> None:
    """Write a TensorRT plugin library (C++, no Python) that carries the kernels of bundles.

    For trtexec (--dynamicPlugins), DeepStream, ONNX Runtime and Triton's server, from TensorRT 10.0 on.

    Example: aotfactory library engines/circ_pad.aot -o libcirc_pad.so
    """
    with working():
        from aotfactory.api import library as libraries

        made = libraries.library(bundles, output, tensorrt_root=tensorrt_root)
    found = made.to_json()
    if format is Format.json:
        print_json(found)
        return
    lines = [
        f"{p['plugin']}: {p['kernels']} kernels for {', '.join(p['architectures'])}, tactics "
        f"{', '.join(map(str, p['tactics']))}, {', '.join(p['combinations'])}"
        for p in found["plugins"]
    ]
    lines += [
        f"wrote {made.path}",
        f"use it: trtexec --onnx=MODEL.onnx --dynamicPlugins={made.path}",
    ]
    show(lambda console: console.print(*lines, sep="\n", highlight=False, markup=False, soft_wrap=True))
