# SPDX-License-Identifier: Apache-2.0
"""PTX as text: read a module, fit one kernel of it to TensorRT's calling convention, assemble it.

TensorRT launches an AOT plugin's kernel with one pointer per input, then the extra arguments (int32), then one
pointer per output, and nothing else: no scratch memory, no cluster, no cooperative launch.
Grammar: NVIDIA's "PTX ISA", sections 5.4 (variables), 10.2 (.entry) and 11 (directives).
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import re
import subprocess
import sysconfig
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from aotfactory.arch import TARGET_ISA, Arch, PtxIsa, Target, cuda_isa
from aotfactory.errors import CheckError, DefinitionError, MissingError

SHARED_LIMIT = 48 * 1024
"""Bytes of shared memory that a kernel gets without asking the driver for more, which TensorRT does not."""

_NAME = r"[A-Za-z_$%][\w$]*"
_INT = r"(?:0[xX][0-9a-fA-F]+|\d+)U?"
_COMMENT = re.compile(r'"[^"\n]*"|//[^\n]*|/\*.*?\*/|/\*', re.DOTALL)
_LINE_INFO = re.compile(
    r"\.loc\s+\d+\s+\d+\s+\d+(?:\s*,\s*function_name\s+[\w$%]+(?:\s*\+\s*\d+)?\s*,\s*inlined_at\s+\d+\s+\d+\s+\d+)?"
    r'|\.file\s+\d+\s+"[^"\n]*"(?:\s*,\s*\d+\s*,\s*\d+)?|\.section\s+"?\.(?:nv_)?debug_\w*"?\s*\{[^{}]*\}'
)
_TARGET_DEBUG = re.compile(r"^(\s*\.target\b[^\n]*?),\s*debug\b", re.MULTILINE)
_VERSION = re.compile(r"^\s*\.version\s+(\d+\.\d)\b", re.MULTILINE)
_TARGET = re.compile(r"^\s*\.target\s+(\w+)", re.MULTILINE)
_ADDRESS_SIZE = re.compile(r"^\s*\.address_size\s+(\d+)", re.MULTILINE)
_ENTRY = re.compile(
    rf"\.entry\s+(?P<name>{_NAME})\s*(?:\((?P<parameters>[^()]*)\)\s*)?"
    rf'(?P<directives>(?:\.pragma\s*"[^"\n]*"\s*;\s*|\.\w+(?:\s+{_INT}(?:\s*,\s*{_INT})*)?\s*)*)(?P<end>[{{;])'
)
_PARAMETER = re.compile(
    rf"\s*\.param\b\s*(?P<attributes>(?:\.\w+\b\s*(?:{_INT}\b\s*)?)+)(?P<name>{_NAME})\s*(?P<array>\[[^\]]*\])?\s*"
)
_DIRECTIVE = re.compile(rf"\.(\w+)((?:\s+{_INT}(?:\s*,\s*{_INT})*)?)")
_SHARED = re.compile(
    rf"(?:\.(?P<extern>extern)\s+)?(?<![\w.:])\.shared\b(?P<attributes>(?:\s*\.\w+(?:\s+{_INT}\b)?)*)(?P<names>[^;]*);"
)
_KIND = {
    **dict.fromkeys(("u64", "b64"), "u64"),
    **dict.fromkeys(("u32", "s32", "b32"), "i32"),
    **dict.fromkeys(("u16", "s16", "b16"), "i16"),
    **dict.fromkeys(("u8", "s8", "b8"), "i8"),
    "s64": "i64",
}
_CONVENTION = "TensorRT passes the inputs' pointers, the extra arguments as int32, the outputs' pointers, in this order"
_PLAIN_LAUNCH = "TensorRT's AOT plugins launch a plain grid of blocks"
_FORBIDDEN = (
    (
        r"%n?clusterid\b|%cluster_\w+|\bbarrier\.cluster\b|\bmapa\b",
        "it works in thread block clusters",
        f"{_PLAIN_LAUNCH}; compile with num_ctas=1 or write the kernel without clusters",
    ),
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
class Parameter:
    """One kernel parameter.

    Attributes:
        kind: ``ptr`` (64 bits declared ``.ptr``), ``u64`` (64 bits with no more said: NVRTC's pointers and 64-bit
            integers), ``i32``, ``i64``, ``i16``, ``i8``, ``f32``, ..., or ``bytes`` (structs, tensor maps).
        source: The declaration as written.
    """

    name: str
    kind: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One kernel of a module. The spans are offsets into `Module.text`; ``body`` excludes its braces.

    Attributes:
        directives: What stands between parameters and body, such as ``{"reqntid": (128,)}``.
        line: The line of ``.entry`` in the text that was parsed, from 1.
    """

    name: str
    parameters: tuple[Parameter, ...]
    directives: Mapping[str, tuple[int, ...]]
    line: int
    name_span: tuple[int, int]
    parameters_span: tuple[int, int]
    body_span: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Module:
    """A PTX module. ``text`` has neither comments nor line info, and the line numbers of what was parsed."""

    text: str
    version: PtxIsa
    target: str
    entries: tuple[Entry, ...]

    def entry(self, name: str) -> Entry:
        """The kernel of this name. Raises DefinitionError, which lists the kernels there are."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise DefinitionError(
            f"the PTX has no kernel {name!r}; it has {', '.join(entry.name for entry in self.entries)}",
            hint='aot_impl must return the name of the .entry; CUDA C++ mangles names unless they are extern "C"',
        )

    def body(self, entry: Entry) -> str:
        """The kernel's own instructions."""
        return self.text[slice(*entry.body_span)]

    def reach(self, entry: Entry) -> str:
        """All that may belong to the kernel: its body, the module's variables and functions, not other kernels."""
        text, position = "", 0
        for other in self.entries:
            if other is not entry:
                text += self.text[position : other.body_span[0]]
                position = other.body_span[1]
        return text + self.text[position:]


def parse_module(text: str) -> Module:
    """Reads a PTX module.

    Raises:
        DefinitionError: The text is not a 64-bit PTX module with at least one kernel; says what and at which line.
    """
    text = _strip(text.rstrip("\0").replace("\r\n", "\n"))
    version, target = _header(text, _VERSION, ".version"), _header(text, _TARGET, ".target")
    Target.parse(target)
    address_size = _ADDRESS_SIZE.search(text)
    if address_size and address_size[1] != "64":
        raise _malformed(text, address_size.end(), f"addresses of {address_size[1]} bits, only 64 are supported")
    entries = tuple(filter(None, (_entry(text, found.start()) for found in re.finditer(r"\.entry\b", text))))
    if not entries:
        raise DefinitionError("the PTX has no kernel", hint="mark it __global__, in hand-written PTX .visible .entry")
    return Module(text=text, version=PtxIsa.parse(version), target=target, entries=entries)


def _malformed(text: str, position: int, what: str) -> DefinitionError:
    return DefinitionError(f"malformed PTX: {what}", where=f"PTX line {text.count(chr(10), 0, position) + 1}")


def _strip(text: str) -> str:
    """Blanks comments and line info, keeping every line where it is."""

    def comment(found: re.Match[str]) -> str:
        if found[0] == "/*":
            raise _malformed(text, found.start(), "a comment that does not end")
        return found[0] if found[0].startswith('"') else " " + "\n" * found[0].count("\n")

    text = _LINE_INFO.sub(lambda found: "\n" * found[0].count("\n"), _COMMENT.sub(comment, text))
    return _TARGET_DEBUG.sub(r"\1", text)


def _header(text: str, pattern: re.Pattern[str], name: str) -> str:
    found = pattern.search(text)
    if not found:
        raise DefinitionError(f"malformed PTX: no {name} directive", hint="give the PTX text, not a cubin or a path")
    return found[1]


def _entry(text: str, start: int) -> Entry | None:
    """The kernel whose ``.entry`` is at ``start``; None for a declaration without a body."""
    found = _ENTRY.match(text, start)
    if not found:
        raise _malformed(text, start, "cannot read this .entry")
    if found["end"] == ";":
        return None
    parameters, position = [], found.start("parameters")
    for piece in (found["parameters"] or "").split(",") if (found["parameters"] or "").strip() else ():
        parsed = _PARAMETER.fullmatch(piece)
        if not parsed:
            at = position + len(piece) - len(piece.lstrip())
            raise _malformed(text, at, f"cannot read the parameter {piece.strip()!r} of {found['name']}")
        kind = _kind(parsed["attributes"], parsed["array"])
        parameters.append(Parameter(name=parsed["name"], kind=kind, source=piece.strip()))
        position += len(piece) + 1
    directives = {
        name: tuple(_int(number) for number in numbers.split(",") if number.strip())
        for name, numbers in _DIRECTIVE.findall(re.sub(r'"[^"\n]*"', "", found["directives"]))
    }
    return Entry(
        name=found["name"],
        parameters=tuple(parameters),
        directives=directives,
        line=text.count("\n", 0, start) + 1,
        name_span=found.span("name"),
        parameters_span=found.span("parameters"),
        body_span=(found.end(), _closing_brace(text, found.end(), found["name"])),
    )


def _kind(attributes: str, array: str | None) -> str:
    names = re.findall(r"\.(\w+)", attributes)
    scalar = next((name for name in names if re.fullmatch(r"[busf]\d+(x2)?", name)), names[0])
    if array or any(re.fullmatch(r"v\d", name) for name in names):
        return "bytes"
    kind = _KIND.get(scalar, scalar)
    return "ptr" if kind == "u64" and "ptr" in names else kind


def _closing_brace(text: str, position: int, name: str) -> int:
    depth = 1
    for found in re.compile(r'"[^"\n]*"|[{}]').finditer(text, position):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth:
            return found.start()
    raise _malformed(text, position, f"the body of {name} does not end")


def _int(text: str) -> int:
    return int(text.strip().rstrip("U"), 0)


def _uses(text: str, name: str) -> int:
    return len(re.findall(rf"(?<![\w$%]){re.escape(name)}(?![\w$])", text))


@dataclass(frozen=True, kw_only=True)
class FittedKernel:
    """A module whose kernel takes exactly what TensorRT passes.

    Attributes:
        text: The PTX, without comments and line info.
        parameters: ``ptr`` or ``i32`` for each parameter, in order.
        removed: The names of Triton's hidden parameters that were taken out.
        unused: Positions of parameters that the kernel never reads.
        shared_static: Bytes of shared memory that the kernel declares.
        shared_dynamic: Whether it also uses the shared memory that the launch sizes.
    """

    text: str
    entry: str
    isa: PtxIsa
    target: str
    parameters: tuple[str, ...]
    removed: tuple[str, ...]
    unused: tuple[int, ...]
    shared_static: int
    shared_dynamic: bool


def fit(
    text: str,
    *,
    entry: str,
    inputs: int,
    extra_args: int,
    outputs: int,
    aliased: Collection[int] = (),
    block: tuple[int, int, int] | None = None,
    shared_mem: int | None = None,
    isa: PtxIsa | None = None,
    arch: Arch | None = None,
    new_name: str | None = None,
) -> FittedKernel:
    """Fits a kernel to TensorRT's calling convention; the same text in gives the same bytes out.

    Args:
        inputs, extra_args, outputs: How many of each the call has.
        aliased: The outputs (from 0) that share an input's buffer, so that the kernel need not use their pointer.
        block: The threads of a block in x, y, z, checked against what the kernel demands; None: not checked.
        shared_mem: The launch's dynamic shared memory in bytes, if known. `check_shared` checks its amount.
        isa: The newest PTX ISA to write; an older text stays as it is.
        arch: What must be able to run it; None: not checked.
        new_name: The name that the kernel gets.

    Raises:
        DefinitionError: The kernel cannot be an AOT plugin's: why, and what to do.
    """
    module = parse_module(text)
    kernel = module.entry(entry)
    expected = (
        *(("ptr", f"input {i}") for i in range(inputs)),
        *(("i32", f"extra argument {i}") for i in range(extra_args)),
        *(("ptr", f"output {i}") for i in range(outputs)),
    )
    removed = _hidden(module, kernel, expected)
    body, kept = module.body(kernel), kernel.parameters[: len(expected)]
    _check_kinds(kernel, kept, expected)
    unused = tuple(i for i, parameter in enumerate(kept) if not _uses(body, parameter.name))
    for output in range(outputs):
        if inputs + extra_args + output in unused and output not in aliased:
            raise _refusal(
                kernel,
                f"it never uses the pointer of output {output} (parameter {kept[inputs + extra_args + output].name})",
                f"write that output, or add the missing parameter: {_CONVENTION}",
            )
    _check_launch(module, kernel, block)
    static, dynamic = _shared(module.reach(kernel))
    if dynamic and shared_mem == 0:
        hint = "set launch.shared_mem to what the kernel needs; Triton's metadata.shared says how much"
        raise _refusal(kernel, "it uses dynamic shared memory, but the launch gives it 0 bytes", hint)
    version = min(module.version, isa or module.version)
    _check_target(module, kernel, version, arch)
    return FittedKernel(
        text=_rewrite(module, kernel, kept, version, new_name or entry),
        entry=new_name or entry,
        isa=version,
        target=module.target,
        parameters=tuple(kind for kind, _ in expected),
        removed=removed,
        unused=unused,
        shared_static=static,
        shared_dynamic=dynamic,
    )


def _refusal(kernel: Entry, what: str, hint: str) -> DefinitionError:
    return DefinitionError(f"kernel {kernel.name}: {what}", where=f"PTX line {kernel.line}", hint=hint)


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
    used = [parameter.name for parameter in extra if _uses(module.body(kernel), parameter.name)]
    if used:
        raise _refusal(
            kernel,
            f"it uses {', '.join(used)} after the {len(expected)} parameters that TensorRT passes: Triton's scratch "
            "memory, which an AOT plugin cannot have, or a parameter too many",
            "no tensor descriptors made in the kernel (tl.make_tensor_descriptor), no profiling; use plain pointers",
        )
    return tuple(parameter.name for parameter in extra)


def _check_kinds(kernel: Entry, kept: tuple[Parameter, ...], expected: tuple[tuple[str, str], ...]) -> None:
    # A compiler that marks pointers marks them all; one that marks none leaves 64-bit integers and pointers alike.
    pointers = {"ptr"} if any(parameter.kind == "ptr" for parameter in kernel.parameters) else {"u64"}
    for position, (parameter, (kind, meaning)) in enumerate(zip(kept, expected, strict=True)):
        if parameter.kind not in (pointers if kind == "ptr" else {kind}):
            passed = "a pointer" if kind == "ptr" else "an int32"
            raise _refusal(
                kernel,
                f"parameter {position} ({parameter.name}) is declared as {parameter.kind}, "
                f"TensorRT passes {passed} there ({meaning})",
                _CONVENTION,
            )


def _check_launch(module: Module, kernel: Entry, block: tuple[int, int, int] | None) -> None:
    directives = kernel.directives
    cluster = {"explicitcluster", "blocksareclusters", "reqnctapercluster"} & set(directives)
    if cluster and math.prod(directives.get("reqnctapercluster", (0,))) != 1:
        raise _refusal(
            kernel,
            f"it demands a launch in clusters (.{min(cluster)})",
            f"{_PLAIN_LAUNCH}; compile with num_ctas=1 or without __cluster_dims__",
        )
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


def _shared(reach: str) -> tuple[int, bool]:
    """Bytes of static shared memory, each variable aligned; and whether an extern one is used."""
    total, dynamic = 0, False
    for found in _SHARED.finditer(reach):
        attributes = found["attributes"]
        width = re.search(r"\.[busf](\d+)(x2)?\b", attributes)
        vector = re.search(r"\.v(\d)\b", attributes)
        size = int(width[1]) // 8 * (2 if width[2] else 1) * int(vector[1] if vector else 1) if width else 0
        alignment = re.search(rf"\.align\s+({_INT})", attributes)
        for name, dimensions in re.findall(rf"({_NAME})((?:\s*\[[^\]]*\])*)", found["names"]):
            if found["extern"]:
                dynamic = dynamic or _uses(reach, name) > 1
                continue
            step = _int(alignment[1]) if alignment else max(size, 1)
            extents = [_int(extent) for extent in re.findall(rf"\[\s*({_INT})\s*\]", dimensions)]
            total = -(-total // step) * step + size * math.prod(extents)
    return total, dynamic


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


def _rewrite(module: Module, kernel: Entry, kept: tuple[Parameter, ...], version: PtxIsa, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][\w$]*|[_$%][\w$]+", name):
        raise DefinitionError(f"{name!r} cannot be the name of a kernel", hint="use letters, digits and _")
    if name != kernel.name and _uses(module.text, name):
        raise _refusal(kernel, f"the new name {name} is already used in the PTX", "choose another one")
    # Only where the kernel is declared: elsewhere the same word may be an instruction, such as `add`.
    edits = [
        (found.span(1), name) for found in re.finditer(rf"\.entry\s+({_NAME})", module.text) if found[1] == kernel.name
    ]
    if kept != kernel.parameters:
        edits.append((kernel.parameters_span, ",".join(f"\n\t{parameter.source}" for parameter in kept) + "\n"))
    text = module.text
    for (start, end), new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    text = _VERSION.sub(lambda found: found[0].replace(found[1], str(version)), text, count=1)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip())


def check_shared(kernel: FittedKernel, dynamic: int) -> None:
    """Refuses a kernel that TensorRT's launcher cannot give its shared memory.

    Args:
        dynamic: The launch's shared memory in bytes, on top of what the kernel declares.

    Raises:
        DefinitionError: The two are more than SHARED_LIMIT.
    """
    if kernel.shared_static + dynamic > SHARED_LIMIT:
        raise DefinitionError(
            f"kernel {kernel.entry}: {kernel.shared_static + dynamic} bytes of shared memory, "
            f"TensorRT's launcher gives at most {SHARED_LIMIT}",
            hint="use smaller blocks or fewer num_stages",
        )


def plain_target(text: str) -> str:
    """The PTX with ``.target sm_90a`` or ``sm_100f`` made plain: worth keeping if ptxas accepts it."""
    return re.sub(r"^(\s*\.target\s+sm_\d+)[af]\b", r"\1", text, count=1, flags=re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class PtxasReport:
    """What ptxas says about a kernel: registers per thread, and bytes of spills, static shared memory and stack.

    Functions that the kernel calls count: spills add up, of the others it is the largest.
    """

    registers: int
    spill_stores: int
    spill_loads: int
    shared: int
    stack: int
    warnings: tuple[str, ...]


def assemble(text: str, arch: Arch, *, entry: str | None = None, timeout: float = 120) -> PtxasReport:
    """Assembles the whole module for ``arch`` with the newest ptxas that ships with Triton.

    Args:
        arch: An arch-specific ``.target`` (sm_90a) is assembled for the arch-specific form of it.
        entry: The kernel to report; None: all of the module taken together.
        timeout: Seconds that ptxas may take.

    Raises:
        CheckError: ptxas refuses the text (its message, and the line of PTX), or takes too long.
        MissingError: Triton, and with it ptxas, is not installed.
    """
    found = _TARGET.search(text)
    gpu = arch.target + (Target.parse(found[1]).suffix if found else "")
    isa, tool = max(_assemblers())
    with tempfile.TemporaryDirectory(prefix="aotfactory-") as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(text, encoding="utf-8")
        command = [tool, "-v", f"--gpu-name={gpu}", str(source), "-o", str(source.with_suffix(".cubin"))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            message = f"ptxas did not finish within {timeout:g} s for {gpu}"
            raise CheckError(message, hint="make the kernel smaller: fewer unrolled steps, smaller blocks") from None
    log = done.stderr + done.stdout
    if done.returncode:
        raise _assembly_error(text, log, gpu, isa)
    # "Compiling entry function 'a' for 'sm_90'" opens what belongs to a, the functions that it calls included.
    parts = re.split(r"Compiling entry function '([^']+)'", log)
    own = dict(zip(parts[1::2], parts[2::2], strict=True)).get(entry, log) if entry else log

    def numbers(pattern: str) -> list[int]:
        return [0, *(int(number) for number in re.findall(pattern, own))]

    return PtxasReport(
        registers=max(numbers(r"Used (\d+) registers")),
        spill_stores=sum(numbers(r"(\d+) bytes spill stores")),
        spill_loads=sum(numbers(r"(\d+) bytes spill loads")),
        shared=max(numbers(r"(\d+) bytes smem")),
        stack=max(numbers(r"(\d+) bytes stack frame")),
        warnings=tuple(re.findall(r"warning\s*:\s*(.*\S)", log)),
    )


def _assembly_error(text: str, log: str, gpu: str, isa: PtxIsa) -> CheckError:
    at = re.search(r"line (\d+); (?:error|fatal)\s*: *(.*\S)", log)
    message = at[2] if at else next(iter(re.findall(r"(?:error|fatal)\s*: *(.*\S)", log)), log.strip())
    where = f"PTX line {at[1]}" if at else None
    quoted = f" in `{text.splitlines()[int(at[1]) - 1].strip()}`" if at else ""
    hint = f"this ptxas knows PTX up to ISA {isa}; an instruction may also need a newer ISA or an arch-specific target"
    return CheckError(f"ptxas refuses the PTX for {gpu}: {message}{quoted}", where=where, hint=hint)


def compiler_isa(arch: Arch) -> PtxIsa:
    """The newest PTX ISA that Triton may write for ``arch``: its own ptxas assembles what it writes, at once.

    Triton ships up to two, and which one it takes depends on its version: the older that knows ``arch`` is safe.

    Raises:
        MissingError: Triton is missing, or too old for this architecture.
    """
    able = [isa for isa, _ in _assemblers() if isa >= arch.oldest_isa]
    if not able:
        raise MissingError(
            f"the installed Triton cannot compile for {arch}: its ptxas knows PTX up to ISA {max(_assemblers())[0]}, "
            f"{arch} needs {arch.oldest_isa}",
            hint="install a newer Triton, or compile for portable",
        )
    return min(able)


@functools.cache
def _assemblers() -> tuple[tuple[PtxIsa, str], ...]:
    """(newest ISA, path) of each ptxas that Triton would find: its environment variables come first, as for Triton."""
    package = importlib.util.find_spec("triton")
    folder = Path(package.submodule_search_locations[0] if package and package.submodule_search_locations else "")
    tools = []
    for name in ("ptxas", "ptxas-blackwell"):
        program = name + (sysconfig.get_config_var("EXE") or "")
        bundled = folder / "backends" / "nvidia" / "bin" / program
        variable = f"TRITON_{name.upper().replace('-', '_')}_PATH"
        for path in filter(None, (os.environ.get(variable), str(bundled))):
            try:
                version = subprocess.run(
                    [path, "--version"], capture_output=True, text=True, timeout=60, check=True
                ).stdout
            except (OSError, subprocess.SubprocessError):
                continue
            release = re.search(r"release (\d+)\.(\d+)", version)
            if release:
                tools.append((cuda_isa(int(release[1]), int(release[2])), path))
                break
    if not tools:
        raise MissingError("no ptxas was found", hint="it ships with Triton: pip install 'triton>=3.5'")
    return tuple(tools)
