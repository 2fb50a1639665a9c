# SPDX-License-Identifier: Apache-2.0
"""The engines of a farm run on a GPU of their architecture: each with `aotfactory validate` in a process of its own."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

from aotfactory.api.farm_bake import compute_capability
from aotfactory.api.farm_file import Engine
from aotfactory.api.farm_steps import Validate
from aotfactory.core.arch import PORTABLE
from aotfactory.core.check import Check
from aotfactory.core.errors import EngineError, NoGpuError
from aotfactory.core.processes import run_program

TIME_LIMIT = 3600.0
"""Seconds for one engine; the launcher may have to be built first."""

EXECUTOR = "launcher"
"""Judges a bundle on a GPU."""


def required() -> Validate:
    """How engines are validated here.

    Raises:
        MissingError: This machine has no GPU.
    """
    capability = compute_capability()
    if capability is None:
        raise NoGpuError("engines are validated on a GPU, and this machine has none", hint="leave out --validate here")
    return partial(_validate, capability)


def skipped(bundle: Path, reason: str) -> list[Check]:
    """The outcome for an engine that cannot be run."""
    return [Check(name=EXECUTOR, subject=bundle.name, status="skipped", detail=reason, compared="nothing")]


def _validate(capability: int, bundle: Path, engine: Engine) -> list[Check]:
    if engine.arch != PORTABLE and engine.arch.capability != capability:
        return skipped(bundle, f"the GPU here is sm_{capability}")
    plugins = [option for spec in engine.plugins for option in ("--plugins", spec)]
    command = [sys.executable, "-m", "aotfactory", "validate", str(bundle), "--format", "json", *plugins]
    done = run_program([*command, "--executor", EXECUTOR, "--require", EXECUTOR], timeout=TIME_LIMIT)
    if done.code not in (0, 1):
        said = done.stderr.strip().removeprefix("error: ") or f"exit code {done.code}"
        raise EngineError(f"it was not validated: {said}")
    return [Check.from_json(check) for check in json.loads(done.stdout)["checks"]]
