# SPDX-License-Identifier: Apache-2.0
"""Plugin definitions: modules of plain QDPs are loaded, their plugins found, and their mistakes explained."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aotfactory import tensorrt_api
from aotfactory.errors import AotError, DefinitionError, UsageError

tensorrt_api.load()
from tensorrt.plugin import _lib  # noqa: E402

OPTIONAL_MODULES = ("torch", "cupy")
"""Modules that definitions import for their `impl`, which is never run here: they may be missing."""

HINTS = {
    r"already has a defintion": "the id is taken: give each plugin its own id, and load each module once",
    r"No return annotation found for aot_impl|Return annotation is .*Expected tuple": "annotate the aot_impl: "
    "-> Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs]",
    r"No return annotation found for register": "annotate it: -> trtp.TensorDesc, or -> Tuple[trtp.TensorDesc, ...]",
    r"aot_impl function .* does not match": "write def NAME(<inputs>, <all attributes>, "
    "outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel",
    r"has a default value": "drop the default value: TensorRT has none for attributes; a recipe gives them",
    r"is not a supported serializable type": "an attribute is an int, float, str, bool or bytes, or a 1-D array, "
    "npt.NDArray[np.int32]; input tensors are annotated trtp.TensorDesc",
    r"TensorDescs args should come first": "a plugin has at least one input: begin with inp0: trtp.TensorDesc",
    r"is not registered": "put @trtp.register for this id above",
    r"Extra args must be a 'tensorrt.plugin.SymInt32'": "wrap each one: trtp.SymInt32(expression)",
    r"unsupported operand type\(s\) for %": "dimensions have + - * // == <, trtp.cdiv, trtp.max and trtp.min; "
    "write a % b as a - a // b * b",
    r"unsupported operand type\(s\).*(ShapeExpr|SymInt)": "write the expression first, expr * 2, not 2 * expr; "
    "there are + - * // == <, trtp.cdiv, trtp.max and trtp.min",
    r"not permitted to perform binary operations on size tensor": "compute with the size tensor's upper bound",
    r"'(>|>=|<=)' not supported": "dimensions can only be compared by < and ==",
}
"""What to write instead, by what TensorRT or Python says of a definition."""


@dataclass(frozen=True)
class Plugin:
    """A registered plugin.

    Attributes:
        id: ``namespace::name``.
        definition: NVIDIA's `PluginDef`: the functions, and the names and types of inputs and attributes.
    """

    id: str
    definition: Any

    @property
    def inputs(self) -> list[str]:
        """Names of the input tensors."""
        return list(self.definition.input_tensor_names)

    @property
    def attributes(self) -> dict[str, Any]:
        """Name and annotated type of each attribute."""
        return dict(self.definition.input_attrs)

    def function(self, kind: str) -> Callable[..., Any] | None:
        """The function of a kind: ``register``, ``autotune``, ``aot_impl`` or ``impl``; None where there is none."""
        function: Callable[..., Any] | None = getattr(self.definition, f"{kind}_func")
        return function

    def where(self, kind: str) -> str:
        """File and line of one of the plugin's functions."""
        function = self.function(kind) or self.function("register")
        code = inspect.unwrap(function).__code__  # type: ignore[arg-type]
        return f"{code.co_filename}:{code.co_firstlineno}"


def registered() -> list[str]:
    """Ids of the plugins that are registered."""
    return sorted(_lib.QDP_REGISTRY)


def find(plugin_id: str) -> Plugin:
    """The registered plugin of this id, fit for ahead-of-time compilation.

    Raises:
        UsageError: No module that was loaded registers it.
        DefinitionError: It has no `aot_impl`, or one that TensorRT could not call.
    """
    known = ", ".join(registered()) or "none"
    if plugin_id not in _lib.QDP_REGISTRY:
        raise UsageError(
            f"no plugin {plugin_id!r} is registered", hint=f"registered are {known}; --plugins PATH loads a module"
        )
    plugin = Plugin(plugin_id, _lib.QDP_REGISTRY[plugin_id])
    if plugin.function("aot_impl") is None:
        raise DefinitionError(
            f"plugin {plugin_id} has no aot_impl",
            where=plugin.where("register"),
            hint=f'add @trtp.aot_impl("{plugin_id}"); if a function of the module registers it: --plugins PATH:FUNC',
        )
    if list(plugin.definition.aot_impl_attr_names) != list(plugin.attributes):
        raise DefinitionError(
            f"aot_impl of {plugin_id} takes the attributes ({', '.join(plugin.definition.aot_impl_attr_names)}), "
            f"but TensorRT calls it with all of register's: ({', '.join(plugin.attributes)})",
            where=plugin.where("aot_impl"),
            hint="give the aot_impl every attribute, in register's order",
        )
    return plugin


def attribute_values(plugin: Plugin, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every attribute of the plugin in its annotated type, from Python values or command-line text (``1,1,1,1``).

    Raises:
        UsageError: An attribute is unknown, missing, or of the wrong type.
    """
    unknown = [name for name in given if name not in plugin.attributes]
    missing = [name for name in plugin.attributes if name not in given]
    if unknown or missing:
        problem = f"has no attribute {', '.join(unknown)}" if unknown else f"needs the attribute {', '.join(missing)}"
        expected = ", ".join(f"{n}: {type_name(t)}" for n, t in plugin.attributes.items()) or "none"
        raise UsageError(f"{plugin.id} {problem}", hint=f"its attributes are {expected}; set one by --attr NAME=VALUE")
    return {name: _convert(plugin, name, kind, given[name]) for name, kind in plugin.attributes.items()}


def type_name(kind: Any) -> str:
    """``int32[]`` for an array attribute, ``int`` for a plain one."""
    element = _element_type(kind)
    return kind.__name__ if element is None else f"{element.name}[]"


def _element_type(kind: Any) -> np.dtype[Any] | None:
    """The element type of an array attribute (annotated `npt.NDArray[np.int32]`); None for a plain one."""
    if typing.get_origin(kind) is not np.ndarray:
        return None
    element: np.dtype[Any] = np.dtype(typing.get_args(typing.get_args(kind)[1])[0])
    return element


def _convert(plugin: Plugin, name: str, kind: Any, value: Any) -> Any:
    try:
        dtype = _element_type(kind)
        if dtype is not None:
            items = [v for v in value.split(",") if v.strip()] if isinstance(value, str) else value
            plain = np.array([float(v) for v in items] if dtype.kind == "f" else [int(v) for v in items])
            array = plain.astype(dtype) if plain.size else np.zeros(0, dtype)
            if dtype.kind != "f" and not np.array_equal(array, plain):
                raise ValueError(f"{value} does not fit {dtype}")
            return array
        if kind is bool:
            return {"1": True, "0": False, "true": True, "false": False}[str(value).lower()]
        if kind is bytes:
            return value.encode() if isinstance(value, str) else bytes(value)
        if kind is str and not isinstance(value, str):
            raise ValueError(value)
        if kind is int and isinstance(value, float | bool):
            raise ValueError(value)
        return kind(value)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise UsageError(
            f"attribute {name} of {plugin.id} is {type_name(kind)}, not {value!r}",
            where=plugin.where("register"),
            hint=f"for example --attr {name}={'1,1,1,1' if type_name(kind).endswith('[]') else '1'}",
        ) from error


def load(spec: str) -> types.ModuleType:
    """Load a module of plugin definitions, unchanged: ``file.py``, ``package.module``, or either with ``:function``.

    The function is called after the import, for modules that register inside one. A file is loaded once, however
    often it is asked for; its directory becomes importable, as if the file had been run.

    Raises:
        UsageError: There is no such file, module or function.
        DefinitionError: A definition in it is wrong.
    """
    path, _, function = spec.partition(":")
    module = _load_file(Path(path)) if path.endswith(".py") else _import(path)
    if function:
        if not callable(getattr(module, function, None)):
            raise UsageError(f"{path} has no function {function!r}", hint="write --plugins PATH:FUNC")
        if (path, function) not in _called:
            with _explained(Path(module.__file__ or path)):
                getattr(module, function)()
            _called.add((path, function))
    return module


_called: set[tuple[str, str]] = set()


def _load_file(path: Path) -> types.ModuleType:
    if not path.is_file():
        raise UsageError(f"no such file: {path}", hint="--plugins takes a Python file or a dotted module name")
    path = path.resolve()
    name = f"{path.stem}" if path.stem not in sys.modules else f"aotfactory_plugins_{abs(hash(str(path))):x}"
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        with _explained(path):
            specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import(name: str) -> types.ModuleType:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        raise UsageError(f"no module named {name!r}", hint="--plugins takes a file.py or a dotted name") from error
    if found is None:
        raise UsageError(f"no module named {name!r}", hint="--plugins takes a Python file or a dotted module name")
    with _explained(Path(found.origin or name)):
        return importlib.import_module(name)


class _Placeholder(types.ModuleType):
    """Stands for a module that is not installed and that only an `impl` would use."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise DefinitionError(
            f"{self.__name__}.{name} is used, but {self.__name__} is not installed",
            hint=f"pip install {self.__name__}, or import it inside the impl function",
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Import a module: optional modules may be missing, and what goes wrong gets file, line and remedy."""
    placeholders = [n for n in OPTIONAL_MODULES if n not in sys.modules and importlib.util.find_spec(n) is None]
    sys.modules.update({name: _Placeholder(name) for name in placeholders})
    try:
        yield
    except AotError as error:
        raise type(error)(error.message, where=error.where or _line(error, path), hint=error.hint) from error
    except Exception as error:
        raise DefinitionError(_text(error), where=_line(error, path), hint=_hint(error, path)) from error
    finally:
        for name in placeholders:
            sys.modules.pop(name, None)


@contextmanager
def blame(plugin: Plugin, kind: str) -> Iterator[None]:
    """Turn what a definition's function raises into an error that names the function, its file and its line."""
    try:
        yield
    except AotError as error:
        where = error.where or plugin.where(kind)
        raise type(error)(error.message, where=where, hint=error.hint) from error
    except Exception as error:
        function = plugin.function(kind)
        path = Path(inspect.unwrap(function).__code__.co_filename if function else "")
        raise DefinitionError(
            f"{kind} of {plugin.id}: {_text(error)}",
            where=_line(error, path) if function else plugin.where(kind),
            hint=_hint(error, path),
        ) from error


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) and str(error) else f"{type(error).__name__}: {error}"


def _line(error: BaseException, path: Path) -> str:
    """The innermost line of the user's file that the error came through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno}"
    return f"{path}:{frames[-1].lineno}" if frames else str(path)


def _hint(error: Exception, path: Path) -> str | None:
    if _future_annotations(path):
        return "remove `from __future__ import annotations`: TensorRT reads the annotations as types, not as text"
    return next((hint for pattern, hint in HINTS.items() if re.search(pattern, str(error))), None)


def _future_annotations(path: Path) -> bool:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    imports = (node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__")
    return any(alias.name == "annotations" for node in imports for alias in node.names)
