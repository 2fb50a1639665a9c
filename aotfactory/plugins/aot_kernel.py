# SPDX-License-Identifier: Apache-2.0
"""For authors of plugins: the body of an `aot_impl` in a few lines, from any `@triton.jit` kernel as it is."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import Parameter, signature
from typing import Any, Tuple, Union  # noqa: UP035  (TensorRT reads this very alias off an aot_impl's annotation)

import numpy as np

from aotfactory.core import dtypes
from aotfactory.core.errors import DefinitionError
from aotfactory.plugins import tensorrt_api

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402
from tensorrt.plugin import _tensor  # noqa: E402

AotKernel = Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs]  # noqa: UP006, UP007
"""What an `aot_impl` returns: entry name, PTX, launch parameters, extra arguments."""

ALIGNMENT = 16
"""Bytes that a pointer, and the number that a hinted integer, is declared to be divisible by: one vector access."""


CLUSTERS_SINCE = (3, 9)
"""The oldest Triton known to compile clusters."""

_left_out: ContextVar[dict[int, str] | None] = ContextVar("left_out", default=None)


def aot_kernel(
    fn: Any,
    *,
    grid: Any | Sequence[Any],
    num_warps: int = 4,
    num_stages: int = 3,
    num_ctas: int = 1,
    maxnreg: int | None = None,
    enable_fp_fusion: bool = True,
    **arguments: Any,
) -> AotKernel:
    """Compile a Triton kernel for the call that is being built, in TensorRT's calling convention.

    Called inside an `aot_impl`. Every parameter of `fn` is given by its name, in any order:

    * a `TensorDesc` (an input of the call, or an item of `outputs`) becomes the pointer to that tensor, declared
      16-byte aligned (TensorRT aligns tensors to 256 bytes);
    * an integer, or an expression of dimensions, is folded into the kernel where it is constant; else it becomes an
      int32 extra argument, declared divisible by 16 where the optimization profile proves it;
    * a float, string, bool, `tl.dtype` or None is compiled in.

    Where the kernel's own order of parameters is not TensorRT's (inputs, extra arguments, outputs), a Triton wrapper
    in TensorRT's order is compiled instead. It costs nothing: Triton inlines the kernel into it.

    Args:
        fn: A `@triton.jit` function.
        grid: Number of programs along x, or along (x, y, z): integers or `shape_expr` arithmetic.
        num_warps: Warps per program, of 32 threads each.
        num_stages: Depth of Triton's software pipelining.
        num_ctas: Blocks of a cluster, which run one program together: 2, 4 or 8, from sm_90 on. The grid still counts
            programs, as Triton's own launch has it.
        maxnreg: Registers that a thread may have at most.
        enable_fp_fusion: Whether a product and a sum may become one instruction, which does not round the product.
        arguments: The kernel's parameters.

    Returns:
        What an `aot_impl` has to return.

    Raises:
        DefinitionError: The arguments do not fit the kernel or the call.
    """
    import triton
    from triton.compiler import ASTSource, CompilationError

    inputs, outputs = _tensors_of_call()
    values = _bind(fn, arguments)
    pointers = {n: v for n, v in values.items() if isinstance(v, trtp.TensorDesc)}
    extra = {n: v for n, v in values.items() if isinstance(v, trtp.SymInt32)}
    constants = {n: v for n, v in values.items() if n not in pointers and n not in extra}
    tensors = [_parameter_of(fn, label, tensor, pointers) for label, tensor in [*inputs, *outputs]]
    of_call = {id(tensor) for _, tensor in [*inputs, *outputs]}
    if foreign := [n for n, tensor in pointers.items() if id(tensor) not in of_call]:
        raise DefinitionError(
            f"{fn.__name__}: {', '.join(foreign)} is a tensor that is not of this call",
            hint="give the inputs of the aot_impl and the items of outputs themselves",
        )
    order = [*tensors[: len(inputs)], *extra, *tensors[len(inputs) :]]
    entry = fn if order == [n for n in values if n not in constants] else _wrapper(fn, order, pointers, constants)

    names: list[str] = entry.arg_names
    aligned = [*tensors, *(n for n, expr in extra.items() if _divisor(expr) % ALIGNMENT == 0)]
    types = {n: f"*{dtypes.of_trt(t.dtype).triton}" for n, t in pointers.items()} | dict.fromkeys(extra, "i32")
    source = ASTSource(
        entry,
        {n: types.get(n, "constexpr") for n in names},
        constexprs={(names.index(n),): v for n, v in constants.items()},
        attrs={(names.index(n),): [["tt.divisibility", ALIGNMENT]] for n in aligned},
    )
    if num_ctas != 1 and (reason := no_clusters()):
        raise DefinitionError(f"{fn.__name__}: num_ctas={num_ctas}, but {reason}", hint="leave this tactic out here")
    try:
        options: dict[str, Any] = {
            "num_warps": num_warps,
            "num_stages": num_stages,
            "enable_fp_fusion": enable_fp_fusion,
        }
        options |= {"num_ctas": num_ctas} if num_ctas != 1 else {}
        options |= {"maxnreg": maxnreg} if maxnreg is not None else {}
        compiled = triton.compile(source, options=options)
    except CompilationError as error:
        # The outermost tells only where the wrapper calls the kernel.
        cause: BaseException = error
        while isinstance(cause.__cause__, CompilationError):
            cause = cause.__cause__
        raise cause from None
    programs, *others = grid if isinstance(grid, Sequence) else [grid]
    # A launch counts blocks.
    launch = trtp.KernelLaunchParams(programs if num_ctas == 1 else programs * num_ctas, *others)
    launch.block_x = compiled.metadata.num_warps * 32
    launch.shared_mem = compiled.metadata.shared
    return compiled.metadata.name, compiled.asm["ptx"], launch, trtp.SymIntExprs.from_tuple(list(extra.values()))


def capability() -> int:
    """The compute capability that kernels are compiled for now, as 90 for 9.0; 0 where there is no telling."""
    import triton

    if triton.knobs.runtime.interpret:
        return 0
    try:
        return int(triton.runtime.driver.active.get_current_target().arch)
    except (RuntimeError, ValueError):  # no GPU, or not NVIDIA's
        return 0


def no_clusters() -> str:
    """Why kernels can't be compiled in clusters now, for an `autotune` to offer none; empty where they can."""
    import triton

    if triton.knobs.runtime.interpret:
        return ""
    if capability() < 90:
        return f"clusters take sm_90 or later, and this is sm_{capability()}"
    if tuple(map(int, triton.__version__.split(".")[:2])) < CLUSTERS_SINCE:
        # Seen: 3.5 and 3.6 fail in TritonGPUPlanCTAPass where what was reduced has one dimension.
        return f"Triton {triton.__version__} cannot compile clusters; 3.9 can"
    return ""


def leave_out(tactic: int, reason: str) -> None:
    """Tell the build of a tactic that an `autotune` does not offer, for a reason that is this machine's."""
    if (told := _left_out.get()) is not None:
        told[tactic] = reason


@contextmanager
def left_out() -> Iterator[dict[int, str]]:
    """Tactics, with the reason, that were left out while this was open."""
    told: dict[int, str] = {}
    token = _left_out.set(told)
    try:
        yield told
    finally:
        _left_out.reset(token)


def _tensors_of_call() -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """The call's inputs and outputs, each with a label, off the frame of the `aot_impl`.

    A `TensorDesc` does not say which tensor of the call it is; but TensorRT enforces the parameters of an
    `aot_impl`: the inputs come first, `outputs` and `tactic` last.
    """
    frame = sys._getframe(2)
    while frame:
        code, local = frame.f_code, frame.f_locals
        names = code.co_varnames[: code.co_argcount]
        if names[-2:] == ("outputs", "tactic"):
            inputs = [(f"input {n}", local[n]) for n in names if isinstance(local[n], trtp.TensorDesc)]
            return inputs, [(f"outputs[{i}]", tensor) for i, tensor in enumerate(local["outputs"])]
        frame = frame.f_back  # type: ignore[assignment]
    raise DefinitionError("aot_kernel was called outside an aot_impl", hint="call it in the body of the aot_impl")


def _bind(fn: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The value of every parameter of the kernel, in the kernel's order."""
    if not hasattr(fn, "arg_names"):
        raise DefinitionError(f"{fn!r} is not a Triton kernel", hint="decorate the function with @triton.jit")
    parameters = signature(fn.fn).parameters
    defaults = {n: p.default for n, p in parameters.items() if p.default is not Parameter.empty}
    missing = [n for n in parameters if n not in arguments and n not in defaults]
    left_over = [n for n in arguments if n not in parameters]
    if missing or left_over:
        wrong = [f"is not given {', '.join(missing)}"] if missing else []
        wrong += [f"has no parameter {', '.join(left_over)}"] if left_over else []
        raise DefinitionError(f"{fn.__name__} {' and '.join(wrong)}", hint=f"it takes {', '.join(parameters)}")
    values = {n: _value(arguments.get(n, defaults.get(n))) for n in parameters}
    for name, value in values.items():
        if isinstance(value, trtp.TensorDesc | trtp.SymInt32) and "constexpr" in str(parameters[name].annotation):
            raise DefinitionError(
                f"{fn.__name__}: {name} is a tl.constexpr, but its value is only known when the engine runs",
                hint=f"drop tl.constexpr from {name}, or give it a constant",
            )
        if isinstance(value, trtp.SymExprs):
            raise DefinitionError(
                f"{fn.__name__}: {name} is a whole shape", hint=f"give one dimension: {name}=shape[0]"
            )
        if not isinstance(value, trtp.TensorDesc | trtp.SymInt32 | Hashable):
            raise DefinitionError(
                f"{fn.__name__}: {name} is a {type(value).__name__}, which cannot be compiled into a kernel",
                hint="give a tensor of the call, an expression of dimensions, an int, float, bool, str or None",
            )
    return values


def _value(value: Any) -> Any:
    """An argument with constant expressions and NumPy's scalars as plain numbers, others as `SymInt32`."""
    if isinstance(value, _tensor.SymIntExpr):
        # Not its is_constant, which TensorRT has for ShapeExpr only.
        if value._expr.is_constant():
            return value._expr.get_constant_value()
        return value if isinstance(value, trtp.SymInt32) else trtp.SymInt32(value)
    return value.item() if isinstance(value, np.generic) else value


def _parameter_of(fn: Any, label: str, tensor: Any, pointers: dict[str, Any]) -> str:
    for name, value in pointers.items():
        if value is tensor:
            return name
    raise DefinitionError(
        f"{fn.__name__} is not given {label}",
        hint="TensorRT passes a pointer for every input and output: give the kernel a parameter for it, if unused",
    )


def _wrapper(fn: Any, order: list[str], pointers: dict[str, Any], constants: dict[str, Any]) -> Any:
    """A `@triton.jit` function of the same name that takes `order` and calls `fn` with its own arguments."""
    import triton
    import triton.language as tl

    # A tensor that two of the kernel's parameters share arrives once.
    arrives_as = {id(pointers[n]): n for n in order if n in pointers}
    source = {n: arrives_as.get(id(tensor)) for n, tensor in pointers.items()}
    parameters = ", ".join([*order, *(f"{n}: tl.constexpr" for n in constants)])
    passed = ", ".join(f"{n}={source.get(n, n)}" for n in fn.arg_names)
    text = f"def {fn.__name__}({parameters}):\n    _kernel({passed})\n"
    filename = f"<aotfactory wrapper of {fn.fn.__module__}.{fn.__name__}({', '.join(order)})>"
    # Triton reads the source of a function through inspect, which asks linecache for files that do not exist.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope = {"tl": tl, "_kernel": fn, "__name__": fn.fn.__module__}
    exec(compile(text, filename, "exec"), scope)
    return triton.jit(scope[fn.__name__])


def _divisor(expr: Any) -> int:
    """The largest proved divisor of a symbolic integer; 1 under TensorRT's own expressions, which tell nothing."""
    return getattr(expr._expr, "divisor", lambda: 1)()
