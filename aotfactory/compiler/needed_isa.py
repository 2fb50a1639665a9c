# SPDX-License-Identifier: Apache-2.0
"""Kernels for which the PTX ISA is too old, by what ptxas says of them."""

from __future__ import annotations

import re

from triton.runtime.errors import PTXASError

from aotfactory.core.arch import PtxIsa
from aotfactory.core.errors import CompilerError, DefinitionError


def needed(error: BaseException) -> PtxIsa | None:
    """The least ISA that ptxas asks for, where that is why Triton's compilation failed."""
    versions = re.findall(r"requires PTX ISA \.version (\d+\.\d) or later", _log(error) or "")
    return max(map(PtxIsa.parse, versions), default=None)


def shortened(error: DefinitionError, isa: PtxIsa) -> DefinitionError:
    """A failure of ptxas by its first error instead of its whole log, with the remedy; any other as it is."""
    log = _log(error)
    if log is None:
        return error
    least = needed(error)
    # Triton's own line comes before those of ptxas, and says "PTXAS error: Internal Triton PTX codegen error" of all.
    lines = re.findall(r"(?:; *|^ptxas *)(?:error|fatal)\s*: *(.*\S)", log, re.MULTILINE)
    first = next(
        (line for line in lines if least and f"version {least}" in line), next(iter(lines), log.splitlines()[0])
    )
    hint = error.hint
    if least:
        hint = f"--ptx-isa {least}, if the driver takes it; this was for PTX ISA {isa}"
    elif re.search(r"(requires|on) \.target", first):
        hint = "the kernel has an instruction that this architecture lacks: --arch takes those that have it"
    return CompilerError(f"ptxas refuses the kernel: {first}", where=error.where, hint=hint)


def _log(error: BaseException) -> str | None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, PTXASError):
        cause = cause.__cause__
    return None if cause is None else str(cause)
