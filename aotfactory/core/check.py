# SPDX-License-Identifier: Apache-2.0
"""A check: what was verified of which variant or artifact, and with what outcome."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

NAMES = ("abi", "ptxas", "bounds", "interpreter", "launcher", "trtexec", "runner", "python-free")


Compared = Literal["reference", "memory", "nothing"]
"""With what an execution was compared: outputs with a reference, memory accesses alone, or it did not take place."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run of a kernel that a check judged.

    Attributes:
        label: Which shapes: ``min``, ``opt``, ``max``, ``small``, ...
        shapes: Of the network's inputs, in elements.
        data: ``random`` or ``adversarial``.
        run, of: Programs of the grid that ran, and how many there are.
    """

    label: str
    shapes: Mapping[str, tuple[int, ...]]
    data: str
    run: int
    of: int

    def to_json(self) -> dict[str, Any]:
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        programs = {"run": self.run, "of": self.of}
        return {"label": self.label, "shapes": shapes, "data": self.data, "programs": programs}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Case:
        shapes = {name: tuple(shape) for name, shape in data["shapes"].items()}
        return cls(label=data["label"], shapes=shapes, data=data["data"], **data["programs"])


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: One of `NAMES`.
        subject: Id of the variant, or name of the artifact.
        status: A skipped check says why in `detail`.
        compared: For checks that run a kernel; None for others.
        cases: The runs that were judged, as far as programs are counted.
        not_run: Label, shapes and data of those that were not, for lack of time.
    """

    name: str
    subject: str
    status: Literal["passed", "failed", "skipped"]
    detail: str = ""
    compared: Compared | None = None
    cases: tuple[Case, ...] = ()
    not_run: tuple[Mapping[str, Any], ...] = ()

    @property
    def sampled(self) -> bool:
        """Whether no case ran its whole grid: then elements that nobody writes may have gone unseen."""
        return bool(self.cases) and all(case.run < case.of for case in self.cases)

    def to_json(self) -> dict[str, Any]:
        """The check as every ``--format json`` has it."""
        found: dict[str, Any] = {
            "name": self.name,
            "subject": self.subject,
            "status": self.status,
            "detail": self.detail,
        }
        if self.compared is not None:
            found["compared"] = self.compared
        if self.cases:
            found["cases"] = [case.to_json() for case in self.cases]
            found["programs"] = {"run": sum(c.run for c in self.cases), "of": sum(c.of for c in self.cases)}
        if self.not_run:
            found["not_run"] = [dict(case) for case in self.not_run]
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Check:
        """The check of such JSON values.

        Raises:
            ValueError: They are none: an unknown status, or something else than text. Or as a wrong argument would.
        """
        texts = [data["name"], data["subject"], data["status"], data.get("detail", "")]
        if not all(isinstance(t, str) for t in texts) or data["status"] not in ("passed", "failed", "skipped"):
            raise ValueError(f"not a check: {data!r:.100}")
        fields = {key: value for key, value in data.items() if key not in ("cases", "programs", "not_run")}
        cases = tuple(Case.from_json(case) for case in data.get("cases", ()))
        return cls(cases=cases, not_run=tuple(data.get("not_run", ())), **fields)


def skip(checks: Iterable[Check], names: Mapping[str, str], subjects: Iterable[str]) -> list[Check]:
    """The checks with those of these names skipped, whatever they found, each for the reason given.

    Args:
        names: Names of checks, each with the reason.
        subjects: Where no check of a name was made, it is skipped for each of these.
    """
    found = list(checks)
    for name, reason in names.items():
        detail = f"skipped by --skip-check, because {reason}"
        compared: Compared | None = "nothing" if name == "interpreter" else None
        known = [c.subject for c in found if c.name == name] or list(subjects)
        skipped = [Check(name=name, subject=s, status="skipped", detail=detail, compared=compared) for s in known]
        found = [c for c in found if c.name != name] + skipped
    return sorted(found, key=lambda c: NAMES.index(c.name))


def nothing_judged(checks: Iterable[Check], required: Iterable[str] = ()) -> str | None:
    """Why these checks say nothing of an artifact, or not all that was required, and which option would help; or None.

    Args:
        required: Names of checks, each of which has to have passed or failed everywhere.
    """
    found = list(checks)
    if any(c.status == "failed" for c in found):
        return None
    for name in required:
        of_name = [c for c in found if c.name == name]
        lacking = next(
            (c.detail for c in of_name if c.status == "skipped"), None if of_name else "it was not asked to run"
        )
        if lacking is not None:
            return f"{name} is required, but was skipped: {lacking}{_help(lacking)}"
    if any(c.status == "passed" and c.compared in ("reference", "memory") for c in found):
        return None
    reasons = dict.fromkeys(c.detail for c in found if c.compared == "nothing")
    first = next((r for r in reasons if _help(r)), next(iter(reasons), "no executor was run"))
    return f"nothing was validated: {first}{_help(first)}"


HELP = {
    "no GPU": "run it on a machine with a GPU, or with --executor interpreter",
    "no longer give this kernel": "give the definitions it was built from, with --plugins",
    "do not make this bundle": "give the definitions it was built from, with --plugins",
    "--check-time": "give it more: --check-time 60",
    "not a Triton kernel": "only --executor launcher, on a machine with a GPU, can run it",
    "trtexec": "name it with --trtexec, or TensorRT's directory with --tensorrt-root",
}
"""Part of a reason, and what to do about it."""


def _help(reason: str) -> str:
    return next((f" ({what})" for part, what in HELP.items() if part in reason), "")


def summary(checks: Iterable[Check]) -> str:
    """How the checks that run kernels judged them: ``2 compared, 1 sampled, 1 memory only, 3 skipped``."""
    counts = dict.fromkeys(("compared", "sampled", "memory only", "skipped", "failed"), 0)
    for check in checks:
        if check.compared is None:
            continue
        if check.status != "passed":
            counts[check.status] += 1
        elif check.compared == "memory":
            counts["memory only"] += 1
        else:
            counts["sampled" if check.sampled else "compared"] += 1
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def passed_at(labels: Iterable[str], only: str) -> str:
    """The detail of a check whose trials of these labels were all right.

    Args:
        only: What was checked where there was no reference to compare with; empty if there always was one.
    """
    against = f"{only} only: the plugins have no recipe" if only else "against the reference"
    return f"{against}, at {', '.join(dict.fromkeys(labels))}"


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
