# SPDX-License-Identifier: Apache-2.0
"""``aotfactory cache info | clean | verify``: what is kept of earlier builds."""

from __future__ import annotations

import os
from collections import defaultdict

import typer

from aotfactory.cli.options import FormatOption
from aotfactory.cli.talk import Application
from aotfactory.cli.terminal import Format, print_json, say, show
from aotfactory.core.cache import Cache, open_cache
from aotfactory.core.errors import SettingError

SCHEMA = "aotfactory.cache/1"

app = Application(no_args_is_help=True, help="What is kept of earlier builds: kernels, and outcomes of checks.")


@app.command(short_help="Where the cache is, and what it holds.")
def info(format: FormatOption = Format.text) -> None:
    """Where the cache is, and what it holds.

    Example: aotfactory cache info
    """
    cache = _open()
    kinds: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for entry in cache.entries():
        kinds[entry.kind][0] += 1
        kinds[entry.kind][1] += entry.size
    used = sum(size for _, size in kinds.values())
    shared = os.environ.get("AOTFACTORY_REMOTE_CACHE")
    if format is Format.json:
        held = {kind: {"entries": count, "bytes": size} for kind, (count, size) in sorted(kinds.items())}
        print_json(
            {
                "schema": SCHEMA,
                "path": str(cache.root),
                "bytes": used,
                "limit": cache.limit,
                "shared": shared,
                "kinds": held,
            }
        )
        return
    lines = [f"{cache.root}: {_amount(used)} of {_amount(cache.limit)}"]
    lines += [f"  {kind}: {count} entries, {_amount(size)}" for kind, (count, size) in sorted(kinds.items())]
    lines += [f"shared: {shared}"] if shared else []
    show(lambda console: console.print(*lines, sep="\n", soft_wrap=True))


@app.command(short_help="Remove all entries.")
def clean() -> None:
    """Remove all entries of this machine's cache; a shared one keeps its own.

    Example: aotfactory cache clean
    """
    cache = _open()
    say(f"removed {cache.clean()} entries from {cache.root}")


@app.command(short_help="Read every entry, and remove what is damaged.")
def verify() -> None:
    """Read every entry, and remove what is damaged; exit code 1 if there was any.

    Example: aotfactory cache verify
    """
    cache = _open()
    whole, damaged = cache.verify()
    for path in damaged:
        say(f"damaged, and removed: {path}")
    say(f"{whole} entries of {cache.root} are whole")
    raise typer.Exit(1 if damaged else 0)


def _open() -> Cache:
    cache = open_cache()
    if cache is None:
        raise SettingError("AOTFACTORY_NO_CACHE is set: there is no cache", hint="unset it")
    return cache


def _amount(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
