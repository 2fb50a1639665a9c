# SPDX-License-Identifier: Apache-2.0
"""Things that modules of definitions ask for and this machine lacks, and that a plugin's definitions can do without.

Public modules are often scripts: they import a framework, define a plugin, and go on to build an engine with it or to
run it. Where such a script needs more than there is, it is read as far as it goes, if a plugin is registered by then.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import re
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aotfactory.core.errors import AotError, AuthorError, MissingError
from aotfactory.plugins import device
from aotfactory.plugins.mistakes import is_library, top_level

OPTIONAL = ("torch", "cupy")
"""Packages that definitions import for their `impl`, which is never run here: they may be missing without a word."""

NO_GPU = re.compile(
    r"Torch not compiled with CUDA|NVIDIA driver on your system|No CUDA GPUs|CUDA driver version is insufficient|"
    r"cudaErrorInsufficientDriver|cudaErrorNoDevice|CUDA_ERROR_NO_DEVICE|a kernel is launched here"
)
"""How PyTorch, CUDA's bindings and our own driver for Triton say that there is no GPU."""


_gaps: list[str] = []


def gaps() -> list[str]:
    """All that was left out of the modules loaded so far: file and line, and why."""
    return list(_gaps)


def leave_out(where: str, why: str) -> None:
    """Remember that a line of an author's was not carried out, or only in part."""
    if (gap := f"{where}: {why}") not in _gaps:
        _gaps.append(gap)


def lacking(error: AotError) -> bool:
    """Whether a module failed for something that this machine lacks: a GPU, TensorRT's builder, an imported package."""
    return isinstance(error, MissingError | _NotInstalled) or NO_GPU.search(error.message) is not None


class _NotInstalled(AuthorError):
    """A package is used that was imported, and is not installed."""


class Placeholder(types.ModuleType):
    """Stands for a module that is not installed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        package = self.__name__.partition(".")[0]
        raise _NotInstalled(
            f"{self.__name__}.{name} is used, but {package} is not installed",
            hint=f"pip install {package}, or import it inside the impl function",
        )


class _Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return Placeholder(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__ == "torch":
            vars(module)["cuda"] = Placeholder("torch.cuda")
            vars(module.cuda).update(device.assumed().torch_cuda())
        elif module.__name__ == "torch.cuda":
            vars(module).update(device.assumed().torch_cuda())


class OptionalFinder(_Loader):
    """Finds a placeholder for every module of some packages."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = set(packages)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in self.packages:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)


class UnusedFinder(_Loader):
    """Finds a placeholder for a package that nothing else finds, for an author's ``import package`` that stands alone.

    One in a `try` is prepared for its absence, and ``from package import name`` says at once that the name is needed.
    """

    def __init__(self) -> None:
        self.packages: set[str] = set()

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        package = fullname.partition(".")[0]
        if package not in self.packages:
            if package != fullname or (line := _plain_import(package)) is None:
                return None
            leave_out(line, f"{package} is not installed; what needs it is left out")
            self.packages.add(package)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)


def _plain_import(package: str) -> str | None:
    """The line of an author's module that imports a package, and only that; None where it is imported otherwise."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    if frame.f_code.co_name != "<module>" or is_library(file):
        return None
    for statement in top_level(Path(file), ast.Import):
        if statement.lineno <= line <= (statement.end_lineno or line):
            return f"{file}:{line}"
    return None
