# SPDX-License-Identifier: Apache-2.0
"""The outcomes of a farm's engines on disk: reports, the directory's index, and the farm's state."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aotfactory.api import engine_index
from aotfactory.api.farm_file import Engine
from aotfactory.core.errors import AotError, UnwritableError
from aotfactory.core.files import read_file, replace_file

SCHEMA = "aotfactory.farm/1"

STATE = "farm.json"
"""The file with each engine's outcome, in the farm's directory: for the report, and for the next run's estimate."""

INDEXED_EVERY = 5.0
"""Seconds between writings of the index and the state, which grow with the number of engines."""

Status = Literal["built", "cached", "failed", "error", "not begun"]


@dataclass(frozen=True, kw_only=True)
class Made:
    """The outcome of one engine.

    Attributes:
        status: ``failed``: a check did; ``error``: it could not be built; ``cached``: nothing had changed.
        seconds: For an engine that was built.
        because: Why it was not taken from the cache.
        report: As `build --format json` prints it; only its ``bundle`` once the engine is on disk.
        error: Message, where and hint of what went wrong.
    """

    engine: Engine
    status: Status
    seconds: float = 0.0
    because: str | None = None
    report: Mapping[str, Any] | None = None
    error: AotError | None = None

    @property
    def problem(self) -> dict[str, str | None] | None:
        """The error as JSON values."""
        return self.error.to_json() if self.error else None


class Ledger:
    """Reports, index and state on disk, brought up to date every few seconds."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._entries: dict[str, Any] = {}
        self._state = read_state(out)
        self._written = time.monotonic()

    def add(self, made: Made) -> None:
        """Enter what became of an engine.

        Raises:
            UsageError: The directory cannot be written.
        """
        name, before = made.engine.name, self._state.get(made.engine.name, {})
        found = made.report["checks"] if made.report and made.status == "failed" else None
        self._state[name] = {
            "target": made.engine.target,
            "arch": made.engine.arch.name,
            "status": made.status,
            "seconds": made.seconds or before.get("seconds", 0.0),
            **({"because": made.because} if made.because else {}),
            **({"error": made.problem} if made.problem else {}),
            **({"checks": found} if found else {}),
        }
        if made.report and made.report["bundle"]["path"]:
            self._entries[name] = engine_index.keep(self._out, name, made.report)
        if time.monotonic() - self._written > INDEXED_EVERY:
            self.write()

    def write(self) -> None:
        if not self._state:
            return
        engine_index.add(self._out, self._entries)
        self._entries.clear()
        text = json.dumps({"schema": SCHEMA, "engines": self._state}, indent=1, sort_keys=True)
        try:
            replace_file(self._out / STATE, text.encode() + b"\n")
        except OSError as error:
            raise UnwritableError(f"cannot write {self._out}: {error.strerror}", hint="choose another out") from error
        self._written = time.monotonic()


def read_state(out: Path) -> dict[str, dict[str, Any]]:
    """By name, what became of the engines of a directory; a file that is damaged says nothing."""
    try:
        data = json.loads(read_file(out / STATE, limit=engine_index.LARGEST))
        engines = data["engines"].items() if data["schema"] == SCHEMA else ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {n: e for n, e in engines if isinstance(e, dict) and isinstance(e.get("seconds", 0.0), float | int)}
