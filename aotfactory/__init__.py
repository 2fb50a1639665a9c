# SPDX-License-Identifier: Apache-2.0
"""Ahead-of-time TensorRT engines with custom kernels.

The verbs of the command line are functions here, and their results are frozen dataclasses that hold what the JSON does:

    import aotfactory

    built = aotfactory.build("circ_pad", shape="1x3x32x32", arch="sm_90")
    print(built.path, [check.status for check in built.checks])

Plugin modules take all that they need from here too, TensorRT's own plugin module included:

    from aotfactory import AotKernel, Input, Recipe, Tolerance, aot_kernel, trtp

Names are loaded when they are first used, so that importing this package costs next to nothing.
"""

import os

TYPE_CHECKING = False  # typing would have to be imported for it

__version__ = "0.1.0"

# The kernels live in the repository's top-level kernels/ and are installed as aotfactory.kernels.
# In a checkout (a clone, or an editable install of one) that package is one directory further up.
_PACKAGE = os.path.dirname(os.path.abspath(__file__))
if not os.path.isdir(os.path.join(_PACKAGE, "kernels")):
    __path__.append(os.path.dirname(_PACKAGE))

if TYPE_CHECKING:
    from typing import Any

    import tensorrt as trt
    from tensorrt import plugin as trtp

    from aotfactory.api.library import library as library
    from aotfactory.api.verbs import bake as bake
    from aotfactory.api.verbs import build as build
    from aotfactory.api.verbs import compile as compile
    from aotfactory.api.verbs import run as run
    from aotfactory.api.verbs import tune as tune
    from aotfactory.api.verbs import validate as validate
    from aotfactory.core.errors import AotError as AotError
    from aotfactory.core.errors import CheckError as CheckError
    from aotfactory.core.errors import DamagedError as DamagedError
    from aotfactory.core.errors import DefinitionError as DefinitionError
    from aotfactory.core.errors import MissingError as MissingError
    from aotfactory.core.errors import UnsupportedError as UnsupportedError
    from aotfactory.core.errors import UsageError as UsageError
    from aotfactory.core.recipe import Input as Input
    from aotfactory.core.recipe import Recipe as Recipe
    from aotfactory.core.recipe import Tolerance as Tolerance
    from aotfactory.plugins.aot_cuda import aot_cuda as aot_cuda
    from aotfactory.plugins.aot_cuda import launch_cuda as launch_cuda
    from aotfactory.plugins.aot_kernel import AotKernel as AotKernel
    from aotfactory.plugins.aot_kernel import aot_kernel as aot_kernel
    from aotfactory.plugins.aot_kernel import aot_kernels as aot_kernels
    from aotfactory.plugins.aot_kernel import launch as launch
    from aotfactory.plugins.autotuned import tactics_of as tactics_of
    from aotfactory.plugins.device import road as road
    from aotfactory.plugins.for_library import quotient as quotient
    from aotfactory.plugins.for_library import workspace as workspace
    from aotfactory.plugins.import_alone import import_alone as import_alone
    from aotfactory.plugins.one_call import plugin as plugin
    from aotfactory.plugins.symbolic_ints import constant as constant
    from aotfactory.plugins.symbolic_ints import upper_bound as upper_bound

_HOMES = {
    **dict.fromkeys(("AotError", "CheckError", "DamagedError", "DefinitionError", "MissingError"), "core.errors"),
    **dict.fromkeys(("UnsupportedError", "UsageError"), "core.errors"),
    **dict.fromkeys(("Input", "Recipe", "Tolerance"), "core.recipe"),
    **dict.fromkeys(("AotKernel", "aot_kernel", "aot_kernels", "launch"), "plugins.aot_kernel"),
    **dict.fromkeys(("bake", "build", "compile", "run", "tune", "validate"), "api.verbs"),
    **dict.fromkeys(("constant", "upper_bound"), "plugins.symbolic_ints"),
    **dict.fromkeys(("aot_cuda", "launch_cuda"), "plugins.aot_cuda"),
    "library": "api.library",
    "plugin": "plugins.one_call",
    "quotient": "plugins.for_library",
    "road": "plugins.device",
    "import_alone": "plugins.import_alone",
    "tactics_of": "plugins.autotuned",
    "workspace": "plugins.for_library",
}
"""Public names, and the modules they come from."""

__all__ = [*sorted(_HOMES), "trt", "trtp"]


def __getattr__(name: str) -> "Any":
    if name in ("trt", "trtp"):
        from aotfactory.plugins import tensorrt_api

        value = getattr(tensorrt_api.load(), name)
    elif name in _HOMES:
        import importlib

        value = getattr(importlib.import_module(f"aotfactory.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'aotfactory' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
