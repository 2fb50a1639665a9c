# SPDX-License-Identifier: Apache-2.0
"""The command `new`: the first files of a plugin of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aotfactory.cli.options import FormatOption
from aotfactory.cli.terminal import Format, print_json, show


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the plugin and of its recipe.")],
    package: Annotated[bool, typer.Option("--package", help="A Python package with an entry point.")] = False,
    cuda: Annotated[bool, typer.Option("--cuda", help="A kernel in CUDA C++, not Triton; it takes NVRTC.")] = False,
    namespace: Annotated[str, typer.Option("--namespace", metavar="NAME", help="The plugin id's first half.")] = "my",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path(),
    format: FormatOption = Format.text,
) -> None:
    """Write a kernel file with its recipe, and a test that passes at once.

    Example: aotfactory new leaky_relu && pytest test_leaky_relu.py
    """
    from aotfactory.api.new import new_plugin

    written = new_plugin(name, out=out, namespace=namespace, package=package, cuda=cuda)
    if format is Format.json:
        print_json({"schema": "aotfactory.new/1", "files": [str(path) for path in written]})
        return
    from aotfactory.cli.tables.builds import print_new

    show(lambda console: print_new(console, name, written, package))
