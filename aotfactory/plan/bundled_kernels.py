# SPDX-License-Identifier: Apache-2.0
"""TensorRT gets the bundle's kernels, byte for byte: while a plan is built, the plugins answer from the bundle.

For that time each plugin's `aot_impl` and `autotune` are replaced; neither Triton nor any compiler is called. A plugin
whose module is not loaded is registered from what the bundle says of it, so that a bundle alone is enough.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Tuple  # noqa: UP035  (TensorRT reads this very alias off a register function's annotation)

import numpy as np
import numpy.typing as npt

from aotfactory.compiler.manifest import Bundle
from aotfactory.compiler.select import usable_variants
from aotfactory.core.arch import Arch
from aotfactory.core.errors import ChangedDefinitionError
from aotfactory.core.network import Call, id_parts
from aotfactory.plan.plugin_answers import PluginAnswers, Served
from aotfactory.plugins import tensorrt_api

trt = tensorrt_api.load().trt
import tensorrt.plugin as trtp  # noqa: E402
from tensorrt.plugin import _lib, _tensor  # noqa: E402


@contextmanager
def bundled_kernels(bundle: Bundle, *, arch: Arch, tactic: int | None = None) -> Iterator[Served]:
    """Have every plugin of the bundle answer from the bundle, until the context ends.

    Args:
        arch: What the plan is for; PORTABLE: every GPU from sm_80 on.
        tactic: The only one to offer, for calls that have it.

    Raises:
        MissingError: The bundle has no kernel for the architecture.
        UsageError: No call has this tactic.
    """
    served = Served()
    answers = PluginAnswers(bundle.network, usable_variants(bundle, arch, tactic), served)
    with ExitStack() as undo:
        # Stays set where a plugin's function raised.
        undo.callback(setattr, _tensor.SymIntExpr, "_exprBuilder", None)
        for call in {call.plugin: call for call in bundle.network.calls}.values():
            undo.callback(_substitute(answers, call))
        yield served


# --- TensorRT's registry ---------------------------------------------------------------------------------------------


def _substitute(answers: PluginAnswers, call: Call) -> Callable[[], None]:
    """Make the plugin of a call answer from the bundle; returns what undoes it."""
    loaded = call.plugin in _lib.QDP_REGISTRY
    if not loaded:
        _register(answers, call)
    definition = _lib.QDP_REGISTRY[call.plugin]
    if list(definition.input_attrs) != list(call.attributes) or definition.num_outputs != len(call.outputs):
        raise ChangedDefinitionError(
            f"the loaded definition of {call.plugin} is not the one that the bundle was compiled from",
            hint="compile the bundle again, or bake it without --plugins",
        )
    names = ("autotune_func", "autotune_attr_names", "aot_impl_func", "aot_impl_attr_names")
    before = {name: getattr(definition, name) for name in names}
    definition.autotune_func = _without_outputs(answers.keeping_first_error(answers.autotune, call.plugin))
    definition.aot_impl_func = answers.keeping_first_error(answers.aot_impl, call.plugin)
    definition.autotune_attr_names = definition.aot_impl_attr_names = list(definition.input_attrs)

    def undo() -> None:
        for name, value in before.items():
            setattr(definition, name, value)
        if not loaded:
            _unregister(call.plugin)

    return undo


def _without_outputs(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: function(*args[:-1])


def _register(answers: PluginAnswers, call: Call) -> None:
    register = answers.keeping_first_error(answers.register, call.plugin)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(f"inp{i}", kind, annotation=trtp.TensorDesc) for i in range(len(call.inputs))] + [
        inspect.Parameter(name, kind, annotation=_annotation(value)) for name, value in call.attributes.items()
    ]
    returns = Tuple[(trtp.TensorDesc,) * len(call.outputs)]  # type: ignore[valid-type]  # noqa: UP006
    register.__signature__ = inspect.Signature(parameters, return_annotation=returns)  # type: ignore[attr-defined]
    trtp.register(call.plugin)(register)


def _unregister(plugin: str) -> None:
    namespace, name = id_parts(plugin)
    trt.get_plugin_registry().deregister_creator(_lib.QDP_CREATORS.pop(plugin))
    del _lib.QDP_REGISTRY[plugin]
    delattr(getattr(_lib.op, namespace), name)


def _annotation(value: Any) -> Any:
    return npt.NDArray[value.dtype.type] if isinstance(value, np.ndarray) else type(value)
