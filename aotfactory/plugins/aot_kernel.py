# SPDX-License-Identifier: Apache-2.0
"""For authors of plugins: the body of an `aot_impl` in a few lines, from any Triton kernel as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Tuple, Union  # noqa: UP035  (TensorRT reads this very alias off an aot_impl's annotation)

from aotfactory.core import dtypes
from aotfactory.core.arch import shared_limiter
from aotfactory.core.errors import ConfigError, LaunchError
from aotfactory.plugins import autotuned, device, symbolic_ints, tensorrt_api, wrapper
from aotfactory.plugins.autotuned import Config, ConfigName, ConfigRefused
from aotfactory.plugins.call_tensors import CallTensors, tensors_of_call
from aotfactory.plugins.clusters import capability as capability
from aotfactory.plugins.clusters import leave_out as leave_out
from aotfactory.plugins.clusters import no_clusters as no_clusters
from aotfactory.plugins.kernel_arguments import Argument, Tree, bind, leaves

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402

AotKernel = Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs]  # noqa: UP006, UP007
"""What an `aot_impl` returns: entry name, PTX, launch parameters, extra arguments."""

ALIGNMENT = 16
"""Bytes that a pointer, and the number that a hinted integer, is declared to be divisible by: one vector access."""

Grid = Any | Sequence[Any] | Callable[[Mapping[str, Any]], Any]


def aot_kernel(
    fn: Any,
    named: Mapping[str, Any] | None = None,
    /,
    *,
    grid: Grid,
    config: int | None = None,
    unused: Sequence[Any] = (),
    **arguments: Any,
) -> AotKernel:
    """Compile a Triton kernel for the call that is being built, in TensorRT's calling convention.

    Called inside an `aot_impl`. Every parameter of the kernel is given by its name, in any order:

    * a `TensorDesc` (an input of the call, or an item of `outputs`) becomes the pointer to that tensor, declared
      16-byte aligned (TensorRT aligns tensors to 256 bytes);
    * an integer, or an expression of dimensions, is folded into the kernel where it is constant; else it becomes an
      int32 extra argument, declared divisible by 16 where the optimization profile proves it;
    * a float, string, bool, `tl.dtype` or None is compiled in.

    Inside the kernel, numbers have the type that Triton's own launch gives them: int32 or int64 by size, fp32, what
    the parameter is annotated with; those of `tl.constexpr` parameters are constants.

    Where TensorRT's arguments and order (inputs, extra arguments, outputs) are not the kernel's, a Triton wrapper that
    takes them is compiled instead. It costs nothing: Triton inlines the kernel into it, and folds the constants.

    Args:
        fn: A `@triton.jit` function, also under `triton.autotune`, `triton.heuristics` and wrappers like them.
        named: Arguments too, for parameters called `grid`, `config` or `unused`.
        grid: Number of programs along x, or along (x, y, z): integers or `shape_expr` arithmetic; or a function of
            the arguments, as Triton takes it.
        config: Which config of an autotuned kernel to take, from 1: the tactic, where `autotune` offers
            `tactics_of(fn)`. None: the first that a plan can launch; none, if the tuned values are all given.
        unused: Inputs that the kernel does not take, as only their shapes matter.
        arguments: The kernel's parameters, and Triton's launch options (`num_warps`, `num_stages`, `num_ctas`,
            `maxnreg`, `enable_fp_fusion`, ...). A name that is both is given to both, as Triton does.

    Returns:
        What an `aot_impl` has to return.

    Raises:
        DefinitionError: The arguments do not fit the kernel or the call.
    """
    tensors = tensors_of_call("aot_kernel")
    layers, kernel = autotuned.unwrap(fn)
    own = {"grid": grid, "config": config, "unused": unused}
    given = {n: v for n, v in own.items() if n in kernel.arg_names} | arguments | dict(named or {})
    refused: list[str] = []
    choices = autotuned.configs(layers, given, config)
    for choice in choices:
        try:
            made = _compile(kernel, autotuned.settle(layers, given, choice), grid, tensors, unused, choice)
        except ConfigRefused as refusal:
            if len(choices) == 1:
                raise
            refused.append(refusal.message)
        else:
            return made
    raise ConfigError(
        f"{kernel.__name__}: a plan can launch none of its {len(choices)} configs: {'; '.join(refused)}",
        hint="give the tuned values as arguments of aot_kernel",
    )


def _compile(
    kernel: Any, values: dict[str, Any], grid: Grid, tensors: CallTensors, unused: Sequence[Any], config: Config
) -> AotKernel:
    import triton
    from triton.backends.nvidia.compiler import CUDAOptions
    from triton.compiler import ASTSource, CompilationError

    fields = CUDAOptions.__dataclass_fields__
    options = {n: v for n, v in values.items() if n in fields and v is not None}
    trees = bind(kernel, {n: v for n, v in values.items() if n in kernel.arg_names or n not in fields})
    arguments = [leaf for tree in trees.values() for leaf in leaves(tree)]
    taken = {a.name: a.value for a in arguments if a.is_pointer}
    pointers = tensors.pointers(kernel.__name__, taken, unused, {a.name for a in arguments}, "aot_kernel")
    extra = {a.name: a for a in arguments if a.is_extra}
    count = len(tensors.inputs)
    order = [*list(pointers)[:count], *extra, *list(pointers)[count:]]
    if wrapper.is_needed(kernel, trees, order):
        entry = wrapper.wrap(kernel, trees, order, {id(tensor): n for n, tensor in reversed(pointers.items())})
    else:
        entry = kernel
    names: list[str] = entry.arg_names
    aligned = [*pointers, *(n for n, a in extra.items() if symbolic_ints.divisor(a.value) % ALIGNMENT == 0)]
    types = {n: f"*{dtypes.of_trt(t.dtype).triton}" for n, t in pointers.items()} | dict.fromkeys(extra, "i32")
    source = ASTSource(
        entry,
        {n: types.get(n, "constexpr") for n in names},
        constexprs={(names.index(a.name),): a.value for a in arguments if a.is_constant},
        attrs={(names.index(n),): [["tt.divisibility", ALIGNMENT]] for n in aligned},
    )
    num_ctas = options.get("num_ctas", 1)
    if num_ctas != 1 and (reason := no_clusters()):
        text = f"{kernel.__name__}: num_ctas={num_ctas}, but {reason}"
        raise ConfigRefused(text) if config.number else ConfigError(text, hint="leave this tactic out here")
    try:
        compiled = triton.compile(source, options=options)
    except CompilationError as error:
        # The outermost tells only where the wrapper calls the kernel.
        cause: BaseException = error
        while isinstance(cause.__cause__, CompilationError):
            cause = cause.__cause__
        if config.number:
            raise ConfigRefused(f"{config} is refused by Triton: {str(cause).splitlines()[-1]}") from error
        raise cause from None
    except RuntimeError as error:  # a pass of the compiler failed
        if config.number:
            raise ConfigRefused(f"{config} is refused by Triton: {str(error).splitlines()[-1]}") from error
        raise
    metadata = compiled.metadata
    if config.number and metadata.shared > (limit := device.shared_limit()):
        raise ConfigRefused(
            f"{config} needs {metadata.shared} bytes of shared memory, {shared_limiter(limit)} at most {limit}"
        )
    programs, *others = _extents(grid, values, trees)
    # A launch counts blocks, of which a cluster has several for each program.
    launch = trtp.KernelLaunchParams(programs if num_ctas == 1 else programs * num_ctas, *others)
    launch.block_x = metadata.num_warps * 32
    launch.shared_mem = metadata.shared
    name = ConfigName.of(metadata.name, config.number) if config.number else metadata.name
    return name, compiled.asm["ptx"], launch, trtp.SymIntExprs.from_tuple([a.value for a in extra.values()])


def _extents(grid: Grid, values: Mapping[str, Any], trees: Mapping[str, Tree]) -> list[Any]:
    if callable(grid) and not isinstance(grid, symbolic_ints.SymInt):  # which is callable, too
        defaults = {n: tree.value for n, tree in trees.items() if isinstance(tree, Argument)}
        grid = grid({**defaults, **values})
    extents = [symbolic_ints.folded(e) for e in (grid if isinstance(grid, Sequence) else [grid])]
    if not 1 <= len(extents) <= 3:
        raise LaunchError(f"the grid has {len(extents)} extents", hint="give x, or (x, y), or (x, y, z)")
    return extents
