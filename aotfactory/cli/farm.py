# SPDX-License-Identifier: Apache-2.0
"""``aotfactory farm FILE``: all engines of a farm.toml."""

from __future__ import annotations

import contextlib
import enum
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aotfactory.cli.build import Engine as EngineKind
from aotfactory.cli.options import FormatOption, Jobs, NoCache
from aotfactory.cli.terminal import Format, print_json, say, show

if TYPE_CHECKING:
    from aotfactory.api.farm import FarmResult, Made
    from aotfactory.api.farm_file import Engine
    from aotfactory.api.farm_steps import Bake, Validate
    from aotfactory.core.cache import Cache


class Executor(str, enum.Enum):
    """Where engines are built."""

    local = "local"
    ray = "ray"


def farm(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Usually farm.toml.", show_default=False)],
    only: Annotated[
        list[str], typer.Option("--only", metavar="PATTERN", help="Engines of these names: '*.sm_90'.")
    ] = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", "-k", help="Go on after an engine went wrong.")] = False,
    engine: Annotated[
        EngineKind, typer.Option(help="TensorRT plans, kernel bundles, or the most this machine can.")
    ] = EngineKind.auto,
    executor: Annotated[
        Executor, typer.Option(help="Where engines are built: on this machine, or on a Ray cluster ($RAY_ADDRESS).")
    ] = Executor.local,
    validate: Annotated[
        bool, typer.Option("--validate", help="Run each on a GPU of its architecture, here or on the cluster.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Instead of the file's own out.")] = None,
    jobs: Jobs = None,
    no_cache: NoCache = False,
    format: FormatOption = Format.text,
) -> None:
    """Build every engine of a farm.toml; what has not changed is taken from the cache.

    A farm that was interrupted goes on where it was when it is started again.

    Example: aotfactory farm farm.toml --keep-going
    """
    from aotfactory.api import farm as farming
    from aotfactory.api.farm_file import FarmFile
    from aotfactory.core.cache import open_cache
    from aotfactory.core.workers import available_cores

    file = FarmFile(path)
    engines, directory = farming.selected(file, only), out or file.out
    cache = None if no_cache else open_cache(warn=lambda text: say(f"warning: {text}"))
    workers = jobs or available_cores()
    if dry_run:
        why = farming.plan(engines, cache)
        _print_plan(engines, why, farming.estimate(directory, engines, why, workers), format)
        return
    if executor is Executor.ray:
        from aotfactory.api import farm_ray

        farm_ray.connect()
    progress = _Progress(len(engines))
    with contextlib.redirect_stdout(sys.stderr), progress:
        result = farming.run_farm(
            engines,
            out=directory,
            cache=cache,
            jobs=workers,
            keep_going=keep_going,
            bake=_bake(engine, executor, cache),
            validate=_validate(executor, cache) if validate else None,
            ray=executor is Executor.ray,
            report=progress.report,
        )
    if format is Format.json:
        print_json(farming.to_json(result))
    else:
        _print_summary(result, directory)
    raise typer.Exit(result.exit_code)


def _bake(kind: EngineKind, executor: Executor, cache: Cache | None) -> Bake | None:
    """How plans are made; None where they are not."""
    if kind is EngineKind.bundle:
        return None
    if executor is Executor.ray and cache is not None:
        from aotfactory.api import farm_ray

        bake = farm_ray.bakes(cache, kind is EngineKind.tensorrt)
        if bake is None:
            say("no plans are made: no node of the cluster has a resource like sm_90 (docs/farm.md)")
        return bake
    from aotfactory.api import farm_bake

    if kind is EngineKind.tensorrt:
        return farm_bake.required(cache is not None)
    bake = farm_bake.available(cache is not None)
    if bake is None:
        say("no plans are made: they take TensorRT's builder and a GPU (aotfactory bake)")
    return bake


def _validate(executor: Executor, cache: Cache | None) -> Validate:
    """How engines are run on a GPU."""
    if executor is Executor.ray and cache is not None:
        from aotfactory.api import farm_ray

        return farm_ray.validates(cache)
    from aotfactory.api import farm_validate

    return farm_validate.required()


class _Progress:
    """A line for each engine; on a terminal, also one below them that says how far the farm is."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.built = total, 0, 0
        self.started = time.monotonic()
        self.live = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._clear()

    def report(self, made: Made, left: int) -> None:
        """Tell of an engine that is done; `left` are still to be built."""
        self.done += 1
        self.built += made.status != "cached"
        self._clear()
        if made.status != "cached" or not self.live:
            took = f" in {made.seconds:.1f} s" if made.status == "built" else ""
            because = f" ({made.because})" if made.because else ""
            problem = f": {made.error}" if made.error else ""
            say(f"{self.done}/{self.total} {made.engine.name}: {made.status}{took}{because}{problem}")
        if self.live and self.done < self.total:
            pace = (time.monotonic() - self.started) / max(self.built, 1)
            ahead = f", about {_duration(pace * left)} left" if self.built and left else ""
            print(f"{self.done} of {self.total} engines{ahead}", end="", file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self.live:
            print("\r\x1b[2K", end="", file=sys.stderr)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _print_plan(engines: list[Engine], why: dict[str, str | None], seconds: float | None, format: Format) -> None:
    waiting = sum(why[engine.name] is not None for engine in engines)
    if format is Format.json:
        listed = [
            {
                "name": e.name,
                "target": e.target,
                "arch": e.arch.name,
                "where": e.where,
                "cached": why[e.name] is None,
                "because": why[e.name],
            }
            for e in engines
        ]
        print_json({"schema": "aotfactory.farm-plan/1", "engines": listed, "to_build": waiting, "seconds": seconds})
        return

    def render(console: Any) -> None:
        for engine in engines:
            state = f"to build ({why[engine.name]})" if why[engine.name] else "cached"
            line = f"{engine.name}  {engine.target} for {engine.arch}: {state}"
            console.print(line, soft_wrap=True)
        about = "unknown" if seconds is None else f"about {_duration(seconds)}"
        text = f"{len(engines)} engines: {len(engines) - waiting} cached, {waiting} to build, which takes: {about}"
        console.print(text, soft_wrap=True)

    show(render)


def _print_summary(result: FarmResult, directory: Path) -> None:
    counts = ", ".join(f"{count} {status}" for status, count in sorted(result.counts.items()))
    wrong = [made for made in result.made if made.error]
    lines = [f"{made.engine.name}: {made.status} ({made.engine.where})" for made in wrong]
    lines.append(f"{len(result.made)} engines in {_duration(result.seconds)}: {counts}; they are in {directory}")
    show(lambda console: console.print(*lines, sep="\n", soft_wrap=True))
