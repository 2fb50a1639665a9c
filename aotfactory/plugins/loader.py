# SPDX-License-Identifier: Apache-2.0
"""Loads modules of plugin definitions, unchanged: files, dotted names, and functions in them that register."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import itertools
import os
import re
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aotfactory.core.errors import AotError, DefinitionError, PluginModuleError
from aotfactory.plugins import absent, device
from aotfactory.plugins.mistakes import explained, top_level

_called: set[tuple[str, str]] = set()
_given: dict[str, Path] = {}
"""Files of the modules that `load` was given, by what it was given."""
_directories: set[Path] = set()
"""Where files of definitions were loaded from."""


def load(spec: str) -> types.ModuleType:
    """Load ``file.py``, ``package.module``, or either with ``:function``, which is called after the import.

    A module is loaded once, however often and by whichever of its names it is asked for. A file's directory becomes
    importable, as if the file had been run; so does the current directory for a dotted name.

    Raises:
        UsageError: There is no such file, module or function.
        DefinitionError: A definition in it is wrong.
    """
    name, function = split(spec)
    module = _load_file(Path(name)) if name.endswith(".py") else _load_name(name)
    if (path := _file(module)) and not module.__name__.startswith("aotfactory."):
        _given[name] = path
    if function is not None:
        if not callable(getattr(module, function, None)):
            raise PluginModuleError(f"{name} has no function {function!r}", hint="write --plugins PATH:FUNC")
        if (module.__name__, function) not in _called:
            _callable_alone(name, function, getattr(module, function))
            with _importing(path), explained(path, what=f"{function}()"):
                getattr(module, function)()
            _called.add((module.__name__, function))
    return module


def registering() -> list[str]:
    """``PATH:FUNC`` of functions of the loaded modules that register plugins, need no argument and were not called."""
    found = []
    for name, path in _given.items():
        called = {function for module, function in _called if _file(sys.modules[module]) == path}
        for node in top_level(path, ast.FunctionDef):
            inside = (n.func for part in node.body for n in ast.walk(part) if isinstance(n, ast.Call))
            registers = any(isinstance(f, ast.Attribute) and f.attr in ("register", "aot_impl") for f in inside)
            if registers and node.name not in called and len(node.args.args) == len(node.args.defaults):
                found.append(f"{name}:{node.name}")
    return found


def _callable_alone(name: str, function: str, called: Callable[..., Any]) -> None:
    try:
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):  # it has no signature that Python could tell
        return
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if needed := [p.name for p in parameters if p.default is p.empty and p.kind not in kinds]:
        raise PluginModuleError(
            f"{name}: {function}() takes {', '.join(needed)}, and --plugins PATH:FUNC gives it nothing",
            hint=f"write a file of your own with a function that calls {function}(...), and give that one",
        )


def split(spec: str) -> tuple[str, str | None]:
    """The file or dotted name, and the function after the colon; a path may have colons of its own."""
    name, colon, function = spec.rpartition(":")
    return (name, function) if colon and not {"/", "."} & set(function) else (spec, None)


def _load_file(path: Path) -> types.ModuleType:
    if not os.path.isfile(path):
        raise PluginModuleError(
            f"no such file: {path}", hint="--plugins takes a file, a directory or a dotted module name"
        )
    path = path.resolve()
    if module := _loaded(path):
        return module
    directory, name = _package_root(path)
    if str(directory) not in sys.path:
        sys.path.append(str(directory))
    _directories.add(directory)
    with _siblings_first(directory):
        return _import(name, path) if _origin(name) == path else _import_beside(path)


def _import_beside(path: Path) -> types.ModuleType:
    """Import a file whose name another module has, which may be imported later: it must not stand in its place."""
    name = _free_name(path.stem)
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise PluginModuleError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    _execute(module, path)
    return module


def _execute(module: types.ModuleType, path: Path) -> None:
    """Execute a new module as far as this machine goes, if it registers a plugin; else it must be executed whole."""
    assert module.__spec__ is not None
    assert module.__spec__.loader is not None
    from aotfactory.plugins import registry  # it loads TensorRT

    before = set(registry.registered())
    try:
        with _importing(path), explained(path):
            module.__spec__.loader.exec_module(module)
    except BaseException as error:
        if isinstance(error, AotError) and absent.lacking(error) and set(registry.registered()) > before:
            absent.leave_out(error.where or str(path), f"{error.message}; the module is read up to here")
            return
        del sys.modules[module.__name__]
        raise


@contextmanager
def _siblings_first(directory: Path) -> Iterator[None]:
    """Have ``import utils`` find this directory's, though another directory of definitions had one before."""
    others = [f"{other}{os.sep}" for other in _directories - {directory}]
    away: dict[str, types.ModuleType] = {}
    for name in {path.name.removesuffix(".py") for path in directory.iterdir()} & set(sys.modules):
        file = getattr(sys.modules[name], "__file__", None) or ""
        if any(file.startswith(other) for other in others) and not file.startswith(f"{directory}{os.sep}"):
            away |= {n: m for n, m in sys.modules.items() if n == name or n.startswith(f"{name}.")}
    if not away:
        yield
        return
    for name in away:
        del sys.modules[name]
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.path.remove(str(directory))
        for name, module in away.items():
            if name in sys.modules:  # still to be found by its path
                sys.modules[_free_name(name)] = sys.modules[name]
            sys.modules[name] = module


def _free_name(name: str) -> str:
    return next(n for i in itertools.count() if (n := f"aotfactory_plugins_{name}_{i}") not in sys.modules)


def _load_name(name: str) -> types.ModuleType:
    hint = "--plugins takes a file, a directory or a dotted module name"
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        raise PluginModuleError(f"no such file or module: {name!r}", hint=hint)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    path = _origin(name)
    if path and (module := _loaded(path)):
        return module
    try:
        return _import(name, path)
    except DefinitionError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and f"{name}.".startswith(f"{cause.name}."):
            raise PluginModuleError(f"no module named {name!r}", hint=hint) from error
        raise


def _import(name: str, path: Path | None) -> types.ModuleType:
    package, _, child = name.rpartition(".")
    with _importing(path), explained(path):
        if package:
            importlib.import_module(package)
        specification = importlib.util.find_spec(name)
        if name in sys.modules or path is None or specification is None:  # imported by its package, or not there
            return importlib.import_module(name)
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    _execute(module, path)
    if package:
        setattr(sys.modules[package], child, module)
    return module


def _package_root(path: Path) -> tuple[Path, str]:
    """Where a file's package is imported from, and the file's dotted name in it; just its stem outside of packages."""
    kernels = importlib.import_module("aotfactory.kernels").__path__
    if any(path.parent == Path(directory).resolve() for directory in kernels):
        return path.parent.parent, f"aotfactory.kernels.{path.stem}"
    parts, directory = [path.stem], path.parent
    while (directory / "__init__.py").is_file() and directory.name.isidentifier():
        parts.insert(0, directory.name)
        directory = directory.parent
    return directory, ".".join(parts)


def _origin(name: str) -> Path | None:
    """The file that ``import name`` would load, if that can be told."""
    try:
        specification = importlib.util.find_spec(name)
    except Exception:  # it imports the packages that the module is in, which may fail in any way
        return None
    return Path(specification.origin).resolve() if specification and specification.has_location else None  # type: ignore[arg-type]


def _loaded(path: Path) -> types.ModuleType | None:
    """The module that this file was loaded as, under whatever name."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str) and os.path.basename(file) == path.name and Path(file).resolve() == path:
            return module
    return None


def _file(module: types.ModuleType) -> Path | None:
    return Path(module.__file__) if module.__file__ else None


@contextmanager
def _importing(path: Path | None) -> Iterator[None]:
    """Let optional modules be missing, unless the file itself is prepared for that: by importing them in a `try`.

    A module that asks for a GPU is answered for the one that is compiled for.
    """
    handled = _tried(path) if path else set()
    missing = [n for n in absent.OPTIONAL if n not in handled and n not in sys.modules and _origin(n) is None]
    optional, unused = absent.OptionalFinder(missing), absent.UnusedFinder()
    with device.answering():
        sys.meta_path.insert(0, optional)  # before what waits for torch
        sys.meta_path.append(unused)
        try:
            yield
        finally:
            sys.meta_path.remove(optional)
            sys.meta_path.remove(unused)
            for name in [n for n in sys.modules if n.partition(".")[0] in optional.packages | unused.packages]:
                del sys.modules[name]


def _tried(path: Path) -> set[str]:
    """Packages that a file imports inside a `try` at its top level."""
    found = set()
    for statement in top_level(path, ast.Try):
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
    return found
