# SPDX-License-Identifier: Apache-2.0
"""For the wrappers in this directory: single modules of packages, whose own `__init__` imports too much."""

from __future__ import annotations

import os
import types
from collections.abc import Mapping
from typing import Any
from unittest import mock

import triton.language as tl

from aotfactory import import_alone


def source(name: str, **stand_ins: Mapping[str, Any]) -> types.ModuleType:
    """One module of an installed package, without running the `__init__` of the packages it is in."""
    return import_alone(name, stand_ins)


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
