# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels as a bundle holds them: of a call, for one architecture, combination and tactic."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from aotfactory.core import arguments
from aotfactory.core.arguments import Argument
from aotfactory.core.expressions import Expr
from aotfactory.core.limits import LIMITS

Kernel = TypeVar("Kernel", bound="LaunchedKernel")


@dataclass(frozen=True, kw_only=True)
class LaunchedKernel:
    """An entry of a PTX text, and how it is launched.

    Attributes:
        kernel: Entry name in the PTX, unique in the bundle.
        text: The PTX.
        ptx_isa, ptx_target: What the PTX declares: ``8.0``, ``sm_90``.
        parameters: Of the entry: ``ptr``, ``i32``, ``i64`` or ``fp32``, in order.
        launch: ``grid_x`` ... ``block_z`` in programs and threads, ``shared_mem`` in bytes of dynamic shared memory.
        cluster: Blocks of a cluster in x, y, z, as the PTX states it; the grid counts blocks.
        cluster_at_launch: The same where the launch must state it, which AOT plugins can't; else None.
        registers, spills: Per thread, and in bytes, as ptxas reports; None before it ran.
    """

    kernel: str
    text: str
    ptx_isa: str
    ptx_target: str
    parameters: tuple[str, ...]
    launch: Mapping[str, Expr]
    extra_args: tuple[Argument, ...]
    cluster: tuple[int, int, int] = (1, 1, 1)
    cluster_at_launch: tuple[int, int, int] | None = None
    registers: int | None = None
    spills: int | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def clusters(self) -> tuple[int, int, int]:
        """Blocks of a cluster in x, y, z, whoever states it."""
        return self.cluster_at_launch or self.cluster


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Memory that the kernels of a variant share, uninitialised at first.

    Attributes:
        bytes: At the inputs' shapes.
        at_most: Bytes at any shape of the profile.
    """

    bytes: Expr
    at_most: int


@dataclass(frozen=True, kw_only=True)
class Variant(LaunchedKernel):
    """One compiled kernel of a bundle, or several in a row: a call, for one architecture, combination and tactic.

    Attributes:
        arch: ``sm_90``, or ``portable``.
        workspaces: Each is a pointer after the outputs' for every kernel.
        then: Kernels that are launched after this one, in this order, with the same tensors and workspaces.
    """

    id: str
    call: str
    plugin: str
    arch: str
    dtypes: tuple[str, ...]
    formats: tuple[str, ...]
    tactic: int
    workspaces: tuple[Workspace, ...] = ()
    then: tuple[LaunchedKernel, ...] = ()

    @property
    def ptx(self) -> str:
        """Name of the first kernel's PTX file in the bundle."""
        return self.file_of(self)

    def file_of(self, kernel: LaunchedKernel) -> str:
        """Name of the PTX file of one of its kernels."""
        return f"{self.id}.{kernel.sha256[:8]}.ptx"

    @property
    def kernels(self) -> tuple[LaunchedKernel, ...]:
        """All kernels, in the order of their launches."""
        return (self, *self.then)

    @property
    def texts(self) -> dict[str, str]:
        """The PTX of all kernels, by the names of their files."""
        return {self.file_of(kernel): kernel.text for kernel in self.kernels}

    @property
    def needs_library(self) -> bool:
        """Whether AOT plugins can't have it, whatever its shared memory."""
        scalars = {kind for kernel in self.kernels for kind in kernel.parameters} - {"ptr", "i32"}
        clusters = any(k.cluster_at_launch or math.prod(k.cluster) > LIMITS["portable_cluster"] for k in self.kernels)
        return bool(scalars or self.workspaces or self.then or clusters)

    def with_expressions(self, change: Callable[[Expr], Expr]) -> Variant:
        """The variant with all of its expressions changed."""

        def changed(kernel: Kernel) -> Kernel:
            return replace(
                kernel,
                launch={name: change(expr) for name, expr in kernel.launch.items()},
                extra_args=tuple(arguments.mapped(argument, change) for argument in kernel.extra_args),
            )

        return replace(
            changed(self),
            workspaces=tuple(replace(w, bytes=change(w.bytes)) for w in self.workspaces),
            then=tuple(map(changed, self.then)),
        )

    @property
    def expressions(self) -> tuple[Expr, ...]:
        """All expressions of its launches and workspaces."""
        launches = [expr for kernel in self.kernels for expr in kernel.launch.values()]
        extra = [e for kernel in self.kernels for argument in kernel.extra_args for e in arguments.parts(argument)]
        return (*launches, *extra, *(w.bytes for w in self.workspaces))
