# SPDX-License-Identifier: Apache-2.0
"""PTX as text: read a module, its kernels, and what they declare.

Grammar: NVIDIA's "PTX ISA", sections 5.4 (variables), 10.2 (.entry) and 11 (directives).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from aotfactory.core.arch import PtxIsa, PtxTarget
from aotfactory.core.errors import DefinitionError, PtxError

NAME = r"[A-Za-z_$%][\w$]*"
_INT = r"(?:0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,21}|[1-9][0-9]{0,19})U?"
_COMMENT = re.compile(r'"[^"\n]*"|//[^\n]*|/\*.*?\*/|/\*', re.DOTALL)
_LINE_INFO = re.compile(
    r"\.loc\s+\d+\s+\d+\s+\d+(?:\s*,\s*function_name\s+[\w$%]+(?:\s*\+\s*\d+)?\s*,\s*inlined_at\s+\d+\s+\d+\s+\d+)?"
    r'|\.file\s+\d+\s+"[^"\n]*"(?:\s*,\s*\d+\s*,\s*\d+)?|\.section\s+"?\.(?:nv_)?debug_\w*"?\s*\{[^{}]*\}'
)
# Blanks at a line's beginning are those of that line, or many empty ones would be gone through from each of them.
_TARGET_DEBUG = re.compile(r"^([^\S\n]*\.target\b[^\n]*?),\s*debug\b", re.MULTILINE)
VERSION = re.compile(r"^[^\S\n]*\.version\s+([0-9]{1,3}\.[0-9])\b", re.MULTILINE)
TARGET = re.compile(r"^[^\S\n]*\.target\s+(\w+)", re.MULTILINE)
_ADDRESS_SIZE = re.compile(r"^[^\S\n]*\.address_size\s+(\d+)", re.MULTILINE)
_ENTRY = re.compile(
    rf"\.entry\s+(?P<name>{NAME})\s*(?:\((?P<parameters>[^()]*)\)\s*)?"
    rf'(?P<directives>(?:\.pragma\s*"[^"\n]*"\s*;\s*|\.\w+(?:\s+{_INT}(?:\s*,\s*{_INT})*)?\s*)*)(?P<end>[{{;])'
)
_PARAMETER = re.compile(
    rf"\s*\.param\b\s*(?P<attributes>(?:\.\w+\b\s*(?:{_INT}\b\s*)?)+)(?P<name>{NAME})\s*(?P<array>\[[^\]]*\])?\s*"
)
_DIRECTIVE = re.compile(rf"\.(\w+)((?:\s+{_INT}(?:\s*,\s*{_INT})*)?)")
_SHARED = re.compile(
    rf"(?:\.(?P<extern>extern)\s+)?(?<![\w.:])\.shared\b(?P<attributes>(?:\s*\.\w+(?:\s+{_INT}\b)?)*)(?P<names>[^;]*);"
)
_WORD = re.compile(rf"(?<![\w$%]){NAME}(?![\w$])")
_KIND = {
    **dict.fromkeys(("u64", "b64"), "u64"),
    **dict.fromkeys(("u32", "s32", "b32"), "i32"),
    **dict.fromkeys(("u16", "s16", "b16"), "i16"),
    **dict.fromkeys(("u8", "s8", "b8"), "i8"),
    "s64": "i64",
}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One kernel parameter.

    Attributes:
        kind: ``ptr`` (64 bits declared ``.ptr``), ``u64`` (64 bits with no more said: NVRTC's pointers and 64-bit
            integers), ``i32``, ``i64``, ``i16``, ``i8``, ``f32``, ..., or ``bytes`` (structs, tensor maps).
        source: The declaration as written.
    """

    name: str
    kind: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One kernel of a module. The spans are offsets into `Module.text`; ``body`` excludes its braces.

    Attributes:
        directives: What stands between parameters and body, such as ``{"reqntid": (128,)}``.
        line: The line of ``.entry`` in the text that was parsed, from 1.
    """

    name: str
    parameters: tuple[Parameter, ...]
    directives: Mapping[str, tuple[int, ...]]
    line: int
    parameters_span: tuple[int, int]
    body_span: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Module:
    """A PTX module. ``text`` has neither comments nor line info, and the line numbers of what was parsed."""

    text: str
    version: PtxIsa
    target: str
    entries: tuple[Entry, ...]

    def entry(self, name: str) -> Entry:
        """The kernel of this name. Raises DefinitionError, which lists the kernels there are."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise PtxError(
            f"the PTX has no kernel {name!r}; it has {', '.join(entry.name for entry in self.entries)}",
            hint='aot_impl must return the name of the .entry; CUDA C++ mangles names unless they are extern "C"',
        )

    def body(self, entry: Entry) -> str:
        """The kernel's own instructions."""
        return self.text[slice(*entry.body_span)]

    def reach(self, entry: Entry) -> str:
        """All that may belong to the kernel: its body, the module's variables and functions, not other kernels."""
        text, position = "", 0
        for other in self.entries:
            if other is not entry:
                text += self.text[position : other.body_span[0]]
                position = other.body_span[1]
        return text + self.text[position:]


def parse_module(text: str) -> Module:
    """Reads a PTX module.

    Raises:
        DefinitionError: The text is not a 64-bit PTX module with at least one kernel; says what and at which line.
    """
    text = _strip(text.rstrip("\0"))
    version, target = _header(text, VERSION, ".version"), _header(text, TARGET, ".target")
    PtxTarget.parse(target)
    address_size = _ADDRESS_SIZE.search(text)
    if address_size and address_size[1] != "64":
        raise _malformed(text, address_size.end(), f"addresses of {address_size[1]} bits, only 64 are supported")
    entries = tuple(filter(None, (_entry(text, found.start()) for found in re.finditer(r"\.entry\b", text))))
    if not entries:
        raise PtxError("the PTX has no kernel", hint="mark it __global__, in hand-written PTX .visible .entry")
    return Module(text=text, version=PtxIsa.parse(version), target=target, entries=entries)


def _malformed(text: str, position: int, what: str) -> DefinitionError:
    return PtxError(f"malformed PTX: {what}", where=f"PTX line {text.count(chr(10), 0, position) + 1}")


def _strip(text: str) -> str:
    """Blanks comments and line info, keeping every line where it is."""

    def comment(found: re.Match[str]) -> str:
        if found[0] == "/*":
            raise _malformed(text, found.start(), "a comment that does not end")
        return found[0] if found[0].startswith('"') else " " + "\n" * found[0].count("\n")

    text = _LINE_INFO.sub(lambda found: "\n" * found[0].count("\n"), _COMMENT.sub(comment, text))
    return _TARGET_DEBUG.sub(r"\1", text)


def _header(text: str, pattern: re.Pattern[str], name: str) -> str:
    found = pattern.search(text)
    if not found:
        raise PtxError(f"malformed PTX: no {name} directive", hint="give the PTX text, not a cubin or a path")
    return found[1]


def _entry(text: str, start: int) -> Entry | None:
    """The kernel whose ``.entry`` is at ``start``; None for a declaration without a body."""
    found = _ENTRY.match(text, start)
    if not found:
        raise _malformed(text, start, "cannot read this .entry")
    if found["end"] == ";":
        return None
    parameters, position = [], found.start("parameters")
    for piece in (found["parameters"] or "").split(",") if (found["parameters"] or "").strip() else ():
        parsed = _PARAMETER.fullmatch(piece)
        if not parsed:
            at = position + len(piece) - len(piece.lstrip())
            raise _malformed(text, at, f"cannot read the parameter {piece.strip()!r} of {found['name']}")
        kind = _kind(parsed["attributes"], parsed["array"])
        parameters.append(Parameter(name=parsed["name"], kind=kind, source=piece.strip()))
        position += len(piece) + 1
    directives = {
        name: tuple(_int(number) for number in numbers.split(",") if number.strip())
        for name, numbers in _DIRECTIVE.findall(re.sub(r'"[^"\n]*"', "", found["directives"]))
    }
    return Entry(
        name=found["name"],
        parameters=tuple(parameters),
        directives=directives,
        line=text.count("\n", 0, start) + 1,
        parameters_span=found.span("parameters"),
        body_span=(found.end(), _closing_brace(text, found.end(), found["name"])),
    )


def _kind(attributes: str, array: str | None) -> str:
    names = re.findall(r"\.(\w+)", attributes)
    scalar = next((name for name in names if re.fullmatch(r"[busf]\d+(x2)?", name)), names[0])
    if array or any(re.fullmatch(r"v\d", name) for name in names):
        return "bytes"
    kind = _KIND.get(scalar, scalar)
    return "ptr" if kind == "u64" and "ptr" in names else kind


def _closing_brace(text: str, position: int, name: str) -> int:
    depth = 1
    for found in re.compile(r'"[^"\n]*"|[{}]').finditer(text, position):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth:
            return found.start()
    raise _malformed(text, position, f"the body of {name} does not end")


def _int(text: str) -> int:
    digits = text.strip().rstrip("U")
    return int(digits, 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10)


def uses(text: str, name: str) -> int:
    """How often a name stands in PTX text."""
    literal = re.escape(name)  # first: then the text is searched for it, and not looked at word by word
    return len(re.findall(rf"{literal}(?<![\w$%]{literal})(?![\w$])", text))


def shared_memory(reach: str) -> tuple[int, bool]:
    """Bytes of static shared memory, each variable aligned; and whether an extern one is used."""
    total, dynamic, words = 0, False, Counter[str]()
    for found in _SHARED.finditer(reach):
        attributes = found["attributes"]
        width = re.search(r"\.[busf](\d{1,3})(x2)?\b", attributes)
        vector = re.search(r"\.v(\d)\b", attributes)
        size = int(width[1]) // 8 * (2 if width[2] else 1) * int(vector[1] if vector else 1) if width else 0
        alignment = re.search(rf"\.align\s+({_INT})", attributes)
        for name, dimensions in re.findall(rf"({NAME})((?:\s*\[[^\]]*\])*)", found["names"]):
            if found["extern"]:
                words = words or Counter(_WORD.findall(reach))
                dynamic = dynamic or words[name] > 1
                continue
            step = max(_int(alignment[1]) if alignment else size, 1)
            extents = [_int(extent) for extent in re.findall(rf"\[\s*({_INT})\s*\]", dimensions)]
            total = -(-total // step) * step + size * math.prod(extents)
    return total, dynamic
