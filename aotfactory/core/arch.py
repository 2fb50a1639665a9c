# SPDX-License-Identifier: Apache-2.0
"""GPU architectures, and the PTX ISA that each architecture and each driver takes.

Sources of the tables: NVIDIA's "PTX ISA release history" (as ``cuda.bindings.utils`` also carries it, up to
PTX 9.3) for which CUDA release brought which ISA; for the architectures, every (ISA, target) pair was given to the
ptxas of CUDA 12.8, 12.9 and 13.4, which agree, and which also show that CUDA 13.4 takes PTX 9.4; NVRTC 13.5 writes 9.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from aotfactory.core import cuda
from aotfactory.core.errors import ArchitectureError, MissingError, NoGpuError, PtxError


class PtxIsa(NamedTuple):
    """A version of the PTX instruction set; compares like the tuple (major, minor)."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> PtxIsa:
        """Reads ``"8.0"``. Raises UsageError for anything else."""
        found = re.fullmatch(r"([0-9]{1,3})\.([0-9])", text.strip())
        if not found:
            raise ArchitectureError(
                f"{text!r} is not a PTX ISA version", hint="write it as MAJOR.MINOR, for example 8.0"
            )
        return cls(int(found[1]), int(found[2]))

    @property
    def number(self) -> int:
        """The form that Triton's ``ptx_version`` option takes: 80 for 8.0."""
        return self.major * 10 + self.minor

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


# CUDA release (major, minor) -> newest PTX ISA that its driver and its ptxas take.
CUDA_ISA = {
    **{(11, minor): PtxIsa(7, minor) for minor in range(9)},
    **{(12, minor): PtxIsa(8, minor) for minor in range(6)},
    (12, 6): PtxIsa(8, 5),
    **{(12, minor): PtxIsa(8, minor - 1) for minor in (7, 8, 9)},
    **{(13, minor): PtxIsa(9, minor) for minor in range(6)},
}


# PTX target -> oldest ISA that knows it. Triton compiles for all of them; sm_88 and sm_101 it does not (sm_110 is
# what CUDA 13 calls sm_101). An "f" target runs on its family, an "a" target on that one architecture.
TARGET_ISA = {
    "sm_75": PtxIsa(6, 3),
    "sm_80": PtxIsa(7, 0),
    "sm_86": PtxIsa(7, 1),
    "sm_87": PtxIsa(7, 4),
    "sm_89": PtxIsa(7, 8),
    "sm_90": PtxIsa(7, 8),
    "sm_90a": PtxIsa(8, 0),
    **dict.fromkeys(("sm_100", "sm_100a"), PtxIsa(8, 6)),
    **dict.fromkeys(("sm_120", "sm_120a"), PtxIsa(8, 7)),
    **dict.fromkeys(("sm_100f", "sm_103", "sm_103a", "sm_103f"), PtxIsa(8, 8)),
    **dict.fromkeys(("sm_120f", "sm_121", "sm_121a", "sm_121f"), PtxIsa(8, 8)),
    **dict.fromkeys(("sm_110", "sm_110a", "sm_110f"), PtxIsa(9, 0)),
    **dict.fromkeys(("sm_107", "sm_107a", "sm_107f"), PtxIsa(9, 4)),
}


BASE_ISA = PtxIsa(8, 0)
"""Written when nothing is known about the driver: CUDA 12.0's ISA, enough for every architecture up to sm_90a."""


SHARED_LIMIT = 48 * 1024
"""Bytes of shared memory that a kernel gets without asking the driver for more, which TensorRT does not."""

Road = Literal["aot", "library"]
"""How TensorRT gets the kernels: as AOT plugins of a plan, or in a plugin library, which launches them itself."""

_SHARED = {75: 64, 80: 163, 86: 99, 87: 163, 89: 99, 90: 227, 100: 227, 103: 227, 110: 227, 120: 99, 121: 99}
"""KiB of shared memory that a block may ask for, by compute capability (CUDA C++ Programming Guide)."""


KNOWN = tuple(sorted((t for t in TARGET_ISA if t[-1].isdigit()), key=lambda t: int(t[3:])))


class PtxTarget(NamedTuple):
    """A PTX target taken apart: ``sm_90a`` is (90, "a")."""

    capability: int
    suffix: str

    @classmethod
    def parse(cls, name: str) -> PtxTarget:
        """Raises DefinitionError when ``name`` is not of the form ``sm_<number>[a|f]``."""
        found = re.fullmatch(r"sm_([0-9]{1,4})([af]?)", name)
        if not found:
            raise PtxError(f"{name!r} is not a PTX target", hint="a target looks like sm_80 or sm_90a")
        return cls(int(found[1]), found[2])


@dataclass(frozen=True, kw_only=True)
class Arch:
    """A target of compilation: one architecture, or ``portable`` (sm_80, and so every later GPU).

    Attributes:
        name: ``sm_90``, or ``portable``.
        capability: The compute capability times ten, as in Triton's ``GPUTarget("cuda", 90, 32)``.
    """

    name: str
    capability: int

    def __str__(self) -> str:
        return self.name

    @property
    def target(self) -> str:
        """The plain PTX target, ``sm_80`` for ``portable``."""
        return f"sm_{self.capability}"

    @property
    def oldest_isa(self) -> PtxIsa:
        """The oldest PTX ISA to compile with: it knows the plain target and the ``a`` one that Triton writes from
        sm_90 on. With an older one LLVM ends the whole process.
        """
        return max(TARGET_ISA[self.target], TARGET_ISA.get(f"{self.target}a", TARGET_ISA[self.target]))

    def runs(self, target: str) -> bool:
        """Whether PTX with this ``.target`` may run here. Plain targets run on every later GPU, ``f`` targets on
        the later ones of the same major version, ``a`` targets on no other; ``portable`` takes plain ones only.
        """
        capability, suffix = PtxTarget.parse(target)
        if suffix and self == PORTABLE:
            return False
        if suffix == "a":
            return capability == self.capability
        family = not suffix or capability // 10 == self.capability // 10
        return family and capability <= self.capability


PORTABLE = Arch(name="portable", capability=80)


def parse_archs(text: str) -> tuple[Arch, ...]:
    """Reads ``"sm_80,sm_90"``: architectures in the order written, each once.

    ``portable`` and ``native`` (the GPU of this machine) are names too; ``sm_90a`` counts as ``sm_90``, because
    the kernel's content decides whether the arch-specific target is needed.

    Raises:
        UsageError: An unknown name, or none at all.
        MissingError: ``native`` on a machine without a usable GPU.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if not names:
        raise ArchitectureError("no architecture was given", hint=f"known are {', '.join(KNOWN)}, portable, native")
    return tuple(dict.fromkeys(_parse_one(name) for name in names))


def _parse_one(name: str) -> Arch:
    if name == PORTABLE.name:
        return PORTABLE
    if name == "native":
        return native_arch()
    if short := re.fullmatch(r"(?:sm|compute_)?(\d+)([af]?)|(\d+)\.(\d)", name):
        # As CMake, nvcc and deviceQuery write it: 90, sm90, compute_90, 9.0.
        name = f"sm_{short[1] or short[3] + short[4]}{short[2] or ''}"
    if name not in TARGET_ISA:
        raise ArchitectureError(
            f"unknown architecture {name!r}", hint=f"known are {', '.join(KNOWN)}, portable, native"
        )
    capability = PtxTarget.parse(name).capability
    return Arch(name=f"sm_{capability}", capability=capability)


def default_arch() -> Arch:
    """The GPU of this machine; ``portable`` where there is none, or none that is known here."""
    try:
        return native_arch()
    except MissingError:
        return PORTABLE


def native_arch() -> Arch:
    """The architecture of GPU 0, asked of the CUDA driver.

    Raises:
        MissingError: No driver, no GPU, or an architecture that is not in the table.
    """
    found = cuda.compute_capability()
    if found is None:
        lacking = "CUDA driver" if cuda.open_driver() is None else "usable GPU"
        raise NoGpuError(f"this machine has no {lacking}", hint="name the architecture, for example --arch sm_90")
    capability = found[0] * 10 + found[1]
    if f"sm_{capability}" not in TARGET_ISA:
        hint = "use --arch portable" if capability >= PORTABLE.capability else f"supported are {', '.join(KNOWN)}"
        raise NoGpuError(f"this machine's GPU is an sm_{capability}, which is not known here", hint=hint)
    return Arch(name=f"sm_{capability}", capability=capability)


def cuda_isa(major: int, minor: int) -> PtxIsa:
    """The newest PTX ISA that this CUDA release takes; for a release newer than the table, the table's newest.

    Raises:
        MissingError: A release before 11.0.
    """
    older = [release for release in CUDA_ISA if release <= (major, minor)]
    if not older:
        raise NoGpuError(f"CUDA {major}.{minor} is too old", hint="update the driver, or name the ISA: --ptx-isa 8.0")
    return CUDA_ISA[max(older)]


def shared_limiter(limit: int) -> str:
    """Who gives no more than that, for messages."""
    return "TensorRT's launcher gives" if limit == SHARED_LIMIT else "the architecture has"


def shared_limit(arch: Arch, road: Road) -> int:
    """Bytes of shared memory that a block may have: all that an architecture has, where the driver is asked for it.

    ``portable`` has what every GPU from sm_80 on has.
    """
    if road == "aot":
        return SHARED_LIMIT
    if arch == PORTABLE:
        return 1024 * min(kib for capability, kib in _SHARED.items() if capability >= PORTABLE.capability)
    return 1024 * _SHARED[max((c for c in _SHARED if c <= arch.capability), default=min(_SHARED))]


def default_isa(arch: Arch, driver: int | None = None) -> PtxIsa:
    """The PTX ISA to write for ``arch`` when the user names none.

    Args:
        arch: What is compiled for.
        driver: The driver that will load it, as `driver_version` gives it: then the newest that it takes.
            None: BASE_ISA. Either way at least what ``arch`` needs, since a driver for that GPU takes it.
    """
    wanted = BASE_ISA if driver is None else cuda_isa(driver // 1000, driver % 1000 // 10)
    return max(wanted, arch.oldest_isa)
