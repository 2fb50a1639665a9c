# SPDX-License-Identifier: Apache-2.0
"""A kernel as an `aot_impl` returns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aotfactory.core.arguments import Argument
from aotfactory.core.expressions import Expr

LAUNCH_FIELDS = ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "shared_mem")


@dataclass(frozen=True, kw_only=True)
class ReturnedKernel:
    """The result of an `aot_impl`: entry name, PTX text, seven launch parameters, extra arguments.

    Attributes:
        kinds: Of the extra arguments: ``i32``; for a plugin library also ``i64`` and ``fp32``.
        config: Number of the autotuner's config that `aot_kernel` compiled; None where there is none.
        cluster: Blocks of a cluster in x, y, z that the launch states; for a plugin library.
        workspaces: Bytes of each; for a plugin library.
        then: Kernels to launch after this one; for a plugin library.
    """

    name: str
    ptx: str
    launch: Mapping[str, Expr]
    extra_args: tuple[Argument, ...]
    kinds: tuple[str, ...]
    config: int | None = None
    cluster: tuple[int, int, int] | None = None
    workspaces: tuple[Expr, ...] = ()
    then: tuple[ReturnedKernel, ...] = ()

    @property
    def in_a_row(self) -> tuple[ReturnedKernel, ...]:
        """This kernel and those after it."""
        return (self, *self.then)

    @property
    def needs_library(self) -> bool:
        """Whether AOT plugins can't have it."""
        return bool(self.then or self.workspaces or self.cluster or set(self.kinds) - {"i32"})
