# SPDX-License-Identifier: Apache-2.0
"""Bundles of the shipped kernels to build plans from, each compiled once for all tests of a process."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotfactory.api import build
from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.compile import Options
from aotfactory.compiler.manifest import Bundle
from aotfactory.core.arch import PORTABLE, Arch
from aotfactory.targets.request import TargetOptions

SM_90 = Arch(name="sm_90", capability=90)

SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "elementwise_add": ("elementwise_add", {}),
    "elementwise_add_dynamic": (
        "elementwise_add",
        {"min_shape": {None: (1, 3, 1, 1)}, "opt_shape": {None: (4, 3, 32, 32)}, "max_shape": {None: (8, 3, 64, 64)}},
    ),
    "inplace_add": ("inplace_add", {}),
    "inplace_add_dynamic": (
        "inplace_add",
        {"min_shape": {None: (1, 3, 32, 32)}, "opt_shape": {None: (2, 3, 32, 32)}, "max_shape": {None: (9, 3, 32, 32)}},
    ),
    "circ_pad": ("circ_pad", {}),
    "circ_pad_dynamic": (
        "circ_pad",
        {"min_shape": {None: (1, 3, 8, 8)}, "opt_shape": {None: (2, 3, 32, 32)}, "max_shape": {None: (8, 3, 64, 65)}},
    ),
    "non_zero": ("non_zero", {}),
    "non_zero_dynamic": (
        "non_zero",
        {"min_shape": {None: (1, 1)}, "opt_shape": {None: (64, 64)}, "max_shape": {None: (128, 256)}},
    ),
}
"""The four samples, each with static and with dynamic shapes."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A bundle on disk."""

    path: Path
    bundle: Bundle
    sha256: str


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="aotfactory-samples-")


@functools.cache
def sample(name: str, *, portable: bool = False) -> Sample:
    """One of `SHAPES`, for sm_90, or for every GPU."""
    target, request = SHAPES[name]
    return compiled(target, TargetOptions(**request), portable=portable, label=f"{name}-{portable}")


def compiled(
    target: str, request: TargetOptions, *, portable: bool = False, plugins: Iterable[str] = (), label: str = "other"
) -> Sample:
    """Any target's bundle."""
    out = Path(tempfile.mkdtemp(dir=_directory().name, prefix=label))
    options = Options(archs=(PORTABLE if portable else SM_90,))
    report = build.build_bundle(
        target, request=request, options=options, out=out, plugins=plugins, interpret=False, progress=lambda text: None
    )
    assert report.path, report.failed
    assert report.sha256
    return Sample(path=report.path, bundle=bundles.read(report.path), sha256=report.sha256)
