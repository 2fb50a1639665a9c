# SPDX-License-Identifier: Apache-2.0
"""Imports one module of a package without the package: for kernels that other people publish."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from aotfactory.core.errors import AuthorError


class _StandIn(types.ModuleType):
    """A module that has every name: what is not given is a decorator that leaves functions as they are."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **options: given[0] if given and callable(given[0]) else lambda function: function


def import_alone(name: str, stand_ins: Mapping[str, Mapping[str, Any]] | Iterable[str] = ()) -> types.ModuleType:
    """Import one module of an installed package, without running the `__init__` of the packages that it is in.

    Those import the whole package, and with it libraries and extensions that a kernel does not need. Modules that the
    one asked for imports are imported in the same way.

    Args:
        name: Dotted name: ``mamba_ssm.ops.triton.selective_state_update``.
        stand_ins: Modules that it imports and that are not needed, by dotted name: ``["einops"]``, or with the names
            that they are to hold: ``{"fla": {"__version__": "0.6.0"}}``.

    Raises:
        DefinitionError: No such package is installed.
        ImportError: The module needs one that is missing.
    """
    root, *inner = name.split(".")[:-1] or [name]
    specification = importlib.util.find_spec(root)
    if specification is None or not specification.submodule_search_locations:
        raise AuthorError(f"no package {root!r} is installed", hint=f"import_alone imports a module of one, {name!r}")
    holding = stand_ins if isinstance(stand_ins, Mapping) else {each: {} for each in stand_ins}
    modules: dict[str, types.ModuleType] = {package: _StandIn(package) for package in holding}
    for module in modules.values():
        module.__path__ = []
    path = Path(next(iter(specification.submodule_search_locations)))
    for depth in range(len(inner) + 1):
        package = ".".join([root, *inner[:depth]])
        modules[package] = types.ModuleType(package)
        modules[package].__path__ = [str(path.joinpath(*inner[:depth]))]
    for package, holds in holding.items():
        vars(modules[package]).update(holds)
    before = set(sys.modules)
    new: dict[str, types.ModuleType] = {}
    try:
        with mock.patch.dict(sys.modules, modules):
            try:
                return importlib.import_module(name)
            finally:
                new = {n: m for n, m in sys.modules.items() if n not in before and n not in modules}
    finally:
        # Really imported modules stay: torch cannot be imported twice, and Triton looks for the module of a kernel.
        sys.modules.update(new)
