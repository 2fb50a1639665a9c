# SPDX-License-Identifier: Apache-2.0
"""Facts about a kernel that Triton knows and its PTX does not show."""

from __future__ import annotations

from aotfactory.compiler.calling_convention import TENSOR_ALIGNMENT
from aotfactory.compiler.cross_compile import Compilation
from aotfactory.core import dtypes
from aotfactory.core.errors import CallingConventionError, CompilerError
from aotfactory.core.network import Call, Combination
from aotfactory.core.proofs import Interval


def check_triton(
    compilation: Compilation, call: Call, combination: Combination, shared: Interval, workspaces: int
) -> None:
    """Hold Triton's own facts against the call: element types, shared memory, and launches that TensorRT cannot make.

    Raises:
        DefinitionError: The kernel was compiled for something else, or cannot be launched.
    """
    kinds = [kind for kind in compilation.signature.values() if kind != "constexpr"]
    count = len(call.inputs)
    end = len(kinds) - workspaces
    pointers = [*kinds[:count], *kinds[end - len(call.outputs) : end]]
    for name, dtype, kind in zip((*call.inputs, *call.outputs), combination.dtypes, pointers, strict=False):
        element = dtypes.find(dtype).triton
        if kind.startswith("*") and kind.removeprefix("*") not in (element, "u1" if element == "i1" else element):
            raise CompilerError(
                f"the kernel takes {name} as {kind}, but the tensor is {dtype}",
                hint=f"declare it *{element} in the signature for this combination",
            )
    metadata = compilation.metadata
    if shared.low < metadata.get("shared", 0):
        raise CompilerError(
            f"the kernel needs {metadata['shared']} bytes of dynamic shared memory, the launch gives it {shared.low}",
            hint="set launch.shared_mem to Triton's metadata.shared",
        )
    for key, what in (("launch_cooperative_grid", "a cooperative launch"), ("launch_pdl", "a dependent launch")):
        if metadata.get(key):
            raise CallingConventionError(
                f"the kernel wants {what}, which TensorRT cannot make", hint=f"compile it without {key}"
            )
    for index, divisor in _parameters(compilation):
        if kinds[index].startswith("*") and TENSOR_ALIGNMENT % divisor:
            raise CallingConventionError(
                f"parameter {index} was promised to be aligned to {divisor} bytes; TensorRT aligns to "
                f"{TENSOR_ALIGNMENT}",
                hint="promise 16",
            )


def divisible(compilation: Compilation | None, call: Call) -> dict[int, int]:
    """Promised divisor of each extra argument, by its index."""
    promised = _parameters(compilation) if compilation else []
    kinds = [k for k in compilation.signature.values() if k != "constexpr"] if compilation else []
    return {index - len(call.inputs): divisor for index, divisor in promised if not kinds[index].startswith("*")}


def _parameters(compilation: Compilation) -> list[tuple[int, int]]:
    names = [name for name, kind in compilation.signature.items() if kind != "constexpr"]
    return [(names.index(n), d) for n, d in compilation.divisible.items() if n in names]
