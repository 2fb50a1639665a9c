# SPDX-License-Identifier: Apache-2.0
"""Text from elsewhere, made fit for a terminal and for a message."""

from __future__ import annotations

import re
import unicodedata

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def printable(text: str) -> str:
    r"""The text with everything escaped (``\x1b``) that a terminal would act on, or that would hide or reorder text.

    Control characters of C0 and C1 but for line feeds and tabs, the bidirectional and other format characters, line
    separators, halves of surrogate pairs, and what Unicode has not assigned.
    """
    if text.isascii() and not _CONTROL.search(text):
        return text
    return "".join(_escaped(character) if _hidden(character) else character for character in text)


def shortened(text: str, most: int) -> str:
    """The text where it has at most so many characters, else its beginning and its end, and how much is left out."""
    if len(text) <= most:
        return text
    end = most // 5
    return f"{text[: most - end]} [... {len(text) - most} characters ...] {text[-end:]}"


def _hidden(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")


def _escaped(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
