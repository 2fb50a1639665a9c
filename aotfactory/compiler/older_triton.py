# SPDX-License-Identifier: Apache-2.0
"""Definitions that call Triton's compiler as Triton 3.0 to 3.2 had it, which NVIDIA's documentation still does.

There, `ASTSource` took its constants as ``constants=`` and its signature as one text, ``"*fp32,i32,*fp32"``. Both say
the same as today's ``constexprs=`` and ``{"x_ptr": "*fp32", ...}``, so they are read as these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from triton.compiler import ASTSource

from aotfactory.core.errors import AuthorError


@contextmanager
def older_calls() -> Iterator[None]:
    """Let `triton.compiler.ASTSource` take what it took in older versions of Triton, too."""
    today = ASTSource.__init__

    def either(
        self: Any, fn: Any, signature: Any, constexprs: Any = None, attrs: Any = None, *, constants: Any = None
    ) -> None:
        given = _named(fn, constants if constexprs is None else constexprs)
        today(self, fn, _signature(fn, signature, given or {}), given, attrs)

    ASTSource.__init__ = either
    try:
        yield
    finally:
        ASTSource.__init__ = today


def _named(fn: Any, constants: Mapping[Any, Any] | None) -> dict[Any, Any] | None:
    """Constants by the parameters' names, where they were given by position."""
    if constants is None:
        return None
    return {fn.arg_names[key] if isinstance(key, int) else key: value for key, value in constants.items()}


def _signature(fn: Any, signature: Any, constants: Mapping[Any, Any]) -> Any:
    """The types by the parameters' names.

    Raises:
        AuthorError: A text has more or fewer types than the kernel has parameters that are not constants.
    """
    if isinstance(signature, Mapping):
        return _named(fn, signature)
    if not isinstance(signature, str):
        return signature  # Triton says what is wrong with it
    types = [text.strip() for text in signature.split(",") if text.strip()]
    names = [name for name in fn.arg_names if name not in constants]
    if len(types) != len(names):
        raise AuthorError(
            f"the signature {signature!r} has {len(types)} types, but {fn.__name__} has {len(names)} parameters that "
            f"are not constants: {', '.join(names)}",
            hint=f"give them by name: signature={{'{names[0] if names else 'x_ptr'}': '*fp32', ...}}",
        )
    return dict(zip(names, types, strict=True))
