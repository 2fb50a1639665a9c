# SPDX-License-Identifier: Apache-2.0
"""Answers of a bundle's plugins to TensorRT's builder: combinations, tactics, shapes, kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aotfactory.compiler.variant import Variant
from aotfactory.core import dtypes
from aotfactory.core.dimensions import Shapes, dimension, over_inputs
from aotfactory.core.errors import AotError, ChangedDefinitionError, ExpressionError
from aotfactory.core.expressions import Constant, Expr, Op, Operation, SizeTensor, Symbol
from aotfactory.core.network import Call, Network
from aotfactory.plugins import tensorrt_api
from aotfactory.targets.onnx_attributes import arrives_as

trt = tensorrt_api.load().trt
import tensorrt.plugin as trtp  # noqa: E402

_APPLY: dict[Op, Callable[[Any, Any], Any]] = {
    Op.SUM: lambda a, b: a + b,
    Op.PROD: lambda a, b: a * b,
    Op.SUB: lambda a, b: a - b,
    Op.FLOOR_DIV: lambda a, b: a // b,
    Op.EQUAL: lambda a, b: a == b,
    Op.LESS: lambda a, b: a < b,
    Op.CEIL_DIV: trtp.cdiv,
    Op.MAX: trtp.max,
    Op.MIN: trtp.min,
}


@dataclass(kw_only=True)
class Served:
    """A kernel that TensorRT asked for.

    Attributes:
        variants: Those whose kernel was handed out, in the order of the first time.
        error: The first error of a plugin's function. TensorRT prints those and goes on to fail for its own reasons.
    """

    variants: list[Variant] = field(default_factory=list)
    error: AotError | None = None


class PluginAnswers:
    """The functions of the plugins, each called with the plugin's id before what TensorRT passes.

    Args:
        variants: What to offer for each call, by the call's name.
        served: Is kept up to date.
    """

    def __init__(self, network: Network, variants: Mapping[str, list[Variant]], served: Served) -> None:
        self.network, self.variants, self.served = network, variants, served

    def autotune(self, plugin: str, *args: Any) -> list[Any]:
        call = self._call(plugin, *args)
        tactics: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = {}
        for variant in self.variants[call.name]:
            tactics.setdefault((variant.dtypes, variant.formats), []).append(variant.tactic)
        return [
            trtp.AutoTuneCombination(
                ", ".join(_autotune_name(d) for d in types),
                ", ".join(f.upper() for f in formats),
                [t for t in offered if t] or None,
            )
            for (types, formats), offered in tactics.items()
        ]

    def aot_impl(self, plugin: str, *args: Any) -> tuple[str, bytes, Any, Any]:
        *rest, outputs, tactic = args
        call = self._call(plugin, *rest)
        inputs = rest[: len(call.inputs)]
        tensors = [*inputs, *outputs]
        types = tuple(dtypes.of_trt(t.dtype).name for t in tensors)
        formats = tuple(t.format.name.lower() for t in tensors)
        variant = next(
            (v for v in self.variants[call.name] if (v.dtypes, v.formats, v.tactic) == (types, formats, int(tactic))),
            None,
        )
        if variant is None:
            asked = ", ".join(f"{d} {f}" for d, f in zip(types, formats, strict=True))
            raise ChangedDefinitionError(
                f"TensorRT asks for a kernel of {call.name} that the bundle lacks: {asked}, tactic {tactic}",
                hint=f"it has {', '.join(v.id for v in self.variants[call.name])}; compile it again with --all-dtypes",
            )
        shapes = _shapes(self.network, call)
        dims = _dimensions(inputs)
        launch = {name: _build(over_inputs(e, shapes), dims) for name, e in variant.launch.items()}
        integers = [e for e in variant.extra_args if isinstance(e, Expr)]  # all, but for a plugin library's
        extra = [trtp.SymInt32(_build(over_inputs(e, shapes), dims)) for e in integers]
        if variant not in self.served.variants:
            self.served.variants.append(variant)
        return (
            variant.kernel,
            variant.text.encode(),
            trtp.KernelLaunchParams(**launch),
            trtp.SymIntExprs.from_tuple(extra),
        )

    def register(self, plugin: str, *args: Any) -> tuple[Any, ...]:
        call = self._call(plugin, *args)
        shapes, dims = _shapes(self.network, call), _dimensions(args)
        outputs = [self.network.tensor(name) for name in call.outputs]
        sizes: dict[int, Any] = {}
        for tensor in outputs:
            for size in (d for d in tensor.shape if isinstance(d, SizeTensor)):
                bounds = [_build(over_inputs(e, shapes), dims) for e in (size.opt, size.upper)]
                sizes.setdefault(size.index, trtp.size_tensor(*bounds))
        made = []
        for index, tensor in enumerate(outputs):
            dtype = dtypes.to_trt(tensor.dtype, trt.DataType)
            if tensor.aliases is not None:
                made.append(args[call.inputs.index(tensor.aliases)].aliased())
            elif index in sizes:
                sizes[index].dtype = dtype
                made.append(sizes[index])
            else:
                extents = tuple(
                    sizes[d.index].expr() if isinstance(d, SizeTensor) else _build(over_inputs(d, shapes), dims)
                    for d in tensor.shape
                )
                made.append(trtp.from_shape_expr(extents, dtype=dtype))
        return tuple(made)

    def keeping_first_error(self, function: Callable[..., Any], plugin: str) -> Callable[..., Any]:
        """TensorRT prints what a plugin's function raises and loses it: keep the first error."""

        def call(*args: Any, **attributes: Any) -> Any:
            try:
                return function(plugin, *args, *attributes.values())
            except Exception as error:
                if self.served.error is None:
                    own = isinstance(error, AotError)
                    text = f"{plugin}: {type(error).__name__}: {error}"
                    self.served.error = error if own else ChangedDefinitionError(text)  # type: ignore[assignment]
                raise

        return call

    def _call(self, plugin: str, *args: Any) -> Call:
        """The call of the network that TensorRT is at, by attributes, data types and the shapes of the inputs."""
        count = sum(isinstance(a, trtp.TensorDesc) for a in args)
        inputs, attributes = args[:count], args[count:]
        calls = [
            call
            for call in self.network.calls
            if call.plugin == plugin and len(call.inputs) == count and _same_values(call.attributes, attributes)
        ]
        fitting = [call for call in calls if _fits(self.network, call, inputs)]
        if not fitting:
            shown = (
                ", ".join(f"{n}={v}" for n, v in zip(calls[0].attributes, attributes, strict=False)) if calls else ""
            )
            raise ChangedDefinitionError(
                f"TensorRT asks for a call of {plugin} that the bundle was not compiled for"
                + (f" ({shown}): no call has inputs of these shapes" if calls else ": no call has these attributes"),
                hint="the model or its shapes changed: compile the bundle again",
            )
        if len(fitting) > 1:
            fitting = [c for c in fitting if _within(self.network, c, inputs)] or fitting
        if len({self._answers(call) for call in fitting}) > 1:
            raise ChangedDefinitionError(
                f"the calls {', '.join(c.name for c in fitting)} of {plugin} have different kernels, and TensorRT does "
                "not say which it is at",
                hint="tell them apart by an attribute of the plugin, or build one engine for each",
            )
        return fitting[0]

    def _answers(self, call: Call) -> tuple[Any, ...]:
        """A call's answers, but for the kernels' names: calls with equal ones are interchangeable."""
        shapes = _shapes(self.network, call)
        outputs = tuple(
            tuple(d if isinstance(d, SizeTensor) else over_inputs(d, shapes) for d in self.network.tensor(n).shape)
            for n in call.outputs
        )
        kernels = tuple(
            (
                v.dtypes,
                v.formats,
                v.tactic,
                v.text.replace(v.kernel, ""),
                tuple(over_inputs(e, shapes) for e in v.expressions),
            )
            for v in self.variants[call.name]
        )
        return outputs, kernels


def _shapes(network: Network, call: Call) -> Shapes:
    return [network.tensor(name).shape for name in call.inputs]


def _dimensions(inputs: Sequence[Any]) -> dict[str, Any]:
    tensors = [t for t in inputs if isinstance(t, trtp.TensorDesc)]
    return {dimension(i, axis): e for i, tensor in enumerate(tensors) for axis, e in enumerate(tensor.shape_expr)}


def _build(expr: Expr, dims: Mapping[str, Any]) -> Any:
    """A `ShapeExpr` of TensorRT's for an expression over the inputs' dimensions."""
    match expr:
        case Constant(value):
            return trtp.ShapeExpr(value)
        case Symbol(name):
            return dims[name]
        case Operation(op, left, right):
            return _APPLY[op](_build(left, dims), _build(right, dims))
    raise ExpressionError(f"{expr} is only known after the kernel ran", hint="use the size tensor's upper bound")


def _same_values(known: Mapping[str, Any], given: Sequence[Any]) -> bool:
    return len(known) == len(given) and all(map(arrives_as, known.values(), given))


def _fits(network: Network, call: Call, inputs: Sequence[Any]) -> bool:
    """Whether data types and ranks agree, and constant dimensions; fake shapes (before the builder) say nothing."""
    for name, desc in zip(call.inputs, inputs, strict=True):
        tensor = network.tensor(name)
        exprs = list(desc.shape_expr)
        if dtypes.of_trt(desc.dtype).name != tensor.dtype or len(exprs) != len(tensor.shape):
            return False
        for known, expr in zip(tensor.shape, exprs, strict=True):
            if expr.is_fake:
                continue
            constant = known.value if isinstance(known, Constant) else None
            if constant != (expr.constant_value() if expr.is_constant else None):
                return False
    return True


def _within(network: Network, call: Call, inputs: Sequence[Any]) -> bool:
    """Whether the bounds that TensorRT states for the inputs are those of the call, where it states any."""
    for name, desc in zip(call.inputs, inputs, strict=True):
        if not desc.has_shape or not desc.shape.is_dynamic:
            continue
        for at, stated in ((network.at("min"), desc.shape.min), (network.at("max"), desc.shape.max)):
            if tuple(d.evaluate(at) for d in network.tensor(name).shape) != tuple(stated):
                return False
    return True


def _autotune_name(dtype: str) -> str:
    """As `AutoTuneCombination` spells a data type."""
    return {"fp32": "FP32", "fp16": "FP16"}.get(dtype, dtypes.find(dtype).trt)
