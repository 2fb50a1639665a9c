# SPDX-License-Identifier: Apache-2.0
"""Whole builds kept in the cache: where nothing has changed, neither TensorRT nor Triton is loaded to find that out.

The key covers what was asked for; what the definitions read is in the entry, and compared before it is used.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from aotfactory.compiler.manifest import Bundle, bundle_from_json, manifest
from aotfactory.compiler.options import Options
from aotfactory.compiler.variant_json import from_texts
from aotfactory.core.arch import default_isa
from aotfactory.core.cache import Cache, key_of
from aotfactory.core.check import Check
from aotfactory.core.cuda import driver_version
from aotfactory.core.dependencies import Dependencies, digests
from aotfactory.core.fingerprint import PACKAGE, fingerprint
from aotfactory.executors.effort import CHECK_TIME
from aotfactory.targets.request import TargetOptions

KIND = "build"


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A compiled and checked target, and what its definitions read.

    Attributes:
        check_time: Seconds that the `interpreter` check had, where they were spent before all was run.
    """

    bundle: Bundle
    checks: tuple[Check, ...]
    dependencies: Dependencies
    check_time: float | None = None


def key_for(target: str, request: TargetOptions, options: Options, plugins: Sequence[str], interpret: bool) -> str:
    """The key of a build that is asked for in this way on this machine."""
    driver = driver_version() if options.isa is None else None
    archs = [[a.name, a.capability, options.isa or default_isa(a, driver)] for a in options.archs]
    # Pairs, as objects of JSON would not keep None and "null" apart.
    asked = [
        [field.name, [[k, _plain(v)] for k, v in getattr(request, field.name).items()]] for field in fields(request)
    ]
    return key_of(
        *(KIND, fingerprint(), target, asked, archs, options.all_dtypes, options.tactic, options.road, interpret),
        [[spec, _files(spec)] for spec in plugins],
        None if _shipped(target) else _installed(),
    )


def find(cache: Cache, key: str, *, plain: bool, check_time: float = CHECK_TIME) -> Finished | None:
    """The build of this key, if all that it read is as it was, and its checks had no less time."""
    done = cache.get_as(KIND, key, partial(_from_json, plain))
    return done if done and not _why_not(done.dependencies, done.check_time, check_time) else None


def _from_json(plain: bool, data: Any) -> Finished:
    bundle = bundle_from_json(data["manifest"], from_texts(data["texts"]), plain=plain)
    bundle = replace(bundle, network=replace(bundle.network, beside=dict(data.get("beside", {}))))
    read = Dependencies.from_json(data["dependencies"])
    checks = tuple(Check.from_json(c) for c in data["checks"])
    return Finished(bundle=bundle, checks=checks, dependencies=read, check_time=_check_time(data))


def _check_time(data: Any) -> float | None:
    return None if data.get("check_time") is None else float(data["check_time"])


def why_not(cache: Cache, key: str, *, check_time: float = CHECK_TIME) -> str | None:
    """Why `find` would not find it; None: it would."""
    read = cache.get_as(KIND, key, lambda data: (Dependencies.from_json(data["dependencies"]), _check_time(data)))
    return "not in the cache" if read is None else _why_not(*read, check_time)


def _why_not(read: Dependencies, had: float | None, check_time: float) -> str | None:
    if (changed := read.changed()) is not None:
        return f"{changed} has changed"
    return None if had is None or had >= check_time else f"its checks had {had:g} s, and now have {check_time:g} s"


def keep(cache: Cache, key: str, done: Finished, target: str) -> None:
    """Keep a build for the next time; `target` may be a file that it depends on."""
    bundle, read = done.bundle, done.dependencies
    if target.endswith(".onnx"):
        read.files.update(digests([target]).files)
    data = {
        "dependencies": read.to_json(),
        "manifest": manifest(bundle),
        "texts": bundle.texts,
        "beside": dict(bundle.network.beside),
        "checks": [c.to_json() for c in done.checks],
        **({"check_time": done.check_time} if done.check_time is not None else {}),
    }
    cache.put_json(KIND, key, data)


def _plain(value: Any) -> Any:
    """An attribute or shape as JSON values, with its type: 1 is not 1.0, and neither is True."""
    items = value.tolist() if hasattr(value, "tolist") else value
    return [type(value).__name__, str(getattr(value, "dtype", "")), repr(items)]


def _files(spec: str) -> list[str]:
    """The files of a directory given as --plugins: a new one changes what is found."""
    return sorted(p.name for p in Path(spec).glob("*.py")) if os.path.isdir(spec) else []


def _shipped(target: str) -> bool:
    """Whether a target is one of aotfactory's recipes, which are found before those of other packages."""
    homes = (PACKAGE / "kernels", PACKAGE.parent / "kernels")  # installed, and in a checkout
    return target.isidentifier() and any(os.path.isfile(home / f"{target}.py") for home in homes)


def _installed() -> list[str]:
    """Recipes of other packages, among which a target may be."""
    return _entry_points(tuple(os.stat(folder).st_mtime_ns for folder in sys.path if os.path.isdir(folder)))


@functools.cache
def _entry_points(installed: tuple[int, ...]) -> list[str]:
    """They are read again only when something was installed meanwhile, which changes a folder on the path."""
    from importlib import metadata

    return sorted(f"{e.name}={e.value}" for e in metadata.entry_points(group="aotfactory.recipes"))
