# SPDX-License-Identifier: Apache-2.0
"""A whole plugin from a kernel in one call, for the usual case: outputs like an input, all float types."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, List, Tuple  # noqa: UP035  (TensorRT reads these very aliases off annotations)

from aotfactory.core import dtypes as data_types
from aotfactory.core.errors import PluginError
from aotfactory.plugins import autotuned, tensorrt_api
from aotfactory.plugins.aot_kernel import AotKernel, aot_kernel

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402

FLOATS = ("fp32", "fp16", "bf16")
_ATTRIBUTES = (int, float, bool, str)


def plugin(
    kernel: Any,
    plugin_id: str,
    /,
    *,
    inputs: str | Sequence[str] | Mapping[str, str | None],
    outputs: str | Sequence[str] | Mapping[str, str],
    grid: Any,
    dtypes: Sequence[str] = FLOATS,
    **arguments: Any,
) -> str:
    """Register a plugin for a Triton kernel: `register`, `autotune` and `aot_impl` in one call.

    It is a plain plugin like any other. Names are those of the kernel's parameters, and also the plugin's.

        aotfactory.plugin(
            leaky_relu_kernel, "my::leaky_relu", inputs="x_ptr", outputs="y_ptr",
            count=lambda t: t.x_ptr.shape_expr.numel(), slope=float, BLOCK=1024,
            grid=lambda a: trtp.cdiv(a["count"], a["BLOCK"]),
        )

    Args:
        plugin_id: ``namespace::name``.
        inputs: The pointers that are inputs; a mapping gives the data type of those that do not follow `dtypes`.
        outputs: The pointers that are outputs, of the first input's shape and type; a mapping names another input.
            A name that is also an input's is that input, changed in place.
        grid: As `aot_kernel` takes it.
        dtypes: Data types that inputs and outputs may have, all the same one.
        arguments: The kernel's other parameters and launch options. A type (int, float, bool, str) makes the parameter
            an attribute of the plugin; a function is called with the tensors, by name, as attributes of its argument;
            anything else is the value. The configs of an autotuned kernel become tactics.

    Returns:
        The id.

    Raises:
        DefinitionError: The names do not fit the kernel, or TensorRT refuses the definition.
    """
    _, inner = autotuned.unwrap(kernel)
    fixed = dict(inputs) if isinstance(inputs, Mapping) else dict.fromkeys(_names(inputs))
    like = dict(outputs) if isinstance(outputs, Mapping) else dict.fromkeys(_names(outputs), next(iter(fixed), ""))
    unknown = [n for n in (*fixed, *like) if n not in inner.arg_names]
    if unknown or not fixed or any(source not in fixed for source in like.values()):
        raise PluginError(
            f"{plugin_id}: {', '.join(unknown) or 'an output is like no input'}", hint=f"it takes {inner.arg_names}"
        )
    attributes = {n: v for n, v in arguments.items() if v in _ATTRIBUTES} if arguments else {}
    given = {n: v for n, v in arguments.items() if n not in attributes}
    tactics = autotuned.tactics_of(kernel) if autotuned.is_tuned(kernel) else []

    def described(tensors: Sequence[Any]) -> Any:
        by_name = dict(zip(fixed, tensors, strict=True))
        made = tuple(by_name[n].aliased() if n in fixed else by_name[source].like() for n, source in like.items())
        return made if len(made) > 1 else made[0]

    def tuned() -> list[Any]:
        types = [fixed[source] for source in (*fixed, *like.values())]
        names = ["|".join(map(_autotune_name, dtypes)) if t is None else _autotune_name(t) for t in types]
        return [trtp.AutoTuneCombination(", ".join(names), "LINEAR", tactics or None)]

    def compiled(tensors: Sequence[Any], values: Sequence[Any], outs: Sequence[Any], tactic: int) -> Any:
        pointers = {**dict(zip(like, outs, strict=True)), **dict(zip(fixed, tensors, strict=True))}
        seen = SimpleNamespace(**pointers)
        settled = {n: v(seen) if _is_function(v) else v for n, v in given.items()}
        chosen = dict(zip(attributes, values, strict=True))
        return aot_kernel(kernel, {**pointers, **settled, **chosen}, grid=grid, config=tactic or None)

    several: Any = Tuple  # noqa: UP006
    outs = several[(trtp.TensorDesc,) * len(like)]
    tensors, values = ", ".join(fixed), ", ".join(attributes)
    own = dict.fromkeys(fixed, trtp.TensorDesc)
    define = _definer(plugin_id, {"described": described, "tuned": tuned, "compiled": compiled})
    result = trtp.TensorDesc if len(like) == 1 else outs
    annotations = {**own, **attributes, "return": result}
    trtp.register(plugin_id)(define("register", [*fixed, *attributes], f"described(({tensors},))", annotations))
    annotations = {**own, "outputs": outs, "return": List[trtp.AutoTuneCombination]}  # noqa: UP006
    trtp.autotune(plugin_id)(define("autotune", [*fixed, "outputs"], "tuned()", annotations))
    body = f"compiled(({tensors},), [{values}], outputs, tactic)"
    annotations = {**own, **attributes, "outputs": outs, "tactic": int, "return": AotKernel}
    trtp.aot_impl(plugin_id)(define("aot_impl", [*fixed, *attributes, "outputs", "tactic"], body, annotations))
    return plugin_id


def _names(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _is_function(value: Any) -> bool:
    return callable(value) and not hasattr(value, "arg_names") and not hasattr(value, "_expr")


def _autotune_name(dtype: str) -> str:
    """As `AutoTuneCombination` spells a data type."""
    return {"fp32": "FP32", "fp16": "FP16"}.get(dtype, data_types.find(dtype).trt)


def _definer(plugin_id: str, scope: Mapping[str, Any]) -> Callable[..., Any]:
    """Makes functions with real parameters, as TensorRT looks at those, in the place where `plugin` was called."""
    caller = sys._getframe(2)

    def define(kind: str, parameters: Sequence[str], body: str, annotations: Mapping[str, Any]) -> Any:
        tree = ast.parse(f"def {kind}({', '.join(parameters)}):\n    return {body}\n")
        ast.increment_lineno(tree, caller.f_lineno - 1)
        names: dict[str, Any] = {**scope, "__name__": caller.f_globals.get("__name__", plugin_id)}
        exec(compile(tree, caller.f_code.co_filename, "exec"), names)
        names[kind].__annotations__ = dict(annotations)
        return names[kind]

    return define
