# SPDX-License-Identifier: Apache-2.0
"""Doubles that check themselves against NVIDIA's classes.

Each public method and property of a double must exist on the real class. A call's arguments must fit the signature
that the binding records in its docstring, by name, number and type, and so must what it returns.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aotfactory.plugins import tensorrt_api

trt = tensorrt_api.load().trt

USED: set[str] = set()
"""What was called since the process began: ``Builder.create_network``."""

_SIGNATURE = re.compile(r"^\s*(?:\d+\. )?(\w+)\((.*)\) -> (.+)$")
_PARAMETER = re.compile(r"(\w+): ([^=]+?)(?: = (.+))?$")
_MODULE = re.compile(r"(tensorrt_bindings\.tensorrt|tensorrt\.tensorrt|tensorrt_bindings|nvinfer1|nvonnxparser)(\.|::)")
_PLAIN = {"typing.SupportsInt": "int", "typing.SupportsFloat": "float", "buffer": "Buffer", "function": "Callable"}
_PLAIN |= {
    "typing_extensions.Buffer": "Buffer",
    "collections.abc.Buffer": "Buffer",
    "collections.abc.Callable": "Callable",
    "List": "list",
    "typing_extensions.CapsuleType": "capsule",
    "types.CapsuleType": "capsule",
}
_PLAIN |= {"collections.abc.Sequence": "Sequence", "IParserError": "ParserError", "handle": "object"}


class RefusedError(TypeError):
    """The real binding would not have taken this call."""


def documented(member: Any) -> list[str]:
    """The signatures in a binding's docstring without module names, in one spelling for all versions of pybind11."""
    if isinstance(member, property):
        text = (member.fget.__doc__ or "") if member.fget else ""
        found = re.search(r"-> (.+)", text)
        return [f"{plain(found[1])}{' (read-only)' if member.fset is None else ''}"] if found else []
    return [plain(line) for line in (member.__doc__ or "").splitlines() if _SIGNATURE.match(line)]


def plain(text: str) -> str:
    text = re.sub(r"^\s*\d+\. ", "", _MODULE.sub("", text).strip())
    for longer, shorter in _PLAIN.items():
        text = re.sub(rf"(?<![\w.]){re.escape(longer)}(?!\w)", shorter, text)
    return re.sub(r"self: \w+(, )?", "", text)


class Double:
    """Base of the doubles. A subclass names the class it stands for: ``class Builder(Double, real="Builder")``."""

    real: str

    def __init_subclass__(cls, real: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        if not real:
            return
        cls.real = real
        for name, member in list(vars(cls).items()):
            if not name.startswith("_") and name != "real":
                setattr(cls, name, _checked(real, name, member))
        # A class that only TensorRT itself makes objects of has no signature here.
        if "__init__" in vars(cls) and documented(vars(getattr(trt, real)).get("__init__")):
            cls.__init__ = _checked(real, "__init__", cls.__init__)  # type: ignore[method-assign]

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not isinstance(getattr(type(self), name, None), property):
            raise RefusedError(f"{self.real} has no attribute {name} that could be set")
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        known = "exists, but the double lacks it" if hasattr(getattr(trt, self.real), name) else "does not exist"
        raise RefusedError(f"{self.real}.{name} {known}")


def _checked(real: str, name: str, member: Any) -> Any:
    genuine = next((vars(c)[name] for c in getattr(trt, real).__mro__ if name in vars(c)), None)
    if genuine is None:
        raise TypeError(f"the double has {name}, which NVIDIA's {real} has not")
    if isinstance(member, property):
        return _checked_property(real, name, member, genuine)
    signatures = documented(genuine)
    if not signatures:
        raise TypeError(f"NVIDIA's {real}.{name} has no signature in its docstring")

    @functools.wraps(member)
    def call(self: Any, *args: Any, **keywords: Any) -> Any:
        USED.add(f"{real}.{name}")
        reasons = []
        for signature in signatures:
            try:
                returns = _bind(signature, args, keywords)
                break
            except RefusedError as error:
                reasons.append(str(error))
        else:
            raise RefusedError(f"{real}.{name}: {'; '.join(reasons)}")
        result = member(self, *args, **keywords)
        if not fits(result, returns) and result is not None:
            raise TypeError(f"the double's {real}.{name} returned {result!r}, not {returns}")
        return result

    return call


def _checked_property(real: str, name: str, member: property, genuine: Any) -> property:
    if not isinstance(genuine, property) or (member.fset and not genuine.fset):
        raise TypeError(f"{name} of NVIDIA's {real} is not a property that can be set")
    kind = (documented(genuine) or ["object"])[0].removesuffix(" (read-only)")

    def get(self: Any) -> Any:
        USED.add(f"{real}.{name}")
        assert member.fget
        return member.fget(self)

    def put(self: Any, value: Any) -> None:
        USED.add(f"{real}.{name}")
        if not fits(value, kind):
            raise RefusedError(f"{real}.{name} is {kind}, not {value!r}")
        assert member.fset
        member.fset(self, value)

    return property(get, put if member.fset else None)


def _bind(signature: str, args: Sequence[Any], keywords: dict[str, Any]) -> str:
    """Check arguments against a signature; returns what it returns."""
    found = _SIGNATURE.match(signature)
    assert found, signature
    kinds = {}
    parameters = []
    for text in _split(found[2]):
        name, kind, default = _PARAMETER.match(text).groups()  # type: ignore[union-attr]
        kinds[name] = kind
        empty = inspect.Parameter.empty if default is None else default
        parameters.append(inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=empty))
    try:
        bound = inspect.Signature(parameters).bind(*args, **keywords)
    except TypeError as error:
        raise RefusedError(f"{signature}: {error}") from None
    for name, value in bound.arguments.items():
        if not fits(value, kinds[name]):
            raise RefusedError(f"{signature}: {name} is {value!r}")
    return found[3]


def _split(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "[(<") - (letter in "])>" and text[i - 1] != "-")
        if letter == "," and depth == 0:
            yield text[start:i].strip()
            start = i + 1
    if text[start:].strip():
        yield text[start:].strip()


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "str": lambda v: isinstance(v, str),
    "bool": lambda v: isinstance(v, bool),
    "int": lambda v: hasattr(v, "__index__") or hasattr(v, "__int__"),
    "float": lambda v: isinstance(v, float | int),
    "Buffer": lambda v: isinstance(v, bytes | bytearray | memoryview),
    "Callable": callable,
    "tuple": lambda v: isinstance(v, tuple),
    "capsule": lambda v: type(v).__name__ == "PyCapsule",
    "object": lambda v: True,
    "None": lambda v: v is None,
    # The list of fields is converted to a struct of the same name.
    "PluginFieldCollection_": lambda v: isinstance(v, trt.PluginFieldCollection),
    # Any sequence of integers is converted.
    "Dims": lambda v: isinstance(v, trt.Dims | list | tuple) and all(hasattr(n, "__index__") for n in v),
}


def fits(value: Any, kind: str) -> bool:
    """Whether pybind11 would take a value for a type."""
    if kind in _CHECKS:
        return _CHECKS[kind](value)
    if inner := re.fullmatch(r"(?:list|Sequence)\[(.+)\]", kind):
        return isinstance(value, list | tuple) and all(fits(item, inner[1]) for item in value)
    if kind == getattr(value, "real", None):
        return True
    return hasattr(trt, kind) and isinstance(value, getattr(trt, kind))
