# SPDX-License-Identifier: Apache-2.0
"""The base of all errors that aotfactory raises on purpose, and the five groups that the exit codes tell apart.

The groups are abstract, so that mypy refuses to raise one: what is raised is one of the kinds, which have codes.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from aotfactory.core.text import shortened

LONGEST = {"message": 4000, "where": 1000, "hint": 4000}
"""Characters: what a file or an argument holds may be quoted, and may be of any length."""


class AotError(Exception):
    """Base of all errors with a message for the user: what is wrong, where, and what to do about it.

    Texts longer than `LONGEST` are cut in their middle.

    Args:
        message: What is wrong.
        where: The place it was found in, as ``file:line`` or a path.
        hint: What to do about it.
    """

    exit_code: ClassVar[int] = 4
    """The exit code that the command line gives it."""

    example: ClassVar[str] = ""
    """A message of this kind."""

    remedy: ClassVar[str] = ""
    """Advice about errors of this kind, where the hint of the message has none."""

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.message = shortened(message, LONGEST["message"])
        self.where = where and shortened(where, LONGEST["where"])
        self.hint = hint and shortened(hint, LONGEST["hint"])
        super().__init__(str(self))

    @property
    @abstractmethod
    def code(self) -> str:
        """The stable code of this kind of error, ``AOT201``: its first digit is the exit code."""
        return f"AOT{self.exit_code}00"  # of an author's own class

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  hint: {self.hint}" if self.hint else text

    def to_json(self) -> dict[str, str | None]:
        """The error as ``--format json`` has it."""
        return {"code": self.code, "message": self.message, "where": self.where, "hint": self.hint}


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


class DamagedError(DefinitionError):
    """A file that aotfactory wrote is not as it was written. Until 0.1 it had the exit code of a wrong definition."""

    exit_code = 5
