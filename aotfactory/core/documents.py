# SPDX-License-Identifier: Apache-2.0
"""JSON documents from elsewhere: parsed, and held against their schema before anything uses them.

A schema is a file in ``schemas/``, JSON Schema draft 4 (whose integers are not ``1.0``). ``x-limit`` names the entry
of limits.json that bounds a value: a text's UTF-8 bytes, a list's items, an object's members, an integer.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import re
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aotfactory.core.errors import DocumentError
from aotfactory.core.limits import LIMITS

_SCHEMAS = Path(__file__).with_name("schemas")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[^][{}"]+', re.DOTALL)
_BOUNDS = {"array": "maxItems", "object": "maxProperties", "integer": "maximum"}


def parse_json(content: bytes) -> Any:
    """The value of a JSON document in UTF-8.

    Raises:
        ValueError: It is not JSON, is nested too deeply (limit json_depth), or has a text that is not Unicode (half
            of a surrogate pair).
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        value = json.loads(content.decode(), parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()  # the only way to half a pair is \udxxx
    except UnicodeEncodeError as error:
        raise ValueError("a text in it has half of a surrogate pair") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _deeper(content, LIMITS["json_depth"]):
        raise ValueError(f"it is nested deeper than {LIMITS['json_depth']} (limit json_depth)")
    return value


def _deeper(content: bytes, limit: int) -> bool:
    """Whether JSON has more than so many lists and objects inside each other."""
    if content.count(b"[") + content.count(b"{") <= limit:  # as in most documents
        return False
    steps = map({91: 1, 123: 1, 93: -1, 125: -1}.__getitem__, _NO_BRACKETS.sub(b"", content))  # [ { ] }
    return max(itertools.accumulate(steps), default=0) > limit


def validate(data: Any, schema: str, *, where: str, hint: str) -> None:
    """Hold parsed JSON against a schema.

    Args:
        schema: Name of the file in ``schemas/``, without ``.schema.json``.
        where: The document; the place inside it is added, as ``manifest.json.tensors[0].name``.
        hint: What to do about it.

    Raises:
        DefinitionError: It does not fit: the first place, and what is wrong there.
    """
    import fastjsonschema

    try:
        _validator(schema)(data)
    except fastjsonschema.JsonSchemaValueException as error:
        place = (error.name or "data").removeprefix("data")
        raise DocumentError(_problem(error), where=f"{where}{place}", hint=hint) from None
    except RecursionError:
        raise DocumentError("it is nested too deeply", where=where, hint=hint) from None


@functools.cache
def _validator(name: str) -> Callable[[Any], Any]:
    import fastjsonschema

    formats = {f"utf8-{limit}": functools.partial(_is_text, limit) for limit in set(LIMITS.values())}
    # Schemas refer to each other by their ids, which are URLs; none is ever fetched.
    handlers = {"https": lambda url: _schema(url.rpartition("/")[2])}
    compiled: Callable[[Any], Any] = fastjsonschema.compile(
        _schema(f"{name}.schema.json"), handlers=handlers, formats=formats, use_default=False
    )
    return compiled


def _schema(file: str) -> Any:
    return _bounded(json.loads((_SCHEMAS / file).read_text(encoding="utf-8")))


def _bounded(schema: Any) -> Any:
    """The schema with every ``x-limit`` as the keyword that enforces it."""
    if isinstance(schema, list):
        return [_bounded(item) for item in schema]
    if not isinstance(schema, dict):
        return copy.copy(schema)
    made = {key: _bounded(value) for key, value in schema.items()}
    if isinstance(name := schema.get("x-limit"), str):
        kind = schema["type"]
        made |= {"format": f"utf8-{LIMITS[name]}"} if kind == "string" else {_BOUNDS[kind]: LIMITS[name]}
    return made


def _is_text(limit: int, text: str) -> bool:
    return 0 < len(text.encode(errors="surrogatepass")) <= limit and not _CONTROL.search(text)


def _problem(error: Any) -> str:
    rule, definition, value = error.rule, error.definition, error.value
    name = definition.get("x-limit", "")
    if rule == "format" and isinstance(value, str):
        if _CONTROL.search(value):
            return f"{reprlib.repr(value)} has a control character"
        size = len(value.encode(errors="surrogatepass"))
        return f"must have 1 to {LIMITS[name]} bytes, has {size} (limit {name})"
    if name and rule in _BOUNDS.values():
        size = value if rule == "maximum" else len(value)
        return f"is {size}, more than {LIMITS[name]} (limit {name})"
    if rule == "required":
        lacking = [key for key in definition["required"] if key not in value]
        return f"lacks {', '.join(map(repr, lacking))}"
    if rule in ("pattern", "enum", "type", "oneOf", "anyOf"):
        meant = definition.get("description") or f"{rule} {json.dumps(definition.get(rule))}"
        return f"{reprlib.repr(value)} is not what belongs here: {meant}"
    text = str(error.message).removeprefix(error.name or "").strip()
    return text if len(text) < 200 else f"{text[:200]}..."
