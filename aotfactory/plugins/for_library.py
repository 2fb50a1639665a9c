# SPDX-License-Identifier: Apache-2.0
"""Features that only a plugin library's kernels have, as an `aot_impl` asks for them.

TensorRT takes a name, PTX, seven launch parameters and int32 arguments from an `aot_impl`. What else a plugin library
needs travels with the name, which is text for everybody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aotfactory.core import dtypes
from aotfactory.core.errors import KernelArgumentError, LaunchError
from aotfactory.plugins import device, symbolic_ints, tensorrt_api

trt = tensorrt_api.load().trt
import tensorrt.plugin as trtp  # noqa: E402

INT32 = range(-(2**31), 2**31)
HINT = "compile with --road library, and in autotune offer the tactic where aotfactory.road() is 'library'"


class Workspace:
    """Memory for the kernels of one call, uninitialised at first; made by `workspace`.

    Attributes:
        dtype: Of its elements.
        bytes: Its size, an expression.
    """

    def __init__(self, size: Any, dtype: Any) -> None:
        self.dtype = dtype
        bytes_ = symbolic_ints.folded(size) * dtypes.of_trt(dtype).itemsize
        self.bytes = bytes_ if isinstance(bytes_, symbolic_ints.SymInt) else trtp.SymInt32(bytes_)


@dataclass(frozen=True)
class SymbolicQuotient:
    """An fp32 argument that depends on dimensions; made by `quotient`."""

    numerator: Any
    denominator: Any


def workspace(size: Any, dtype: Any) -> Workspace:
    """Memory for the kernels of this call: give it to `aot_kernel` or `launch` as a tensor, for a pointer parameter.

    It holds anything at first, is aligned to 256 bytes, and is only there while the call's kernels run. Called inside
    an `aot_impl`; takes a plugin library (``--road library``).

    Args:
        size: Its number of elements, an integer or an expression of dimensions.
        dtype: Of its elements, as ``trt.int32``.

    Raises:
        DefinitionError: The kernels are for AOT plugins, which have no workspace.
    """
    require_library("a workspace")
    return Workspace(size, dtype)


def workspaces_among(values: Iterable[Any]) -> tuple[Workspace, ...]:
    """Each that is there, once."""
    return tuple({id(value): value for value in values if isinstance(value, Workspace)}.values())


def quotient(numerator: Any, denominator: Any) -> Any:
    """The quotient of two expressions of dimensions as an fp32 argument of a kernel.

    Both are rounded to fp64, divided, and rounded to fp32. Constants are divided at once. Called inside an `aot_impl`;
    what depends on dimensions takes a plugin library (``--road library``).

    Raises:
        DefinitionError: It depends on dimensions, and the kernels are for AOT plugins, whose arguments are int32.
    """
    a, b = symbolic_ints.folded(numerator), symbolic_ints.folded(denominator)
    if isinstance(a, int) and isinstance(b, int):
        if b == 0:
            raise KernelArgumentError(f"the quotient {a} / 0", hint="give it another divisor")
        return float(a) / float(b)
    require_library("an fp32 argument that depends on dimensions")
    return SymbolicQuotient(*(v if isinstance(v, symbolic_ints.SymInt) else trtp.SymInt32(v) for v in (a, b)))


def require_library(what: str) -> None:
    """Raise LaunchError where kernels are compiled for AOT plugins."""
    if device.road() != "library":
        raise LaunchError(f"{what} takes a plugin library, and this is compiled for AOT plugins", hint=HINT)


def kind_of(value: Any) -> str:
    """How an extra argument is passed: an int32, for a plugin library int64 where the profile asks for it, or fp32."""
    if isinstance(value, SymbolicQuotient):
        return "fp32"
    known = getattr(value._expr, "bounds", None)
    if device.road() == "library" and known is not None and not (known().low in INT32 and known().high in INT32):
        return "i64"
    return "i32"


@dataclass(frozen=True)
class LibraryLaunch:
    """The parts of a returned kernel that TensorRT does not take from it.

    Attributes:
        extra_args: All of them, `SymInt32` and `SymbolicQuotient`; None: as returned.
        cluster: Blocks of a cluster in x, y, z that the launch states.
        then: What is launched afterwards, each as an `aot_impl` returns it.
    """

    extra_args: Sequence[Any] | None = None
    cluster: tuple[int, int, int] | None = None
    workspaces: Sequence[Workspace] = ()
    then: Sequence[Any] = ()


class LibraryName(str):
    """The entry name of a kernel that takes a plugin library, with the rest."""

    library: LibraryLaunch
    config: int | None = None

    @classmethod
    def of(cls, name: Any, library: LibraryLaunch) -> LibraryName:
        """The name, with the config that it may carry already."""
        made = cls(name)
        made.library = library
        made.config = getattr(name, "config", None)
        return made
