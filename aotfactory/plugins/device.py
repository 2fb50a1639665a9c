# SPDX-License-Identifier: Apache-2.0
"""A GPU of the architecture that is compiled for, for code that asks for one: while modules are imported, and in
definitions.

Public kernels size their tables by what they ask of Triton's driver or of torch.cuda when they are imported. The
machine need not have a GPU, and if it has, it is not the one that is compiled for.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest import mock

from aotfactory.core.arch import PORTABLE, SHARED_LIMIT, Road
from aotfactory.core.errors import AuthorError
from aotfactory.plugins.usual_gpu import BINDINGS, Device

_assumed = PORTABLE.capability
_shared = SHARED_LIMIT
_road: Road = "aot"


class TargetDriver:
    """As much of Triton's driver as compiling asks for, and modules that ask for a GPU."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.device = Device(capability)
        self.target = GPUTarget("cuda", capability, 32)
        self.utils = SimpleNamespace(get_device_properties=self.device.for_triton)

    def get_current_target(self) -> Any:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> NoReturn:
        raise AuthorError(
            "a kernel is launched here (kernel[grid], or kernel.warmup), but a plugin is compiled before there is data",
            hint="return aot_kernel(kernel, x_ptr=x, ..., grid=grid): the same arguments, by the parameters' names",
        )

    def get_benchmarker(self) -> NoReturn:
        """The benchmark that an autotuner asks for when it is launched."""
        self.get_current_stream()

    def get_active_torch_device(self) -> Any:
        import torch

        return torch.device("cuda", 0)

    def get_device_interface(self) -> Any:
        import torch

        return torch.cuda


def assume(capability: int) -> None:
    """From now on modules are imported as on a GPU of this compute capability. They are imported once, for all."""
    global _assumed
    _assumed = capability


@contextmanager
def limiting(shared: int) -> Iterator[None]:
    """Compile for a launcher that gives blocks so many bytes of shared memory."""
    global _shared
    previous, _shared = _shared, shared
    try:
        yield
    finally:
        _shared = previous


def shared_limit() -> int:
    """Bytes of shared memory that the kernels' launcher gives a block."""
    return _shared


@contextmanager
def taking(road: Road) -> Iterator[None]:
    """Compile for this road."""
    global _road
    previous, _road = _road, road
    try:
        yield
    finally:
        _road = previous


def road() -> Road:
    """The road that kernels are compiled for now: AOT plugins of a plan (``aot``), or a plugin library (``library``).

    For an `autotune` that offers more tactics to the second.
    """
    return _road


def assumed() -> Device:
    """The GPU that modules are imported for."""
    return Device(_assumed)


@contextmanager
def answering(capability: int | None = None) -> Iterator[None]:
    """Answer questions for a GPU: through Triton's driver, torch.cuda and NVIDIA's runtime bindings, loaded before or
    meanwhile.

    Args:
        capability: Of the GPU; None: what `assume` was told.
    """
    from triton.runtime import driver

    target = TargetDriver(capability or _assumed)
    previous = driver._active
    driver.set_active(target)
    undo: list[Any] = []
    finders = [
        _AfterImport("torch", lambda torch: _patch(torch, target.device, undo)),
        *(_AfterImport(name, lambda module: _patch_bindings(module, target.device, undo)) for name in BINDINGS),
    ]
    sys.meta_path[:0] = finders
    try:
        for finder in finders:
            if finder.name in sys.modules:
                finder.then(sys.modules[finder.name])
        yield
    finally:
        driver._active = previous
        for finder in finders:
            sys.meta_path.remove(finder)
        for patch in undo:
            patch.stop()


def _patch_bindings(module: types.ModuleType, device: Device, undo: list[Any]) -> None:
    answers: dict[str, Any] = BINDINGS[module.__name__](device, module)
    patch = mock.patch.multiple(module, **answers)
    patch.start()
    undo.append(patch)


def _patch(torch: types.ModuleType, device: Device, undo: list[Any]) -> None:
    cuda = getattr(torch, "cuda", None)
    if isinstance(cuda, types.ModuleType) and hasattr(cuda, "is_available"):
        answers: dict[str, Any] = device.torch_cuda()
        patch = mock.patch.multiple(cuda, **answers)
        patch.start()
        undo.append(patch)


class _AfterImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Does something with a module as soon as it is imported."""

    def __init__(self, name: str, then: Callable[[types.ModuleType], None]) -> None:
        self.name, self.then = name, then

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if found is not None and found.loader is not None:
            self.loader, found.loader = found.loader, self
        return found

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        self.then(module)
