# SPDX-License-Identifier: Apache-2.0
"""Which tactic is fastest on the GPU here: each is timed, and the ranking is kept in NAME.tuning.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aotfactory.api import build
from aotfactory.compiler import bundle
from aotfactory.compiler.compile import Options
from aotfactory.compiler.variant import Variant
from aotfactory.core import cuda, documents, network_json
from aotfactory.core.arch import native_arch
from aotfactory.core.errors import (
    DamagedRankingsError,
    DocumentError,
    EngineError,
    NoGpuError,
    ShapeError,
    UnwritableError,
)
from aotfactory.core.files import read_file, replace_file
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Shape
from aotfactory.executors.inputs import Array
from aotfactory.executors.native.launcher import TacticRun, run_launcher
from aotfactory.executors.native.program import Timing
from aotfactory.targets.request import TargetOptions

SCHEMA = "aotfactory.tuning/1"
TIE = 1.01
"""Times within this factor of the best count as ties."""


@dataclass(frozen=True, kw_only=True)
class TacticTime:
    """How fast one tactic is.

    Attributes:
        us: Median GPU time of a pass (every call of the network once), in microseconds: the better of events around
            launches and of a replayed CUDA graph. p5 and p95 are of the same.
        gb_per_s: Bytes of all inputs and outputs, each once, per second.
        of_copy: That speed, divided by a device copy's that moves as many bytes in the same run.
        registers, spills: Of a thread, and bytes; the most of all calls, as are `threads` and `shared_mem` (bytes).
    """

    tactic: int
    us: float
    p5: float
    p95: float
    gb_per_s: float
    of_copy: float
    registers: int
    spills: int
    threads: int
    shared_mem: int


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The tactics of a network at one set of shapes on one GPU, the fastest first.

    Attributes:
        driver: CUDA version of the driver, as 13000 for 13.0.
        versions: Of what compiled the kernels.
        network: Tensors, profile and calls, as a bundle's manifest has them.
        shapes: Of the inputs, by name.
        bytes_moved: All inputs and outputs, each once.
        copy_gb_per_s: Bytes read and written by a device copy.
        input_sets: Copies of all tensors that were used in turn, so that the L2 cache does not serve them.
    """

    name: str
    gpu: str
    driver: int
    versions: Mapping[str, str]
    network: Mapping[str, Any]
    shapes: Mapping[str, Shape]
    bytes_moved: int
    copy_gb_per_s: float
    input_sets: int
    tactics: Sequence[TacticTime]


@dataclass(frozen=True, kw_only=True)
class TuneResult:
    """A ranking of tactics, and the file that keeps it with earlier ones.

    Attributes:
        never_fastest: Tactics that no ranking in the file has within `TIE` of its best.
    """

    ranking: Ranking
    path: Path
    never_fastest: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """The result as ``tune --format json`` prints it, schema ``aotfactory.tuning/1``."""
        return {
            "schema": SCHEMA,
            "path": str(self.path),
            "ranking": asdict(self.ranking),
            "never_fastest": list(self.never_fastest),
        }


def tune(
    target: str,
    *,
    request: TargetOptions,
    out: Path,
    plugins: Iterable[str] = (),
    iterations: int = 50,
    progress: Callable[[str], None] = lambda text: None,
) -> TuneResult:
    """Compile a target for this GPU, time its tactics at the opt shapes, and keep the ranking in ``out``.

    Returns:
        The ranking, and the file that it is in now, which has one for each GPU, network (data types, profile,
        attributes) and shapes.

    Raises:
        CheckError: A check of a kernel failed; nothing is timed then.
        MissingError: This machine has no GPU.
        DefinitionError: The file of rankings is damaged.
    """
    if cuda.cuda_device_count() == 0:
        raise NoGpuError("tactics are timed on a GPU, and this machine has none", hint="tune where the engine runs")
    with TemporaryDirectory(prefix="aotfactory-tune-") as scratch:
        report = build.build_bundle(
            target,
            request=request,
            options=Options(archs=(native_arch(),)),
            out=Path(scratch),
            plugins=plugins,
            interpret=False,
            progress=progress,
        )
        if report.path is None:
            raise EngineError("; ".join(f"{c.name} of {c.subject}: {c.detail}" for c in report.failed))
        kept = out / f"{report.bundle.network.name}.tuning.json"
        read(kept)  # told before the time is spent
        progress("timing")
        ranking = rank(report.path, iterations=iterations)
    keep(ranking, kept)
    return TuneResult(ranking=ranking, path=kept, never_fastest=tuple(never_fastest(read(kept))))


def rank(path: Path, *, inputs: Mapping[str, Array] | None = None, iterations: int = 50) -> Ranking:
    """Time every tactic of a bundle on the GPU here; whether they are right is for `validate` to tell.

    Args:
        inputs: Data by input name; the others get random numbers, of the profile's opt shape.
    """
    made = bundle.read(path)
    timing = Timing(iterations=iterations, input_sets=0, graph=True, copy_baseline=True)
    result = run_launcher(path, inputs=inputs, tactic="all", tight=True, timing=timing, save_outputs=False)
    timed = [(run, run.timing) for run in result.runs if run.timing and "pass" in run.timing]
    if not timed:
        raise ShapeError("no kernel is launched at this shape", hint="tune with a shape that has elements")
    device = result.report["device"]
    copies = sorted(_faster(timing["copy"])[0] for _, timing in timed)
    copy_us = copies[len(copies) // 2]
    moved = int(timed[0][1]["bytes_moved"])
    return Ranking(
        name=made.network.name,
        gpu=device["name"],
        driver=device["driver"],
        versions=made.versions,
        network=network_json.network_to_json(made.network),
        shapes={t["name"]: tuple(t["shape"]) for t in result.report["tensors"] if t["role"] == "input"},
        bytes_moved=moved,
        copy_gb_per_s=moved / copy_us / 1000,
        input_sets=int(timed[0][1]["input_sets"]),
        tactics=sorted(
            (_tactic_time(run, timing, moved, copy_us, made.variants) for run, timing in timed), key=lambda t: t.us
        ),
    )


def _tactic_time(
    run: TacticRun, timing: Mapping[str, Any], moved: int, copy_us: float, variants: Iterable[Variant]
) -> TacticTime:
    us, p5, p95 = _faster(timing["pass"])
    used = {launch["variant"] for launch in run.launches}
    return TacticTime(
        tactic=run.tactic,
        us=us,
        p5=p5,
        p95=p95,
        gb_per_s=moved / us / 1000,
        of_copy=copy_us / us,
        registers=max(launch["registers"] for launch in run.launches),
        spills=max(v.spills or 0 for v in variants if v.id in used),
        threads=max(launch["block"][0] * launch["block"][1] * launch["block"][2] for launch in run.launches),
        shared_mem=max(launch["shared_mem"] for launch in run.launches),
    )


def _faster(times: Mapping[str, Any]) -> tuple[float, float, float]:
    """Median, p5 and p95, in microseconds: a small tensor's launches take the host longer than the GPU."""
    best = min((times["us"], times["graph_us"]), key=lambda t: float(t["median"]))
    return best["median"], best["p5"], best["p95"]


def read(path: Path) -> list[dict[str, Any]]:
    """The rankings in a file, as JSON values; none where there is no file.

    Raises:
        DamagedRankingsError: It is not as it was written.
    """
    hint = "delete the file"
    try:
        content = documents.parse_json(read_file(path, limit=LIMITS["tuning_bytes"]))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        raise DamagedRankingsError(f"damaged rankings: {problem}", where=str(path), hint=hint) from error
    if isinstance(content, dict) and isinstance(found := content.get("schema"), str) and found != SCHEMA:
        raise DamagedRankingsError(f"the rankings' schema is not {SCHEMA}", where=str(path), hint=hint)
    try:
        documents.validate(content, "tuning", where=str(path), hint=hint)
    except DocumentError as error:
        raise DamagedRankingsError(error.message, where=error.where, hint=hint) from error
    rankings: list[dict[str, Any]] = content["rankings"]
    return rankings


def keep(ranking: Ranking, path: Path) -> None:
    """Add a ranking to a file, in place of an earlier one of the same network and shapes on the same GPU."""
    same = ("name", "gpu", "network", "shapes")
    new = json.loads(json.dumps(asdict(ranking)))
    others = [old for old in read(path) if any(old[key] != new[key] for key in same)]
    try:
        replace_file(path, json.dumps({"schema": SCHEMA, "rankings": [*others, new]}, indent=1).encode() + b"\n")
    except OSError as error:
        raise UnwritableError(f"cannot write {path}: {error.strerror}", hint="choose another --out") from error


def never_fastest(rankings: Iterable[Mapping[str, Any]]) -> list[int]:
    """Tactics that were timed and never within `TIE` of the best: candidates to remove from the plugin's autotune."""
    timed, won = set(), set()
    for ranking in rankings:
        best = min(t["us"] for t in ranking["tactics"])
        timed |= {t["tactic"] for t in ranking["tactics"]}
        won |= {t["tactic"] for t in ranking["tactics"] if t["us"] <= best * TIE}
    return sorted(timed - won)
