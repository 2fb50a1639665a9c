# SPDX-License-Identifier: Apache-2.0
"""The first kernel that a process compiles takes a third longer: done once, before processes are forked."""

from __future__ import annotations

import functools
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import triton
import triton.language as tl

from aotfactory.compiler.cross_compile import compiling_for
from aotfactory.compiler.triton_cache import triton_in
from aotfactory.core.cache import Cache


@triton.jit  # type: ignore[untyped-decorator]  # Triton has no types
def _kernel(x_ptr, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    i = tl.arange(0, SIZE)
    x = tl.load(x_ptr + i)
    tl.store(x_ptr + i, x / tl.sum(tl.exp(x - tl.max(x, 0)), 0))


@functools.cache
def warm_up() -> None:
    """Compile a small kernel for nobody. Where that fails, the first real one will tell."""
    source = triton.compiler.ASTSource(_kernel, {"x_ptr": "*fp32", "SIZE": "constexpr"}, {(1,): 128})
    with (
        suppress(Exception),
        TemporaryDirectory(prefix="aotfactory-") as folder,
        triton_in(Cache(Path(folder))),
        compiling_for(80, 80, assemble=False),
    ):
        triton.compile(source)
