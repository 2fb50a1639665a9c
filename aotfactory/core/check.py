# SPDX-License-Identifier: Apache-2.0
"""A check: what was verified of which variant or artifact, and with what outcome."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

NAMES = ("abi", "ptxas", "bounds", "interpreter", "launcher", "trtexec", "runner", "python-free")


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: One of `NAMES`.
        subject: Id of the variant, or name of the artifact.
        status: A skipped check says why in `detail`.
    """

    name: str
    subject: str
    status: Literal["passed", "failed", "skipped"]
    detail: str = ""


def failed(checks: Iterable[Check]) -> list[Check]:
    return [check for check in checks if check.status == "failed"]


def python_free(subject: str, libraries: Sequence[str], *, tensorrt: bool, environment: Iterable[str] = ()) -> Check:
    """Whether a process has loaded neither Python nor what only comes with it.

    Args:
        libraries: File names of what was mapped into it.
        tensorrt: Whether TensorRT's own library may be there.
        environment: Names of the variables that it was run with.
    """
    foreign = "python|torch|triton|numpy" if tensorrt else "python|torch|triton|numpy|tensorrt|nvinfer"
    found = [name for name in libraries if re.search(foreign, Path(name).name, re.IGNORECASE)]
    variables = f"no variables but {' and '.join(environment)}" if environment else "empty environment"
    detail = f"the process has {', '.join(found)} loaded" if found else f"{variables}; loaded: {', '.join(libraries)}"
    return Check(name="python-free", subject=subject, status="failed" if found else "passed", detail=detail)
