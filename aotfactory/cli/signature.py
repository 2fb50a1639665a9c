# SPDX-License-Identifier: Apache-2.0
"""A command's parameters, which Typer reads its options off, and a wrapper that has others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast, get_type_hints

Command = TypeVar("Command", bound=Callable[..., Any])


def parameters(command: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters, with their annotations as objects and not as texts."""
    hints = get_type_hints(command, include_extras=True)
    return [p.replace(annotation=hints[p.name]) for p in inspect.signature(command).parameters.values()]


def with_parameters(wrapper: Command, shown: Sequence[inspect.Parameter]) -> Command:
    """The wrapper of a command (`functools.wraps`), as one that has these parameters."""
    changed = cast(Any, wrapper)
    changed.__signature__ = inspect.Signature(shown)
    changed.__annotations__ = {p.name: p.annotation for p in shown}
    del changed.__wrapped__
    return wrapper
