# SPDX-License-Identifier: Apache-2.0
"""Interpreted kernels that pass for compiled ones, for libraries that look for that type in wrappers of their own."""

from __future__ import annotations

import inspect
from typing import Any

from triton.runtime import interpreter
from triton.runtime.jit import JITFunction

from aotfactory.plugins.kernel_arguments import parameters_of


class _Interpreted(interpreter.InterpretedFunction):  # type: ignore[misc]
    __class__ = property(lambda self: JITFunction)

    @property
    def params(self) -> Any:
        return parameters_of(self)

    @property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.fn)


def pass_for_compiled() -> None:
    """Let `triton.jit` make such kernels, from now on."""
    interpreter.InterpretedFunction = _Interpreted
