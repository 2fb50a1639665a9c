# SPDX-License-Identifier: Apache-2.0
"""Every error that aotfactory raises on purpose, with the exit code that the command line gives it."""

from __future__ import annotations


class AotError(Exception):
    """Base of all errors with a message for the user: what is wrong, where, and what to do about it.

    Args:
        message: What is wrong.
        where: The place it was found in, as ``file:line`` or a path.
        hint: What to do about it.
    """

    exit_code = 4

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.message = message
        self.where = where
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class CheckError(AotError):
    """A check of an artifact failed."""

    exit_code = 1


class UsageError(AotError):
    """The command's arguments do not fit together or do not exist."""

    exit_code = 2


class MissingError(AotError):
    """Something that this machine lacks: TensorRT's builder, a GPU, a compiler."""

    exit_code = 3


class DefinitionError(AotError):
    """A plugin definition, kernel or recipe is wrong."""

    exit_code = 4
