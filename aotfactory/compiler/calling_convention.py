# SPDX-License-Identifier: Apache-2.0
"""Fit a kernel to the calling convention of TensorRT's AOT plugins, or refuse it with the reason.

TensorRT launches the kernel with one pointer per input, then the extra arguments (int32), then one pointer per output,
and nothing else: no scratch memory, no cluster that the launch would have to ask for, no cooperative launch. A plugin
library also passes int64 and fp32, after the outputs a pointer for each workspace, and asks for clusters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aotfactory.compiler import cluster_barriers
from aotfactory.compiler.ptx import NAME, VERSION, Entry, Module, Parameter, parse_module, shared_memory, uses
from aotfactory.core.arch import SHARED_LIMIT, TARGET_ISA, Arch, PtxIsa, shared_limiter
from aotfactory.core.errors import CallingConventionError, DefinitionError
from aotfactory.core.limits import LIMITS

TENSOR_ALIGNMENT = 256
"""Bytes that TensorRT aligns engine inputs and outputs to (NvInferRuntime.h)."""

_CONVENTION = "TensorRT passes the inputs' pointers, the extra arguments as int32, the outputs' pointers, in this order"
_SCALARS = {"i32": {"i32"}, "i64": {"i64", "u64"}, "fp32": {"f32", "i32"}}
"""How PTX may declare an extra argument: of its size, with or without its type."""

_PLAIN_LAUNCH = "TensorRT's AOT plugins launch a plain grid of blocks"
PORTABLE_CLUSTER = LIMITS["portable_cluster"]
"""Blocks; more take an attribute that only a plugin library sets, and not every GPU that has clusters may run them
(CUDA C++ Programming Guide, "Thread Block Clusters").
"""
_CLUSTERS = (
    r"%n?clusterid\b|%cluster_\w+|\bbarrier\.cluster\b|\bmapa\b",
    "it works in thread block clusters",
    f"{_PLAIN_LAUNCH}, so the PTX must have .reqnctapercluster: compile with __cluster_dims__, for Triton num_ctas",
)
_FORBIDDEN = (
    (
        r"%envreg[12]\b",
        "it synchronises the whole grid, which needs a cooperative launch",
        f"{_PLAIN_LAUNCH}; split the work into two plugins, or let one block do the last step",
    ),
    (
        r"\bgriddepcontrol\b",
        "it waits for or starts dependent launches",
        f"{_PLAIN_LAUNCH}; compile without launch_pdl and without griddepcontrol",
    ),
    (
        r"\btcgen05\.alloc\b",
        "it uses tensor memory",
        "TensorRT's AOT plugins are not known to support it; compile for portable or sm_90",
    ),
)


@dataclass(frozen=True, kw_only=True)
class FittedKernel:
    """A module whose kernel takes exactly what TensorRT passes.

    Attributes:
        text: The PTX, without comments and line info.
        parameters: ``ptr``, ``i32``, ``i64`` or ``fp32`` for each parameter, in order.
        removed: The names of Triton's hidden parameters that were taken out.
        unused: Positions of parameters that the kernel never reads.
        shared_static: Bytes of shared memory that the kernel declares.
        cluster: Blocks of a cluster in x, y, z, which the PTX itself states; a plain launch honours it.
        cluster_at_launch: The same where only the launch states it; else None.
    """

    text: str
    entry: str
    isa: PtxIsa
    target: str
    parameters: tuple[str, ...]
    removed: tuple[str, ...]
    unused: tuple[int, ...]
    shared_static: int
    cluster: tuple[int, int, int]
    cluster_at_launch: tuple[int, int, int] | None = None


def fit(
    text: str,
    *,
    entry: str,
    inputs: int,
    extra_args: int | Sequence[str],
    outputs: int,
    workspaces: int = 0,
    aliased: Collection[int] = (),
    block: tuple[int, int, int] | None = None,
    shared_mem: int | None = None,
    isa: PtxIsa | None = None,
    arch: Arch | None = None,
    new_name: str | None = None,
    cluster: tuple[int, int, int] | None = None,
    largest_cluster: int = PORTABLE_CLUSTER,
) -> FittedKernel:
    """Fits a kernel to TensorRT's calling convention; the same text in gives the same bytes out.

    Args:
        inputs, extra_args, outputs: How many of each the call has; or the types of the extra arguments.
        workspaces: How many a plugin library passes.
        aliased: The outputs (from 0) that share an input's buffer, so that the kernel need not use their pointer.
        block: The threads of a block in x, y, z, checked against what the kernel demands; None: not checked.
        shared_mem: The launch's dynamic shared memory in bytes, if known. `check_shared` checks its amount.
        isa: The newest PTX ISA to write; an older text stays as it is.
        arch: What must be able to run it; None: not checked.
        new_name: The name that the kernel gets.
        cluster: Blocks of a cluster in x, y, z that a plugin library's launch states.
        largest_cluster: Blocks of the largest that the road takes.

    Raises:
        DefinitionError: The kernel cannot be an AOT plugin's: why, and what to do.
    """
    module = parse_module(text)
    kernel = module.entry(entry)
    kinds = ("i32",) * extra_args if isinstance(extra_args, int) else tuple(extra_args)
    expected = (
        *(("ptr", f"input {i}") for i in range(inputs)),
        *((kind, f"extra argument {i}") for i, kind in enumerate(kinds)),
        *(("ptr", f"output {i}") for i in range(outputs)),
        *(("ptr", f"workspace {i}") for i in range(workspaces)),
    )
    removed = _hidden(module, kernel, expected)
    body, kept = module.body(kernel), kernel.parameters[: len(expected)]
    _check_kinds(kernel, kept, expected)
    unused = tuple(i for i, parameter in enumerate(kept) if not uses(body, parameter.name))
    for output in range(outputs):
        position = inputs + len(kinds) + output
        if position in unused and output not in aliased:
            raise _refusal(
                kernel,
                f"it never uses the pointer of output {output} (parameter {kept[position].name})",
                f"write that output, or add the missing parameter: {_CONVENTION}",
            )
    stated = _cluster(module, kernel, arch, cluster, largest_cluster)
    _check_launch(module, kernel, block)
    static, dynamic = shared_memory(module.reach(kernel))
    if dynamic and shared_mem == 0:
        hint = "set launch.shared_mem to what the kernel needs; Triton's metadata.shared says how much"
        raise _refusal(kernel, "it uses dynamic shared memory, but the launch gives it 0 bytes", hint)
    version = min(module.version, isa or module.version)
    _check_target(module, kernel, version, arch)
    return FittedKernel(
        text=_rewrite(module, kernel, kept, version, new_name or entry, shared=bool(aliased or workspaces)),
        entry=new_name or entry,
        isa=version,
        target=module.target,
        parameters=tuple(kind for kind, _ in expected),
        removed=removed,
        unused=unused,
        shared_static=static,
        cluster=stated,
        cluster_at_launch=cluster if cluster is not None and stated == (1, 1, 1) else None,
    )


def _refusal(kernel: Entry, what: str, hint: str) -> DefinitionError:
    return CallingConventionError(f"kernel {kernel.name}: {what}", where=f"PTX line {kernel.line}", hint=hint)


def _hidden(module: Module, kernel: Entry, expected: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The names of Triton's hidden parameters, after a check that the kernel does not use them.

    Triton 3.3 and 3.4 append global_scratch, 3.5 and later also profile_scratch, and nothing marks them.
    """
    extra = kernel.parameters[len(expected) :]
    if len(kernel.parameters) < len(expected) or len(extra) > 2 or any(p.kind != "ptr" for p in extra):
        kinds = ", ".join(parameter.kind for parameter in kernel.parameters)
        passed = ", ".join(kind for kind, _ in expected)
        raise _refusal(
            kernel,
            f"it takes {len(kernel.parameters)} parameters ({kinds}), TensorRT passes {len(expected)} ({passed})",
            f"{_CONVENTION}; constexpr arguments do not count, and Triton may append two pointers of its own",
        )
    used = [parameter.name for parameter in extra if uses(module.body(kernel), parameter.name)]
    if used:
        raise _refusal(
            kernel,
            f"it uses {', '.join(used)} after the {len(expected)} parameters that TensorRT passes: Triton's scratch "
            "memory, which an AOT plugin cannot have, or a parameter too many",
            "no tensor descriptors made in the kernel (tl.make_tensor_descriptor), no profiling; use plain pointers",
        )
    return tuple(parameter.name for parameter in extra)


def require_parameters(kernel: Entry, kinds: Sequence[str]) -> None:
    """Hold a fitted kernel against what it is to be passed: ``ptr``, ``i32``, ``i64`` or ``fp32``, in order.

    Raises:
        DefinitionError: It takes other parameters, or another number of them.
    """
    if len(kernel.parameters) != len(kinds):
        raise CallingConventionError(
            f"kernel {kernel.name} takes {len(kernel.parameters)} parameters, the call passes {len(kinds)}"
        )
    _check_kinds(kernel, kernel.parameters, tuple((kind, "as the call has it") for kind in kinds))


def _check_kinds(kernel: Entry, kept: tuple[Parameter, ...], expected: tuple[tuple[str, str], ...]) -> None:
    # A compiler that marks pointers marks them all; one that marks none leaves 64-bit integers and pointers alike.
    pointers = {"ptr"} if any(parameter.kind == "ptr" for parameter in kernel.parameters) else {"u64"}
    for position, (parameter, (kind, meaning)) in enumerate(zip(kept, expected, strict=True)):
        if parameter.kind not in {"ptr": pointers, **_SCALARS}[kind]:
            passed = {"ptr": "a pointer", "i64": "an int64", "fp32": "an fp32"}.get(kind, "an int32")
            raise _refusal(
                kernel,
                f"parameter {position} ({parameter.name}) is declared as {parameter.kind}, "
                f"TensorRT passes {passed} there ({meaning})",
                _CONVENTION,
            )


def _cluster(
    module: Module, kernel: Entry, arch: Arch | None, given: tuple[int, int, int] | None, largest: int
) -> tuple[int, int, int]:
    """The cluster's extents that the PTX states, (1, 1, 1) where there is none.

    Args:
        given: What the launch states, which is the same then.
        largest: Blocks that are taken.

    Raises:
        DefinitionError: The launch would have to state it, or not every GPU that the PTX is for can launch it.
    """
    directives = kernel.directives
    stated = {"explicitcluster", "blocksareclusters", "reqnctapercluster"} & set(directives)
    x, y, z = (*directives.get("reqnctapercluster", ()), 1, 1, 1)[:3]
    if given is not None and "reqnctapercluster" in stated and given != (x, y, z):
        raise _refusal(
            kernel,
            f"it is compiled for clusters of {(x, y, z)} blocks (.reqnctapercluster), the launch has {given}",
            "leave the cluster out of the launch",
        )
    if given is not None and "reqnctapercluster" not in stated:
        stated, (x, y, z) = set(), given
    size = x * y * z
    # Without a size the driver answers CUDA_ERROR_INVALID_CLUSTER_SIZE.
    if stated and ("blocksareclusters" in stated or "reqnctapercluster" not in stated or size < 1):
        raise _refusal(
            kernel,
            f"it demands a launch in clusters (.{min(stated)}), and does not state their size",
            f"{_PLAIN_LAUNCH}; state it in the PTX (.reqnctapercluster): compile with __cluster_dims__(x, y, z)",
        )
    if size > largest:
        more = f", a plugin library's (--road library) of at most {LIMITS['cluster']}"
        raise _refusal(
            kernel,
            f"it demands clusters of {size} blocks",
            f"a plain launch has clusters of at most {PORTABLE_CLUSTER}{more}: for Triton num_ctas",
        )
    if size > 1 and arch is not None and (arch.name == "portable" or arch.capability < 90):
        raise _refusal(
            kernel,
            f"it works in clusters of {size} blocks, which {arch} does not have",
            "clusters take an exact architecture from sm_90 on, as in --arch sm_90; or leave this tactic out there",
        )
    found = re.search(_CLUSTERS[0], module.reach(kernel))
    if found and given is None and "reqnctapercluster" not in stated:
        raise _refusal(kernel, f"{_CLUSTERS[1]} ({found[0]}), and does not state their size", _CLUSTERS[2])
    return (x, y, z) if "reqnctapercluster" in stated else (1, 1, 1)


def _check_launch(module: Module, kernel: Entry, block: tuple[int, int, int] | None) -> None:
    directives = kernel.directives
    for pattern, what, hint in _FORBIDDEN:
        found = re.search(pattern, module.reach(kernel))
        if found:
            raise _refusal(kernel, f"{what} ({found[0]})", hint)
    required = (*directives.get("reqntid", ()), 1, 1, 1)[:3]
    if block and "reqntid" in directives and required != block:
        raise _refusal(
            kernel,
            f"it is compiled for blocks of {required} threads (.reqntid), the launch has {block}",
            "for Triton set launch.block_x to 32 * num_warps, y and z to 1",
        )
    most = math.prod(directives.get("maxntid", (1024,)))
    if block and math.prod(block) > most:
        raise _refusal(
            kernel,
            f"it allows blocks of at most {most} threads, the launch has {math.prod(block)}",
            "make the block smaller, or raise the first number of __launch_bounds__ (at most 1024)",
        )


def _check_target(module: Module, kernel: Entry, version: PtxIsa, arch: Arch | None) -> None:
    if arch is not None and not arch.runs(module.target):
        raise _refusal(
            kernel,
            f"it is compiled for {module.target}, which does not run on {arch}",
            f"compile it for {arch.target}; arch-specific targets (sm_90a) run on their own architecture only",
        )
    oldest = TARGET_ISA.get(module.target)
    if oldest and version < oldest:
        raise _refusal(
            kernel,
            f"PTX ISA {version} does not know {module.target}, which needs {oldest}",
            f"ask for ISA {oldest} or newer, or for an older architecture",
        )


def _rewrite(
    module: Module, kernel: Entry, kept: tuple[Parameter, ...], version: PtxIsa, name: str, *, shared: bool
) -> str:
    if not re.fullmatch(r"[A-Za-z][\w$]*|[_$%][\w$]+", name):
        raise CallingConventionError(f"{name!r} cannot be the name of a kernel", hint="use letters, digits and _")
    if name != kernel.name and uses(module.text, name):
        raise _refusal(kernel, f"the new name {name} is already used in the PTX", "choose another one")
    # Only where the kernel is declared: elsewhere the same word may be an instruction, such as `add`.
    edits = [
        (found.span(1), name) for found in re.finditer(rf"\.entry\s+({NAME})", module.text) if found[1] == kernel.name
    ]
    if kept != kernel.parameters:
        edits.append((kernel.parameters_span, ",".join(f"\n\t{parameter.source}" for parameter in kept) + "\n"))
    offset = kernel.body_span[0]
    edits += [
        ((offset + edit.start, offset + edit.end), edit.text)
        for edit in cluster_barriers.edits(module.body(kernel), version, shared=shared)
    ]
    text = module.text
    for (start, end), new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    text = VERSION.sub(lambda found: found[0].replace(found[1], str(version)), text, count=1)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip())


def check_shared(kernel: FittedKernel, dynamic: int, limit: int = SHARED_LIMIT) -> None:
    """Refuses a kernel that its launcher cannot give its shared memory.

    Args:
        dynamic: The launch's shared memory in bytes, on top of what the kernel declares.
        limit: See `shared_limit`.

    Raises:
        DefinitionError: The two are more than the limit.
    """
    if kernel.shared_static + dynamic > limit:
        raise CallingConventionError(
            f"kernel {kernel.entry}: {kernel.shared_static + dynamic} bytes of shared memory, "
            f"{shared_limiter(limit)} at most {limit}",
            hint="use smaller blocks or fewer num_stages"
            + ("; a plugin library has more: --road library" if limit == SHARED_LIMIT else ""),
        )


def plain_target(text: str) -> str:
    """The PTX with ``.target sm_90a`` or ``sm_100f`` made plain: worth keeping if ptxas accepts it."""
    return re.sub(r"^([^\S\n]*\.target\s+sm_\d+)[af]\b", r"\1", text, count=1, flags=re.MULTILINE)
