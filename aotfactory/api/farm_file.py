# SPDX-License-Identifier: Apache-2.0
"""``farm.toml``: many engines in a few lines, as products of targets, types, shapes, attributes and architectures."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aotfactory.core import toml
from aotfactory.core.arch import Arch, PtxIsa, default_arch, parse_archs
from aotfactory.core.errors import AotError, FarmFileError, UsageError
from aotfactory.core.files import ENGINE_NAME, read_file
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import id_parts
from aotfactory.targets.request import TargetOptions, parse_shape

AXES = ("target", "dtype", "shape", "attr", "arch", "tensorrt")
"""Keys that may be lists: an engine is made for every combination of their items."""

SETTINGS = {"plugins": list, "ptx-isa": str, "tactic": int, "all-dtypes": bool, "name": str}
"""Keys that hold for all engines of a table, and their types."""

LARGEST = 100_000
"""Engines of one file."""

TENSORRT = {
    "mode": str,
    "tactic": int,
    "version-compatible": bool,
    "exclude-lean-runtime": bool,
    "hardware-compatibility": str,
    "workspace": int,
    "optimization-level": int,
    "timing-cache": str,
    "profiling-verbosity": str,
}
"""Options of `aotfactory bake` that a ``tensorrt`` table may have."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One engine to make.

    Attributes:
        name: Of its files; unique in the farm.
        where: File and line of the table that it comes from.
        tensorrt: Options of `bake`, by their command-line names.
    """

    name: str
    target: str
    request: TargetOptions
    arch: Arch
    where: str
    plugins: tuple[str, ...] = ()
    isa: PtxIsa | None = None
    tactic: int | None = None
    all_dtypes: bool = False
    tensorrt: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """One item of each axis, and the settings."""

    base: str
    items: Mapping[str, Any]
    settings: Mapping[str, Any]
    line: int = field(compare=False, repr=False)


class FarmFile:
    """A parsed farm.toml.

    Args:
        path: Relative paths in it start at its directory.

    Attributes:
        out: Where the engines go.
        engines: In the file's order.

    Raises:
        UsageError: The file cannot be read, or a value in it is wrong: which, and its line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = read_file(path, limit=LIMITS["farm_bytes"]).decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise FarmFileError(f"cannot read {path}: {reason}", hint="write one: see docs/farm.md") from error
        text = text.replace("\r\n", "\n")
        data = toml.parse(text, path)
        self._lines = toml.lines(text)
        self._allow(data, {"out", "defaults", "engine"}, ())
        defaults = self._table(data.get("defaults", {}), "defaults", ("defaults",))
        self._allow(defaults, {*AXES, *SETTINGS} - {"name"}, ("defaults",))
        self.out = self._relative(self._typed(data.get("out", "engines"), str, ("out",)))
        tables = data.get("engine", [])
        if not isinstance(tables, list) or not tables:
            raise FarmFileError("no [[engine]] is in the file", where=str(path), hint="add one: see docs/farm.md")
        choices: list[_Choice] = []
        for index, table in enumerate(tables):
            choices += self._choices(self._table(table, "engine", ("engine", index)), defaults, ("engine", index))
            self._require_few(len(choices), ("engine", index))
        self.engines = tuple(self._named(choices))

    def _choices(self, table: dict[str, Any], defaults: dict[str, Any], at: tuple[Any, ...]) -> Iterator[_Choice]:
        """Every combination of a table's axes, without what it excludes, and with what it includes."""
        self._allow(table, {*AXES, *SETTINGS, "include", "exclude"}, at)
        if "target" not in table:
            raise self._wrong("an [[engine]] without a target", at, 'add target = "circ_pad"')
        merged = {**defaults, **{key: value for key, value in table.items() if key not in ("include", "exclude")}}
        axes = {axis: self._items(merged[axis], axis, (*at, axis)) for axis in AXES if axis in merged}
        settings = {key: self._typed(merged[key], SETTINGS[key], (*at, key)) for key in SETTINGS if key in merged}
        if "name" in settings and not ENGINE_NAME.fullmatch(settings["name"]):
            message = f"{settings['name']!r:.100} cannot be the name of an engine"
            raise self._wrong(message, (*at, "name"), "use letters, digits, _, - and .")
        excluded = [self._rule(rule, (*at, "exclude")) for rule in self._list(table.get("exclude", []))]
        included = [self._rule(rule, (*at, "include")) for rule in self._list(table.get("include", []))]
        for product in (axes, *included):  # looked at before they are gone through
            self._require_few(math.prod(map(len, product.values())), at)
        line, used = self._line(at), Counter[int]()
        for combination in itertools.product(*axes.values()):
            items = dict(zip(axes, combination, strict=True))
            matching = [i for i, rule in enumerate(excluded) if all(items.get(k) in v for k, v in rule.items())]
            used.update(matching)
            if not matching:
                yield _Choice(base=self._base(items, settings), items=items, settings=settings, line=line)
        if unused := [rule for i, rule in enumerate(excluded) if not used[i]]:
            text = ", ".join(f"{key} = {value[0]!r}" for key, value in unused[0].items())
            raise self._wrong(f"exclude matches no engine: {text}", (*at, "exclude"), "mend or remove it")
        for rule in included:
            first = {axis: items[0] for axis, items in axes.items()}
            for combination in itertools.product(*rule.values()):
                items = {**first, **dict(zip(rule, combination, strict=True))}
                yield _Choice(base=self._base(items, settings), items=items, settings=settings, line=line)

    def _require_few(self, count: int, at: tuple[Any, ...]) -> None:
        if count > LARGEST:
            raise self._wrong(f"more than {LARGEST} engines", at, "split the file")

    def _base(self, items: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
        if "name" in settings:
            return str(settings["name"])
        target = str(items["target"])
        return _safe(Path(target).stem if target.endswith(".onnx") else id_parts(target)[1] or target)

    def _named(self, choices: Sequence[_Choice]) -> Iterator[Engine]:
        """Engines, each named by its base and those axes on which engines of that base differ."""
        differing: dict[str, set[str]] = {}
        for base, group in itertools.groupby(sorted(choices, key=lambda c: c.base), key=lambda c: c.base):
            alike = list(group)
            values = {axis: {repr(choice.items.get(axis)) for choice in alike} for axis in AXES if axis != "target"}
            differing[base] = {axis for axis, found in values.items() if len(found) > 1}
        taken: dict[str, _Choice] = {}
        for choice in choices:
            parts = [_text(choice.items[a]) for a in AXES if a in differing[choice.base] and a in choice.items]
            name = ".".join([choice.base, *filter(None, parts)])
            if len(name) > 90 or (name in taken and taken[name] != choice):
                name = f"{name[:80]}.{hashlib.sha256(repr(choice).encode()).hexdigest()[:8]}"
            if name in taken:
                at = f"{self.path}:{choice.line}"
                raise FarmFileError(f"{name} is there twice", where=at, hint="remove one, or give the tables names")
            taken[name] = choice
            yield self._engine(name, choice)

    def _engine(self, name: str, choice: _Choice) -> Engine:
        items, settings, where = choice.items, choice.settings, f"{self.path}:{choice.line}"
        target = items["target"]
        try:
            archs = parse_archs(items["arch"]) if "arch" in items else (default_arch(),)
            isa = PtxIsa.parse(settings["ptx-isa"]) if "ptx-isa" in settings else None
            request = _request(items)
        except AotError as error:
            raise FarmFileError(error.message, where=where, hint=error.hint) from error
        return Engine(
            name=name,
            target=str(self._relative(target)) if target.endswith(".onnx") else target,
            request=request,
            arch=archs[0],
            where=where,
            plugins=tuple(self._plugin(spec) for spec in settings.get("plugins", ())),
            isa=isa,
            tactic=settings.get("tactic"),
            all_dtypes=settings.get("all-dtypes", False),
            tensorrt=items.get("tensorrt", {}),
        )

    def _items(self, value: Any, axis: str, at: tuple[Any, ...]) -> list[Any]:
        items = value if isinstance(value, list) else [value]
        if not items:
            raise self._wrong(f"{axis} is an empty list", at, "remove it, or give it a value")
        for item in items:
            self._check(item, axis, at)
        if axis == "arch":  # "sm_80,sm_90" is two
            items = [name for item in items for name in item.split(",")]
        return items

    def _check(self, item: Any, axis: str, at: tuple[Any, ...]) -> None:
        """The type of one item of an axis."""
        if axis in ("target", "arch"):
            self._typed(item, str, at)
        elif axis in ("dtype", "shape"):
            if not isinstance(item, str | dict):
                raise self._wrong(f"{axis} is {item!r}", at, 'write text, or a table by input: { x = "..." }')
        elif not isinstance(item, dict):
            raise self._wrong(f"{axis} is {item!r}", at, f"write a table: {axis} = {{ name = value }}")
        if axis == "tensorrt":
            for key, value in item.items():
                if key not in TENSORRT:
                    raise self._wrong(f"unknown option of TensorRT: {key}", at, f"known are {', '.join(TENSORRT)}")
                self._typed(value, TENSORRT[key], at)

    def _rule(self, rule: Any, at: tuple[Any, ...]) -> dict[str, list[Any]]:
        """An item of include or exclude: the values of some axes."""
        table = self._table(rule, at[-1], at)
        for key in table:
            if key not in AXES:
                raise self._wrong(f"unknown key in {at[-1]}: {key}", at, f"known are {', '.join(AXES)}")
        return {key: self._items(value, key, at) for key, value in table.items()}

    def _list(self, value: Any) -> list[Any]:
        return value if isinstance(value, list) else [value]

    def _table(self, value: Any, what: str, at: tuple[Any, ...]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(f"{what} is not a table", at, "see docs/farm.md")
        return value

    def _typed(self, value: Any, kind: type, at: tuple[Any, ...]) -> Any:
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if kind is list:
            fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if fits and any("\0" in str(item) for item in self._list(value)):
            raise self._wrong(f"{at[-1]} has a zero byte", at, "remove it")
        if not fits:
            expected = {str: "text", int: "a whole number", bool: "true or false", list: "a list of texts"}[kind]
            raise self._wrong(f"{at[-1]} is {value!r}", at, f"it must be {expected}")
        return value

    def _allow(self, table: Mapping[str, Any], known: set[str], at: tuple[Any, ...]) -> None:
        for key in table:
            if key not in known:
                raise self._wrong(f"unknown key: {key}", (*at, key), f"known are {', '.join(sorted(known))}")

    def _relative(self, path: str) -> Path:
        return self.path.parent / path

    def _plugin(self, spec: str) -> str:
        """A file or directory starts at the file's directory; a dotted name is left alone."""
        there = self._relative(spec.rpartition(":")[0] or spec)
        return str(self._relative(spec)) if "/" in spec or ".py" in spec or os.path.exists(there) else spec

    def _line(self, at: tuple[Any, ...]) -> int:
        """The line of a key, or of the closest table around it."""
        while at and at not in self._lines:
            at = at[:-1]
        return self._lines.get(at, 1)

    def _wrong(self, message: str, at: tuple[Any, ...], hint: str) -> UsageError:
        return FarmFileError(message, where=f"{self.path}:{self._line(at)}", hint=hint)


def _request(items: Mapping[str, Any]) -> TargetOptions:
    request = TargetOptions(attributes=dict(items.get("attr", {})))
    if "dtype" in items:
        dtype = items["dtype"]
        request = replace(request, dtype=dict(dtype) if isinstance(dtype, dict) else {None: dtype})
    shape = items.get("shape")
    if isinstance(shape, dict) and set(shape) <= {"min", "opt", "max"}:
        low, opt, high = (_shapes(shape[point]) if point in shape else {} for point in ("min", "opt", "max"))
        return replace(request, min_shape=low, opt_shape=opt, max_shape=high)
    return replace(request, shape=_shapes(shape)) if shape is not None else request


def _shapes(given: Any) -> dict[str | None, tuple[int, ...]]:
    by_name = given if isinstance(given, dict) else {None: given}
    for shape in by_name.values():
        if not isinstance(shape, str):
            raise FarmFileError(f"shape is {shape!r}", hint='write "1x3x32x32"')
    return {name: parse_shape(shape) for name, shape in by_name.items()}


def _text(item: Any) -> str:
    """An axis' item as a part of a name."""
    if isinstance(item, dict):
        if {"min", "max"} <= set(item):
            return f"{_text(item['min'])}-{_text(item['max'])}"
        return "-".join(f"{_safe(str(name))}-{_text(value)}" for name, value in item.items())
    return _safe("_".join(map(str, item)) if isinstance(item, list) else str(item))


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_") or "engine"
