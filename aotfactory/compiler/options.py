# SPDX-License-Identifier: Apache-2.0
"""Options of a compilation."""

from __future__ import annotations

from dataclasses import dataclass

from aotfactory.core.arch import Arch, PtxIsa, Road


@dataclass(frozen=True, kw_only=True)
class Options:
    """Architectures, PTX ISA and tactics to compile for.

    Attributes:
        isa: Newest PTX ISA to write; None: what the driver here takes, else a conservative one (see `arch`).
        all_dtypes: Also the combinations that the network's own data types do not use.
        tactic: Only this one.
        road: What the kernels are for; a plugin library launches some that TensorRT does not.
    """

    archs: tuple[Arch, ...]
    isa: PtxIsa | None = None
    all_dtypes: bool = False
    tactic: int | None = None
    road: Road = "aot"
