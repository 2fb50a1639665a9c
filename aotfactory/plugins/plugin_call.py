# SPDX-License-Identifier: Apache-2.0
"""TensorRT's build protocol, spoken to a real AOT plugin object with symbolic dimensions instead of a builder.

The plugin object is the one that NVIDIA's own plugin creator returns for `network.add_plugin(..., aot=True)`, and its
methods are called in the builder's order (NvInferRuntime.h, IPluginV3QuickBuild and IPluginV3QuickAOTBuild), so that
what the definitions are given, and every check that NVIDIA's Python layer makes, are the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from aotfactory.core import dtypes, expressions, proofs
from aotfactory.core.arguments import Argument, Quotient
from aotfactory.core.errors import CombinationError, LaunchError, PluginError
from aotfactory.core.expressions import Expr
from aotfactory.core.network import Combination, Range, id_parts
from aotfactory.core.proofs import Interval
from aotfactory.plugins import tensorrt_api
from aotfactory.plugins.definitions import blame
from aotfactory.plugins.for_library import LibraryLaunch, SymbolicQuotient, kind_of
from aotfactory.plugins.registry import Plugin
from aotfactory.plugins.returned_kernel import LAUNCH_FIELDS, ReturnedKernel
from aotfactory.plugins.symbolic_dimensions import ExprBuilder, list_dims_exprs

trt = tensorrt_api.load().trt
from tensorrt.plugin import _lib, _tensor  # noqa: E402


class PluginCall:
    """One call of a plugin in a network, as TensorRT's builder sees it.

    Args:
        plugin: The definitions.
        attributes: A value for every attribute, of the annotated type.
        inputs: Data type and symbolic shape of each input.
        ranges: The optimization profile: what each symbol may be.

    Attributes:
        output_dtypes: As `register` gives them.
        output_shapes: One expression for each dimension of each output.
        aliases: For each output, the index of the input whose buffer it shares, or None.

    Raises:
        DefinitionError: The definitions are wrong; the message names file and line.
    """

    def __init__(
        self,
        plugin: Plugin,
        attributes: Mapping[str, Any],
        inputs: Sequence[tuple[str, tuple[Expr, ...]]],
        ranges: Mapping[str, Range],
    ) -> None:
        self.definition = plugin
        self.ranges = ranges
        self.builder = ExprBuilder({name: Interval(r.min, r.max) for name, r in ranges.items()})
        with blame(plugin, "register"):
            self._plugin = self._create(attributes, len(inputs))
            types = [dtypes.to_trt(dtype, trt.DataType) for dtype, _ in inputs]
            self._output_types = self._plugin.get_output_data_types(types, [len(shape) for _, shape in inputs])
            with list_dims_exprs():
                shapes = self._plugin.get_output_shapes(
                    [[self.builder.dimension(d) for d in shape] for _, shape in inputs], [], self.builder
                )
            self.output_dtypes = tuple(_dtype(t) for t in self._output_types)
        self.output_shapes = tuple(tuple(d.expr for d in shape) for shape in shapes)
        aliased = [self._plugin.get_aliased_input(i) for i in range(len(shapes))]
        self.aliases = tuple(None if i < 0 else i for i in aliased)
        self._inputs = len(inputs)
        self._shapes = [shape for _, shape in inputs] + list(self.output_shapes)
        self.combination = Combination(
            dtypes=(*(d for d, _ in inputs), *self.output_dtypes), formats=("linear",) * len(self._shapes)
        )

    def _create(self, attributes: Mapping[str, Any], inputs: int) -> Any:
        namespace, name = id_parts(self.definition.id)
        op = getattr(getattr(_lib.op, namespace), name)
        create = op(*(_Tensor.__new__(_Tensor) for _ in range(inputs)), **attributes)
        _, _, plugin = create(trt.QuickPluginCreationRequest.STRICT_AOT)
        return plugin

    def combinations(self) -> list[tuple[Combination, list[int]]]:
        """The combinations that `autotune` offers, each with its tactics: ``[0]``, the default, where it names none."""
        with blame(self.definition, "autotune"):
            flat = self._plugin.get_supported_format_combinations(self._descs(self.combination), self._inputs)
        count = len(self._shapes)
        found = []
        for start in range(0, len(flat), count):
            descs = flat[start : start + count]
            try:
                types = tuple(dtypes.of_trt(d.type).name for d in descs)
            except Exception as error:
                raise PluginError(str(error), where=self.definition.where("autotune")) from error
            combination = Combination(dtypes=types, formats=tuple(d.format.name.lower() for d in descs))
            self._configure(combination)
            with blame(self.definition, "autotune"):
                tactics = sorted(int(t) for t in self._plugin.get_valid_tactics())
            if any(t < 1 for t in tactics):
                raise CombinationError(
                    f"autotune offers tactic {min(tactics)}",
                    where=self.definition.where("autotune"),
                    hint="custom tactics are positive integers; 0 is TensorRT's own default tactic",
                )
            found.append((combination, tactics or [0]))
        return found

    def kernel(self, combination: Combination, tactic: int) -> ReturnedKernel:
        """Run the `aot_impl` for one combination and tactic and take down what it returns."""
        self._configure(combination)
        self._plugin.set_tactic(tactic)
        returned: list[Any] = []
        aot_impl = self._plugin.aot_impl_function

        def recording(*args: Any) -> Any:
            returned[:] = [aot_impl(*args)]
            return returned[0]

        self._plugin.aot_impl_function = recording
        descs = self._descs(combination)
        try:
            with blame(self.definition, "aot_impl"):
                # TensorRT's own setters want C++ expressions; ours are read off what aot_impl returned instead.
                self._plugin.get_launch_params([], descs, self._inputs, SimpleNamespace(), _ExtraArgs(), self.builder)
                split = [d.desc for d in descs]
                name, ptx = self._plugin.get_kernel(split[: self._inputs], split[self._inputs :])
                name, ptx = _utf8("kernel name", name), _utf8("PTX", ptx)
        finally:
            self._plugin.aot_impl_function = aot_impl
            _tensor.SymIntExpr._exprBuilder = None
        return self._taken_down(name, ptx, returned[0])

    def _taken_down(self, name: str, ptx: str, returned: Any) -> ReturnedKernel:
        """A kernel with what `aot_kernel` and its like say of it by the name, for a plugin library."""
        returned_name, _, launch, integers = returned
        more: LibraryLaunch = getattr(returned_name, "library", LibraryLaunch())
        extra = list(integers) if more.extra_args is None else more.extra_args
        return ReturnedKernel(
            name=name,
            ptx=ptx,
            launch={field: self._scalar(getattr(launch, field), field) for field in LAUNCH_FIELDS},
            extra_args=tuple(self._argument(e, f"extra argument {i}") for i, e in enumerate(extra)),
            kinds=tuple(kind_of(e) for e in extra),
            config=getattr(returned_name, "config", None),
            cluster=more.cluster,
            workspaces=tuple(self._scalar(w.bytes, f"workspace {i}") for i, w in enumerate(more.workspaces)),
            then=tuple(
                self._taken_down(_utf8("kernel name", later[0]), _utf8("PTX", later[1]), later) for later in more.then
            ),
        )

    def _argument(self, value: Any, what: str) -> Argument:
        if isinstance(value, SymbolicQuotient):
            return Quotient(self._scalar(value.numerator, what), self._scalar(value.denominator, what))
        return self._scalar(value, what)

    def _scalar(self, value: Any, what: str) -> Expr:
        if value._expr is None:
            raise LaunchError(
                f"{what} is neither an int nor an expression of dimensions",
                where=self.definition.where("aot_impl"),
                hint="convert numbers by int(...); NumPy's integers and floats are not taken",
            )
        expr: Expr = value._expr.expr
        if isinstance(expr, expressions.SizeTensor):
            raise LaunchError(
                f"{what} is a size tensor, which is only known after the kernel ran",
                where=self.definition.where("aot_impl"),
                hint="use the upper bound of the size tensor",
            )
        return expr

    def _configure(self, combination: Combination) -> None:
        descs = self._descs(combination)
        self._plugin.configure_plugin(descs[: self._inputs], descs[self._inputs :])

    def _descs(self, combination: Combination) -> list[Any]:
        return [
            self._desc(dtype, tensor_format, shape)
            for dtype, tensor_format, shape in zip(combination.dtypes, combination.formats, self._shapes, strict=True)
        ]

    def _desc(self, dtype: str, tensor_format: str, shape: tuple[Expr, ...]) -> Any:
        static = trt.PluginTensorDesc()
        static.type = dtypes.to_trt(dtype, trt.DataType)
        static.format = getattr(trt.TensorFormat, tensor_format.upper())
        static.dims = trt.Dims([d.value if isinstance(d, expressions.Constant) else -1 for d in shape])
        desc = trt.DynamicPluginTensorDesc()
        desc.desc = static
        desc.min = trt.Dims([proofs.bounds(d, self.builder.domain).low for d in shape])
        desc.max = trt.Dims([proofs.bounds(d, self.builder.domain).high for d in shape])
        opt = {name: r.opt for name, r in self.ranges.items()}
        desc.opt = trt.Dims([(d.opt if isinstance(d, expressions.SizeTensor) else d).evaluate(opt) for d in shape])
        return desc


class _Tensor(trt.ITensor):  # type: ignore[misc,name-defined]
    """Passes for a network tensor; the bound class cannot be made, and only its type is looked at."""


class _ExtraArgs(dict[int, Any]):
    """Stands for `trt.ISymExprs`: a count and items."""

    nbSymExprs = 0


def _utf8(what: str, value: str | bytes) -> str:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise PluginError(f"the {what} is not text", hint="TensorRT takes PTX, not a cubin") from error


def _dtype(value: Any) -> str:
    if not isinstance(value, trt.DataType):
        raise PluginError(f"an output's dtype is {value!r}", hint="give each output one: trt.float32, ...")
    return dtypes.of_trt(value).name
