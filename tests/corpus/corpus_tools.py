# SPDX-License-Identifier: Apache-2.0
"""For the wrappers in this directory: single modules of packages, whose own `__init__` imports too much."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import triton.language as tl


class _StandIn(types.ModuleType):
    """A module that has every name: what is not given is a decorator that leaves functions as they are."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **options: given[0] if given and callable(given[0]) else lambda function: function


def source(name: str, **stand_ins: Mapping[str, Any]) -> types.ModuleType:
    """One module of an installed package, without running the `__init__` of the packages it is in.

    They import the whole package, and with it libraries that a kernel does not need and CI does not install.

    Args:
        name: Dotted name of the module.
        stand_ins: Modules that it imports and that are not wanted: dotted name to what they hold.
    """
    root, *inner = name.split(".")[:-1]
    spec = importlib.util.find_spec(root)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {root!r}", name=root)
    modules: dict[str, types.ModuleType] = {}
    path = Path(next(iter(spec.submodule_search_locations)))
    for package in stand_ins:
        modules[package] = _StandIn(package)
        modules[package].__path__ = []
    for depth in range(len(inner) + 1):
        package = ".".join([root, *inner[:depth]])
        modules[package] = types.ModuleType(package)
        modules[package].__path__ = [str(path.joinpath(*inner[:depth]))]
    for package, holds in stand_ins.items():
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
        # What was really imported stays: torch cannot be imported twice, and Triton looks for the module of a kernel.
        sys.modules.update(new)


def gems(name: str) -> types.ModuleType:
    """A module of FlagGems, which asks for a GPU's name while it is imported, and for a database of tuned configs."""
    import torch

    models = {"PersistantModel": object, "SQLPersistantModel": lambda url: None}
    os.environ.setdefault("GEMS_VENDOR", "nvidia")
    with mock.patch.object(torch.cuda, "get_device_name", return_value="none"):
        return source(f"flag_gems.{name}", **{"flag_gems.utils.models": models})


def unsloth(name: str) -> types.ModuleType:
    """A file of unsloth's kernels, without what patches transformers."""
    import logging

    from triton.language.extra import libdevice

    needless = (
        "unsloth_zoo", "unsloth_zoo.utils", "unsloth_zoo.temporary_patches", "unsloth_zoo.temporary_patches.common",
        "unsloth_zoo.patching_utils", "unsloth_zoo.loss_utils", "transformers", "transformers.models",
        "transformers.models.llama",
    )  # fmt: skip
    holds: dict[str, Mapping[str, Any]] = {
        "unsloth.kernels.utils": {"triton_tanh": libdevice.tanh, "triton_cast": tl.cast, "MAX_FUSED_SIZE": 65536},
        "unsloth_zoo.log": {"logger": logging.getLogger("unsloth")},
        "transformers.models.llama.modeling_llama": {"LlamaRMSNorm": object},
    }
    return source(f"unsloth.kernels.{name}", **{n: {} for n in needless}, **holds)


def fla(name: str) -> types.ModuleType:
    """A module of flash-linear-attention's core, whose parts import each other: `ops` has to come first."""
    for each in ("ops", name):
        module = source(f"fla.{each}", einops={}, fla={"__version__": "0.6.0"})
    return module
