# SPDX-License-Identifier: Apache-2.0
"""What road_gpu.py runs, and its preparation on a machine without a GPU: bundles, libraries, the driver."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from aotfactory.api.build import build_bundle
from aotfactory.api.library import library
from aotfactory.compiler.compile import Options
from aotfactory.core.arch import parse_archs
from aotfactory.executors.native.launcher import build_launcher
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from gpu_check import profile
from plugin_cases import build_driver

Row = dict[str, Any]
Shapes = dict[str | None, tuple[int, ...]]

MODULES = Path(__file__).resolve().parent.parent / "tests" / "modules"
FOR_LIBRARY = {name: str(MODULES / f"{name}.py") for name in ("center", "pairs", "mixed")}
"""Plugins of the tests whose kernels only a library can launch: in a row with a workspace, CUDA C++ beside Triton, in
clusters of 2 and of 16 that the launch states.
"""

SIDE = 4096
"""Of the square matrix that non_zero is timed with."""


def groups(n: int, c: int, side: int) -> Shapes:
    return {"x": (n, c, side, side), "weight": (c,), "bias": (c,)}


def rows(name: str, count: int, length: int) -> Shapes:
    weights: dict[str, tuple[str, ...]] = {"softmax": (), "rms_norm": ("weight",), "layer_norm": ("weight", "bias")}
    return {"x": (count, length), **dict.fromkeys(weights[name], (length,))}


LONG = 2**20
ROWS = {
    "fp16": [
        *((n, 2**17) for n in (1, 8, 32, 64)),
        *((n, 2**18) for n in (1, 16, 132)),
        *((n, LONG) for n in (1, 8, 64)),
    ],
    "fp32": [(1, 2**17), (32, 2**17), (64, 2**17), (16, 2**18), (8, LONG)],
}
"""Rows and columns of the row kernels that are timed, by type."""

LARGE: dict[str, tuple[str, tuple[str, ...], Shapes]] = {
    "square": ("non_zero", ("fp32", "fp16", "bf16", "int8"), {None: (SIDE, SIDE)}),
    "groups-128": ("group_norm_silu", ("fp32", "fp16"), groups(2, 512, 128)),
    "groups-huge": ("group_norm_silu", ("fp32", "fp16"), groups(1, 128, 512)),
    **{
        f"{name}-{count}x{length}": (
            name,
            tuple(t for t in ROWS if (count, length) in ROWS[t]),
            rows(name, count, length),
        )
        for name in ("softmax", "rms_norm", "layer_norm")
        for count, length in ROWS["fp16"]
    },
}
"""Recipe, types and shapes of what is timed."""

STATIC: dict[str, tuple[str, Shapes]] = {
    **{f"long-{name}": (name, rows(name, 4, LONG)) for name in ("softmax", "rms_norm", "layer_norm")},
    "groups-few": ("group_norm_silu", groups(2, 64, 288)),
}
"""Recipe and shapes of what is checked besides each recipe's own, in fp16: tactics that are for these alone."""


def prepare(directory: Path, arch: str, wanted: list[str], jobs: int) -> int:
    """Fill the directory: a bundle for each recipe, type and kind of shapes, a library of all of them, the driver."""
    known = known_plugins()
    chosen = wanted or sorted(known.recipes)
    cases = [
        (name, dtype, shapes, arch, directory)
        for name in chosen
        for dtype in known.recipes[name].dtypes
        for shapes in ("static", "dynamic")
    ]
    cases += [(name, "fp16", case, arch, directory) for case, (name, _) in STATIC.items() if name in chosen]
    large = [
        (name, dtype, case, arch, directory)
        for case, (name, types, _) in LARGE.items()
        for dtype in types
        if name in chosen
    ]
    with ProcessPoolExecutor(jobs) as pool:
        list(pool.map(compile_case, *zip(*cases, strict=True)))
        speed = list(pool.map(compile_case, *zip(*large, strict=True))) if large else []
    paths = sorted(directory.glob("bundles/*/*/*.aot"))  # also those of an earlier call
    library(paths, directory / "libroad.so")
    if speed:
        library(sorted(directory.glob("large/*/*/*.aot")), directory / "libspeed.so")
    build_driver(directory / "driver")
    shutil.copy(build_launcher(), directory / "launcher")
    print(f"{len(paths)} bundles, {(directory / 'libroad.so').stat().st_size} bytes of library")
    return 0


def known_plugins() -> Catalog:
    catalog = Catalog(FOR_LIBRARY.values())
    catalog.load_all()
    return catalog


def compile_case(name: str, dtype: str, shapes: str, arch: str, directory: Path) -> Path:
    known = known_plugins()
    if shapes in LARGE:
        _offer_all()
        request = TargetOptions(dtype={None: dtype}, shape=LARGE[shapes][2])
    elif shapes in STATIC:
        request = TargetOptions(dtype={None: dtype}, shape=STATIC[shapes][1])
    else:
        low, opt, high = profile(known.recipes[name], shapes)
        request = TargetOptions(dtype={None: dtype}, min_shape=low, opt_shape=opt, max_shape=high)
    done = build_bundle(
        name,
        request=request,
        options=Options(archs=parse_archs(arch), road="library"),
        plugins=[FOR_LIBRARY[name]] if name in FOR_LIBRARY else (),
        out=directory / ("large" if shapes in LARGE else "bundles") / shapes / dtype,
        interpret=False,
    )
    if done.path is None:
        raise SystemExit(f"{name} {dtype} {shapes}: " + "; ".join(f"{c.name}: {c.detail}" for c in done.failed))
    return done.path


def _offer_all() -> None:
    """Let rows be timed with the tactics for a library, also where they are not expected to win."""
    from aotfactory.kernels import _row_pieces

    _row_pieces.estimate = lambda rows, tactic: 0.0


def name_of(path: Path) -> str:
    return "/".join((*path.parts[-3:-1], path.stem))
