# SPDX-License-Identifier: Apache-2.0
"""Interpreted kernels that pass for compiled ones, for libraries that look for that type in wrappers of their own."""

from __future__ import annotations

import inspect
import os
from typing import Any

import triton
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


def hide_mode() -> None:
    """Keep the mode in Triton alone: packages that find it in the environment leave autotuners out, for instance."""
    triton.knobs.runtime.interpret = True
    os.environ.pop("TRITON_INTERPRET", None)
