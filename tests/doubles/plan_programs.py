# SPDX-License-Identifier: Apache-2.0
"""Plans of the samples from the builder's double, and programs in place of trtexec and the runner that run them."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forked import DOUBLES

from aotfactory.api.bake import bake
from aotfactory.core.network import Network
from aotfactory.plan.options import PlanOptions
from doubles.samples import SHAPES, SM_90, sample


@dataclass(frozen=True)
class Programs:
    """A plan and what runs it here; `spec` says what the programs do (see there)."""

    plan: Path
    network: Network
    folder: Path

    @property
    def trtexec(self) -> Path:
        return self.folder / "trtexec"

    @property
    def runner(self) -> Path:
        return self.folder / "aotfactory-runner"

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.plan.with_name(self.plan.name + ".json").read_text())
        return record

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Of the runner: its arguments, and the names in its environment."""
        notes = self.folder / "calls.jsonl"
        return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []

    def set(self, program: Path, **spec: Any) -> None:
        path = program.with_name(f"{program.name}.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), **spec}))


def make(name: str, folder: Path, **options: Any) -> Programs:
    """Bake a sample by the double, which must be in TensorRT's place, and write the programs.

    Args:
        options: Of the plan.
    """
    item = sample(name)
    plan = bake(item.path, options=PlanOptions(arch=SM_90, **options), out=folder).path
    made = Programs(plan, item.bundle.network, folder)
    shapes = {
        point: [
            d.evaluate({s: getattr(r, point) for s, r in made.network.ranges.items()})
            for d in made.network.tensor("x").shape
        ]
        for point in ("min", "opt", "max")
    }
    outputs = [{"name": t.name, "dtype": t.dtype} for t in made.network.tensors if t.role == "output"]
    common = {"compute": SHAPES[name][0], "shapes": shapes, "calls": str(folder / "calls.jsonl")}
    inputs = [{"name": "x", "dtype": "fp32", "shape": shapes["opt"]}]
    for program, script, spec in (
        (made.runner, "fake_runner", common),
        (made.trtexec, "fake_trtexec", {**common, "version": 110400, "inputs": inputs, "outputs": outputs}),
    ):
        program.with_name(f"{program.name}.json").write_text(json.dumps(spec))
        command = shlex.join([*DOUBLES.command(f"doubles.{script}"), f"{program}.json"])
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
    in_place = any(t.aliases for t in made.network.tensors)
    made.set(made.runner, in_place=in_place)
    made.set(made.trtexec, dds="indices" if "non_zero" in name else "", in_place=in_place)
    return made
