# SPDX-License-Identifier: Apache-2.0
"""A plugin in the builder's double: the real plugin object, called as TensorRT's builder calls it.

The order and the argument types are those of IPluginV3QuickBuild and IPluginV3QuickAOTBuild in NVIDIA's headers and
Python bindings: each method of a bound class is looked up on the object, called with bound types, and what it returns
is cast to a C++ type. A failed cast or an exception is printed there, and the C++ caller sees only a failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tensorrt.plugin import _tensor

from aotfactory.core import proofs
from aotfactory.core.expressions import Constant, Expr, SizeTensor
from aotfactory.core.proofs import Interval
from aotfactory.plugins.symbolic_dimensions import Dimension, ExprBuilder, list_dims_exprs
from doubles.signatures import Double, RefusedError, trt

FIELDS = ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "shared_mem")
Points = Mapping[str, tuple[int, int, int]]
"""Min, opt and max of each dynamic dimension."""


class BuildError(Exception):
    """The builder gives up: `build_serialized_network` returns None."""


class Tensor(trt.ITensor):  # type: ignore[misc, name-defined]
    """A network tensor. A real `ITensor` by type, for NVIDIA's own Python code looks at that."""

    @classmethod
    def of(cls, name: str, dtype: Any, shape: tuple[Expr, ...] | None, *, is_input: bool = False) -> Tensor:
        tensor: Tensor = cls.__new__(cls)
        tensor.__dict__.update(_name=name, _dtype=dtype, exprs=shape, is_input=is_input)
        return tensor

    @property
    def name(self) -> str:
        return self.__dict__["_name"]

    @name.setter
    def name(self, value: str) -> None:
        if not isinstance(value, str):
            raise RefusedError(f"ITensor.name is str, not {value!r}")
        self.__dict__["_name"] = value

    @property
    def dtype(self) -> Any:
        return self.__dict__["_dtype"]


class LaunchParams(Double, real="KernelLaunchParams"):
    """Takes the seven launch parameters."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in FIELDS or name not in vars(trt.KernelLaunchParams) or not isinstance(value, trt.ISymExpr):
            raise RefusedError(f"KernelLaunchParams.{name} = {value!r}")
        self.__dict__[name] = value


class SymExprs:
    """Takes the extra arguments, as `trt.ISymExprs`: the number first."""

    def __init__(self) -> None:
        self.items: dict[int, Any] = {}
        self.nbSymExprs = 0

    def __setitem__(self, index: int, value: Any) -> None:
        if not 0 <= index < self.nbSymExprs or not isinstance(value, trt.ISymExpr):
            raise RefusedError(f"ISymExprs[{index}] of {self.nbSymExprs} = {value!r}")
        self.items[index] = value


class PluginLayer(Double, real="IPluginV3Layer"):
    """A layer with a plugin."""

    def __init__(self, inputs: Sequence[Tensor], plugin: Any, index: int) -> None:
        for required in (trt.IPluginV3, trt.IPluginV3QuickCore, trt.IPluginV3QuickBuild):
            if not isinstance(plugin, required):
                raise RefusedError(f"the plugin is no {required.__name__}")
        self._inputs, self._plugin, self._name = list(inputs), plugin, f"(Unnamed Layer* {index}) [PluginV3]"
        self._aot = isinstance(plugin, trt.IPluginV3QuickAOTBuild)
        if not self._aot and not isinstance(plugin, trt.IPluginV3QuickRuntime):
            raise RefusedError("the plugin has no runtime capability")
        types = self._plugin.get_output_data_types([t.dtype for t in inputs], [len(t.exprs or ()) for t in inputs])
        count = self._plugin.get_num_outputs()
        if len(types) != count or not all(isinstance(t, trt.DataType) for t in types):
            raise RefusedError("get_output_data_types() returned a list with a different length than num_outputs")
        self._outputs = [Tensor.of(f"{self._name}_output_{i}", t, None) for i, t in enumerate(types)]
        self._infer_shapes()

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    def get_output(self, index: int) -> Any:
        return self._outputs[index] if 0 <= index < len(self._outputs) else None

    def _infer_shapes(self) -> None:
        builder = ExprBuilder({})
        with list_dims_exprs():
            shapes = self._plugin.get_output_shapes(
                [[builder.dimension(d) for d in t.exprs] for t in self._inputs], [], builder
            )
        if len(shapes) != len(self._outputs) or not all(isinstance(d, Dimension) for s in shapes for d in s):
            raise RefusedError("get_output_shapes() returned a list with a different length than num_outputs")
        for tensor, shape in zip(self._outputs, shapes, strict=True):
            tensor.__dict__["exprs"] = tuple(d.expr for d in shape)

    def _aliases(self) -> list[int]:
        return [self._plugin.get_aliased_input(i) for i in range(len(self._outputs))]

    def _build(self, points: Points, cached: dict[str, int]) -> dict[str, Any]:
        """Tune the layer; returns what goes into the plan.

        Args:
            cached: The timing cache: TensorRT's key holds neither attributes nor kernels of an AOT plugin.
        """
        plugin, count = self._plugin, len(self._inputs)
        self._infer_shapes()
        tensors = [*self._inputs, *self._outputs]
        descs = [_desc(t.dtype, trt.TensorFormat.LINEAR, t.exprs, points) for t in tensors]
        for _ in range(2):  # for their number, then for themselves
            flat = plugin.get_supported_format_combinations(descs, count)
            if not all(isinstance(d, trt.PluginTensorDesc) for d in flat) or len(flat) % len(descs):
                raise BuildError("Number of supported format combinations not a multiple of number of IO.")
        wanted = [t.dtype for t in tensors]
        choices = []
        for at in range(0, len(flat), len(descs)):
            combination = flat[at : at + len(descs)]
            if [d.type for d in combination] != wanted:
                continue  # the network is strongly typed
            formatted = [_desc(d.type, d.format, t.exprs, points) for d, t in zip(combination, tensors, strict=True)]
            plugin.configure_plugin(formatted[:count], formatted[count:])
            tactics = plugin.get_valid_tactics()
            if not all(type(t) is int and t > 0 for t in tactics):
                raise BuildError(f"get_valid_tactics() returned {tactics}")
            choices += [(formatted, tactic, self._tune(formatted, tactic, points)) for tactic in tactics or [0]]
        if not choices:
            raise BuildError(f"could not find any implementation for node {self._name} in the types {wanted}")
        if plugin.plugin_namespace != plugin.plugin_namespace.strip():
            raise BuildError("namespace")
        key = f"{plugin.plugin_namespace}::{plugin.plugin_name} {wanted}"
        tactic = cached.setdefault(key, max(t for _, t, _ in choices))
        chosen = next((c for c in choices if c[1] == tactic), None)
        if chosen is None:
            raise BuildError(f"the timing cache has the tactic {tactic}, which {self._name} does not offer")
        plugin.configure_plugin(chosen[0][:count], chosen[0][count:])
        kernel = self._tune(chosen[0], tactic, points)
        return {"name": self._name, "plugin": key.split()[0], "tactic": tactic, "jit": not self._aot, **kernel}

    def _tune(self, descs: list[Any], tactic: int, points: Points) -> dict[str, Any]:
        plugin, count = self._plugin.clone(), len(self._inputs)
        plugin.set_tactic(tactic)
        if not self._aot:
            fields = plugin.get_fields_to_serialize()
            return {"fields": [f.name for f in fields]}
        launch, extra = LaunchParams(), SymExprs()
        dims = [[Dimension.of(d, {}) for d in t.exprs or ()] for t in self._inputs]
        with _readable_expressions():
            plugin.get_launch_params(dims, descs, count, launch, extra, ExprBuilder({}))
        split = [d.desc for d in descs]
        name, ptx = plugin.get_kernel(split[:count], split[count:])
        if not isinstance(name, str) or not isinstance(ptx, bytes):
            raise BuildError("get_kernel() did not return (str, bytes)")
        missing = [f for f in FIELDS if f not in launch.__dict__] or [
            i for i in range(extra.nbSymExprs) if i not in extra.items
        ]
        if missing:
            raise BuildError(f"launch parameter or extra argument {missing[0]} was not set")
        entry = re.search(rf"\.entry\s+{re.escape(name)}\s*\((.*?)\)", ptx.decode(), re.DOTALL)
        if entry is None:
            raise BuildError(f"the PTX has no entry {name}")
        found, expected = entry[1].count(".param"), count + extra.nbSymExprs + len(self._outputs)
        if found != expected:
            raise BuildError(f"kernel {name} has {found} parameters, TensorRT passes {expected}")
        return {
            "kernel": name,
            "ptx": ptx.decode(),
            "launch": {f: _at(launch.__dict__[f].recorded, points) for f in FIELDS},
            "extra_args": [_at(extra.items[i].recorded, points) for i in range(extra.nbSymExprs)],
        }


def _at(expr: Expr, points: Points) -> list[int]:
    return [expr.evaluate({name: ends[i] for name, ends in points.items()}) for i in range(3)]


def _desc(dtype: Any, tensor_format: Any, shape: tuple[Expr, ...], points: Points) -> Any:
    static = trt.PluginTensorDesc()
    static.type, static.format = dtype, tensor_format
    static.dims = trt.Dims([d.value if isinstance(d, Constant) else -1 for d in shape])
    desc = trt.DynamicPluginTensorDesc()
    desc.desc = static
    domain = {name: Interval(ends[0], ends[2]) for name, ends in points.items()}
    desc.min = trt.Dims([proofs.bounds(d, domain).low for d in shape])
    desc.max = trt.Dims([proofs.bounds(d, domain).high for d in shape])
    opt = {name: ends[1] for name, ends in points.items()}
    desc.opt = trt.Dims([(d.opt if isinstance(d, SizeTensor) else d).evaluate(opt) for d in shape])
    return desc


@contextmanager
def _readable_expressions() -> Iterator[None]:
    """`ISymExpr.expr` can only be set from Python: keep what it was set to."""
    original = _tensor.SymExprImpl.__init__

    def recording(self: Any, expr: Any) -> None:
        original(self, expr)
        self.recorded = expr._expr.expr

    _tensor.SymExprImpl.__init__ = recording
    try:
        yield
    finally:
        _tensor.SymExprImpl.__init__ = original
