# SPDX-License-Identifier: Apache-2.0
"""For authors of plugins: the body of an `aot_impl` in a few lines, from any Triton kernel as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Tuple, Union  # noqa: UP035  (TensorRT reads this very alias off an aot_impl's annotation)

from aotfactory.core import dtypes
from aotfactory.core.arch import shared_limiter
from aotfactory.core.errors import ConfigError, LaunchError
from aotfactory.core.limits import LIMITS
from aotfactory.plugins import autotuned, device, symbolic_ints, tensorrt_api, wrapper
from aotfactory.plugins.autotuned import Config, ConfigName, ConfigRefused
from aotfactory.plugins.call_tensors import CallTensors, tensors_of_call
from aotfactory.plugins.clusters import capability as capability
from aotfactory.plugins.clusters import leave_out as leave_out
from aotfactory.plugins.clusters import no_clusters as no_clusters
from aotfactory.plugins.cuda_launch import CudaLaunch
from aotfactory.plugins.for_library import (
    LibraryLaunch,
    LibraryName,
    SymbolicQuotient,
    Workspace,
    require_library,
    workspaces_among,
)
from aotfactory.plugins.kernel_arguments import Argument, Tree, bind, leaves

tensorrt_api.load()
import tensorrt.plugin as trtp  # noqa: E402

AotKernel = Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs]  # noqa: UP006, UP007
"""The result of an `aot_impl`: entry name, PTX, launch parameters, extra arguments."""

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

    For a plugin library (``--road library``) an expression that passes 2^31 - 1 within the profile becomes an int64
    argument, a `quotient` an fp32 one, and a `workspace` the pointer to memory of its own; see also `aot_kernels`.

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
    called = launch(fn, named, grid=grid, config=config, unused=unused, **arguments)
    return called.compile(tensors, called.workspaces)


@dataclass(frozen=True)
class Launch:
    """A kernel with its arguments, to be launched in a row with others."""

    fn: Any
    arguments: Mapping[str, Any]
    grid: Grid
    config: int | None
    unused: Sequence[Any]

    @property
    def workspaces(self) -> tuple[Workspace, ...]:
        """Those among the arguments, each once."""
        return workspaces_among(self.arguments.values())

    def compile(self, tensors: CallTensors, workspaces: Sequence[Workspace]) -> AotKernel:
        """The result for an `aot_impl` to return; all of these workspaces are passed, whether it takes them or not."""
        layers, kernel = autotuned.unwrap(self.fn)
        given, grid = self.arguments, self.grid
        refused: list[str] = []
        choices = autotuned.configs(layers, given, self.config)
        for choice in choices:
            try:
                settled = autotuned.settle(layers, given, choice)
                made = _compile(kernel, settled, grid, tensors, self.unused, workspaces, choice)
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


def launch(
    fn: Any,
    named: Mapping[str, Any] | None = None,
    /,
    *,
    grid: Grid,
    config: int | None = None,
    unused: Sequence[Any] = (),
    **arguments: Any,
) -> Launch:
    """One of the kernels of `aot_kernels`; takes what `aot_kernel` takes."""
    own = {"grid": grid, "config": config, "unused": unused}
    names = autotuned.unwrap(fn)[1].arg_names
    given = {n: v for n, v in own.items() if n in names} | arguments | dict(named or {})
    return Launch(fn, given, grid, config, unused)


def aot_kernels(*launches: Launch | CudaLaunch) -> AotKernel:
    """Compile several kernels for the call that is being built, which are launched one after the other.

    Called inside an `aot_impl`. Each takes of the call's tensors and workspaces what it needs, and sees what those
    before it wrote:

        counts = workspace(blocks, trt.int32)
        return aot_kernels(
            launch(count_kernel, x_ptr=inp0, counts_ptr=counts, BLOCK=1024, grid=blocks),
            launch(scan_kernel, counts_ptr=counts, total_ptr=outputs[1], grid=1),
        )

    More than one takes a plugin library (``--road library``).

    Args:
        launches: At least one, and at most 16, each made by `launch`, or by `launch_cuda` of CUDA C++.

    Returns:
        What an `aot_impl` has to return.

    Raises:
        DefinitionError: The arguments do not fit the kernels or the call; or the kernels are for AOT plugins.
    """
    if not 1 <= len(launches) <= LIMITS["kernels"]:
        raise LaunchError(f"{len(launches)} kernels in a row", hint=f"give 1 to {LIMITS['kernels']}")
    if len(launches) > 1:
        require_library("several kernels in a row")
    tensors = tensors_of_call("aot_kernels")
    workspaces = tuple({id(w): w for one in launches for w in one.workspaces}.values())
    given = [value for one in launches for value in (*one.arguments.values(), *one.unused)]
    # Each may leave what another takes; what none takes is found to be missing.
    taken = [tensor for _, tensor in (*tensors.inputs, *tensors.outputs) if any(value is tensor for value in given)]
    row = [replace(one, unused=taken).compile(tensors, workspaces) for one in launches]
    (name, ptx, first, extra), *then = row
    if not then:
        return row[0]
    more = getattr(name, "library", LibraryLaunch(extra_args=list(extra), workspaces=workspaces))
    return LibraryName.of(name, replace(more, then=then)), ptx, first, extra


def _compile(
    kernel: Any,
    values: dict[str, Any],
    grid: Grid,
    tensors: CallTensors,
    unused: Sequence[Any],
    workspaces: Sequence[Workspace],
    config: Config,
) -> AotKernel:
    import triton
    from triton.backends.nvidia.compiler import CUDAOptions
    from triton.compiler import ASTSource, CompilationError

    fields = CUDAOptions.__dataclass_fields__
    options = {n: v for n, v in values.items() if n in fields and v is not None}
    trees = bind(kernel, {n: v for n, v in values.items() if n in kernel.arg_names or n not in fields})
    arguments = [leaf for tree in trees.values() for leaf in leaves(tree)]
    taken = {a.name: a.value for a in arguments if a.is_pointer and not isinstance(a.value, Workspace)}
    pointers = tensors.pointers(kernel.__name__, taken, unused, {a.name for a in arguments}, "aot_kernel")
    extra = {a.name: a for a in arguments if a.is_extra}
    count = len(tensors.inputs)
    own = {id(a.value): a.name for a in reversed(arguments) if isinstance(a.value, Workspace)}
    shared = {own.get(id(w), f"unused_workspace_{i}"): w for i, w in enumerate(workspaces)}
    order = [*list(pointers)[:count], *extra, *list(pointers)[count:], *shared]
    pointers |= shared
    if wrapper.is_needed(kernel, trees, order):
        entry = wrapper.wrap(kernel, trees, order, {id(tensor): n for n, tensor in reversed(pointers.items())})
    else:
        entry = kernel
    names: list[str] = entry.arg_names
    integers = {n: a.value for n, a in extra.items() if not isinstance(a.value, SymbolicQuotient)}
    aligned = [*pointers, *(n for n, value in integers.items() if symbolic_ints.divisor(value) % ALIGNMENT == 0)]
    types = {n: f"*{dtypes.of_trt(t.dtype).triton}" for n, t in pointers.items()}
    types |= {n: a.kind or "i32" for n, a in extra.items()}
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
    launched = trtp.KernelLaunchParams(programs if num_ctas == 1 else programs * num_ctas, *others)
    launched.block_x = metadata.num_warps * 32
    launched.shared_mem = metadata.shared
    name = ConfigName.of(metadata.name, config.number) if config.number else metadata.name
    if shared or len(integers) < len(extra):
        more = LibraryLaunch(extra_args=[a.value for a in extra.values()], workspaces=list(shared.values()))
        name = LibraryName.of(name, more)
    return name, compiled.asm["ptx"], launched, trtp.SymIntExprs.from_tuple(list(integers.values()))


def _extents(grid: Grid, values: Mapping[str, Any], trees: Mapping[str, Tree]) -> list[Any]:
    if callable(grid) and not isinstance(grid, symbolic_ints.SymInt):  # which is callable, too
        defaults = {n: tree.value for n, tree in trees.items() if isinstance(tree, Argument)}
        grid = grid({**defaults, **values})
    extents = [symbolic_ints.folded(e) for e in (grid if isinstance(grid, Sequence) else [grid])]
    if not 1 <= len(extents) <= 3:
        raise LaunchError(f"the grid has {len(extents)} extents", hint="give x, or (x, y), or (x, y, z)")
    return extents
