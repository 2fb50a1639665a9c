# SPDX-License-Identifier: Apache-2.0
"""Arguments of a Triton kernel, as Triton's own launch would type them."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction, KernelParam

from aotfactory.core.errors import KernelArgumentError
from aotfactory.plugins import symbolic_ints, tensorrt_api
from aotfactory.plugins.for_library import SymbolicQuotient, Workspace, kind_of

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402

_HINTED = ("multiple_of", "max_contiguous", "max_constancy")
"""Functions of `triton.language` that take a tensor only, as a method does."""


@dataclass(frozen=True)
class Argument:
    """One argument, or one item of an argument that is a tuple.

    Attributes:
        name: Of the wrapper's parameter that carries it.
        value: A `TensorDesc`; a `SymInt32`, known when the engine runs; or a constant.
        type: Triton's name for the type of a number: ``i32``, ``fp32``; None where a constant is compiled in as it
            is, as a `tl.constexpr`.
        kind: The type that an extra argument arrives with.
    """

    name: str
    value: Any
    type: str | None = None
    kind: str | None = None

    @property
    def is_pointer(self) -> bool:
        return isinstance(self.value, trtp.TensorDesc | Workspace)

    @property
    def is_extra(self) -> bool:
        return isinstance(self.value, trtp.SymInt32 | SymbolicQuotient)

    @property
    def is_constant(self) -> bool:
        return not (self.is_pointer or self.is_extra)


Tree = Argument | tuple["Tree", ...]


def is_kernel(fn: Any) -> bool:
    """Whether this is what `@triton.jit` makes, compiled or interpreted."""
    return isinstance(fn, JITFunction | InterpretedFunction)


def parameters_of(kernel: Any) -> list[KernelParam]:
    """The kernel's parameters with their annotations, also where it is interpreted."""
    if not issubclass(type(kernel), InterpretedFunction):  # its __class__ may say otherwise
        return list(kernel.params)
    plain = kernel.kwargs.get("do_not_specialize") or ()
    found = enumerate(inspect.signature(kernel.fn).parameters.values())
    return [KernelParam(i, p, i in plain or p.name in plain, False) for i, p in found]


def bind(kernel: Any, arguments: Mapping[str, Any]) -> dict[str, Tree]:
    """The argument of every parameter of the kernel, in the kernel's order.

    Raises:
        DefinitionError: One is missing, left over, or of a kind that a kernel cannot take.
    """
    parameters = parameters_of(kernel)
    names = [p.name for p in parameters]
    missing = [p.name for p in parameters if p.name not in arguments and not p.has_default]
    left_over = [n for n in arguments if n not in names]
    if missing or left_over:
        wrong = [f"is not given {', '.join(missing)}"] if missing else []
        wrong += [f"has no parameter {', '.join(left_over)}"] if left_over else []
        raise KernelArgumentError(f"{kernel.__name__} {' and '.join(wrong)}", hint=f"it takes {', '.join(names)}")
    return {p.name: _tree(kernel, p, p.name, arguments.get(p.name, p.default)) for p in parameters}


def leaves(tree: Tree) -> list[Argument]:
    """The arguments of a tree, in order."""
    return [tree] if isinstance(tree, Argument) else [leaf for item in tree for leaf in leaves(item)]


def _tree(kernel: Any, parameter: KernelParam, name: str, value: Any) -> Tree:
    value = symbolic_ints.folded(value)
    place = f"{kernel.__name__}: {name}"
    if isinstance(value, trtp.SymExprs):
        raise KernelArgumentError(f"{place} is a whole shape", hint=f"give one dimension: {name}=shape[0]")
    if isinstance(value, tuple) and not parameter.is_constexpr:
        return tuple(_tree(kernel, parameter, f"{name}__{i}", item) for i, item in enumerate(value))
    if isinstance(value, symbolic_ints.SymInt | trtp.TensorDesc | Workspace | SymbolicQuotient):
        if parameter.is_constexpr:
            raise KernelArgumentError(
                f"{place} is a tl.constexpr, but its value is only known when the engine runs",
                hint=f"drop tl.constexpr from {name}, or give it a constant; aotfactory.upper_bound(dimension) is the "
                "largest value in the profile",
            )
        if isinstance(value, trtp.TensorDesc | Workspace):
            return Argument(name, value)
        number = value if isinstance(value, trtp.SymInt32 | SymbolicQuotient) else trtp.SymInt32(value)
        kind = kind_of(number)
        return Argument(name, number, parameter.annotation_type or kind, kind)
    if hasattr(value, "data_ptr"):
        raise KernelArgumentError(
            f"{place} is a {type(value).__name__} with data of its own",
            hint="a plugin is compiled before there is data: give an input of the aot_impl, or an item of outputs",
        )
    if not isinstance(value, Hashable):
        raise KernelArgumentError(
            f"{place} is a {type(value).__name__}, which cannot be compiled into a kernel",
            hint="give a tensor of the call, an expression of dimensions, an int, float, bool, str or None",
        )
    return Argument(name, value, None if parameter.is_constexpr else _type(kernel, parameter, value, place))


def _type(kernel: Any, parameter: KernelParam, value: Any, place: str) -> str | None:
    """The type that Triton's JIT gives a constant argument; None: it is compiled in without one.

    The JIT compiles an int that is 1 in as a constant, on which `.to()` and the like then fail. They work here: such
    a parameter keeps its type.
    """
    if not isinstance(value, int | float):
        return None
    annotated: str = parameter.annotation_type if not parameter.annotation.startswith("*") else ""
    if isinstance(value, bool):
        return annotated or "u1"
    if isinstance(value, float):
        if annotated and "fp" not in annotated and annotated != "bf16":
            raise KernelArgumentError(
                f"{place} is {value}, but the kernel declares it {parameter.annotation}", hint="give it an integer"
            )
        return annotated or "fp32"
    if annotated:
        return annotated
    if value == 1 and not parameter.do_not_specialize and parameter.name not in _used_as_tensors(kernel, set()):
        return None
    if -(2**31) <= value < 2**31:
        return "i32"
    if not -(2**63) <= value < 2**64:
        raise KernelArgumentError(f"{place} is {value}, which 64 bits do not hold", hint="give a smaller number")
    return "u64" if value >= 2**63 else "i64"


def _used_as_tensors(kernel: Any, seen: set[str]) -> set[str]:
    """Parameters whose attributes are taken (`n.to(...)`), in the kernel or where it hands them on."""
    function = kernel.fn
    key = f"{function.__module__}.{function.__qualname__}"
    if key in seen:
        return set()
    seen.add(key)
    found = set()
    for node in ast.walk(_syntax(function)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(node.value.id)
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr in _HINTED and node.args:
            found |= {node.args[0].id} if isinstance(node.args[0], ast.Name) else set()
        called = _resolved(node.func, inspect.getclosurevars(function))
        if is_kernel(called):
            inner = _used_as_tensors(called, seen)
            passed = [*zip(called.arg_names, node.args, strict=False), *((k.arg, k.value) for k in node.keywords)]
            found |= {given.id for name, given in passed if name in inner and isinstance(given, ast.Name)}
    return found & set(kernel.arg_names)


@functools.lru_cache(maxsize=256)
def _syntax(function: Any) -> ast.Module:
    """Kept, as every variant of a kernel asks for it."""
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def _resolved(node: ast.expr, names: inspect.ClosureVars) -> Any:
    """The object that the name of a called function stands for, where that can be told."""
    if isinstance(node, ast.Name):
        return names.nonlocals.get(node.id, names.globals.get(node.id))
    if isinstance(node, ast.Attribute):
        return getattr(_resolved(node.value, names), node.attr, None)
    return None
