# SPDX-License-Identifier: Apache-2.0
"""Assemble PTX by the ptxas that ships with Triton: the proof that a kernel is well-formed, and what it needs."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import signal
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aotfactory.compiler.ptx import TARGET
from aotfactory.core.arch import Arch, PtxIsa, PtxTarget, cuda_isa
from aotfactory.core.errors import CheckError, NoPtxasError, OutOfTimeError, PtxasError
from aotfactory.core.processes import run_program

TIMED_OUT = "ptxas did not finish within"


@dataclass(frozen=True, kw_only=True)
class PtxasReport:
    """ptxas's report on a kernel: registers per thread, and bytes of spills, static shared memory and stack.

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
    found = TARGET.search(text)
    gpu = arch.target + (PtxTarget.parse(found[1]).suffix if found else "")
    isa, tool, _ = max(_assemblers())
    with tempfile.TemporaryDirectory(prefix="aotfactory-") as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(text, encoding="utf-8")
        command = [tool, "-v", f"--gpu-name={gpu}", str(source), "-o", str(source.with_suffix(".cubin"))]
        try:
            done = run_program(command, timeout=timeout, leaf=True)
        except OSError as error:
            raise NoPtxasError(f"ptxas cannot be run: {tool}: {error.strerror}") from error
        except OutOfTimeError:
            message = f"{TIMED_OUT} {timeout:g} s for {gpu}"
            raise PtxasError(message, hint="make the kernel smaller: fewer unrolled steps, smaller blocks") from None
    log = done.stderr + done.stdout
    if done.code < 0:
        name = signal.Signals(-done.code).name
        raise PtxasError(f"ptxas died of {name} for {gpu}", hint="is there enough memory? else make the kernel smaller")
    if done.code:
        raise _assembly_error(text, log, gpu, isa)
    # "Compiling entry function 'a' for 'sm_90'" opens what belongs to a, the functions that it calls included.
    parts = re.split(r"Compiling entry function '([^']+)'", log)
    own = dict(zip(parts[1::2], parts[2::2], strict=True)).get(entry, log) if entry else log

    def numbers(pattern: str) -> list[int]:
        return [0, *(int(number) for number in re.findall(pattern, own))]

    return PtxasReport(
        registers=max(numbers(r"Used (\d{1,9}) registers")),
        spill_stores=sum(numbers(r"(\d{1,9}) bytes spill stores")),
        spill_loads=sum(numbers(r"(\d{1,9}) bytes spill loads")),
        shared=max(numbers(r"(\d{1,9}) bytes smem")),
        stack=max(numbers(r"(\d{1,9}) bytes stack frame")),
        warnings=tuple(re.findall(r"warning\s*:\s*(.*\S)", log)),
    )


def _assembly_error(text: str, log: str, gpu: str, isa: PtxIsa) -> CheckError:
    at = re.search(r"line (\d{1,9}); (?:error|fatal)\s*: *(.*\S)", log)
    message = at[2] if at else next(iter(re.findall(r"(?:error|fatal)\s*: *(.*\S)", log)), log.strip())
    where = f"PTX line {at[1]}" if at else None
    lines = text.splitlines()
    quoted = f" in `{lines[int(at[1]) - 1].strip()}`" if at and 0 < int(at[1]) <= len(lines) else ""
    hint = f"this ptxas knows PTX up to ISA {isa}; an instruction may also need a newer ISA or an arch-specific target"
    return PtxasError(f"ptxas refuses the PTX for {gpu}: {message}{quoted}", where=where, hint=hint)


def compiler_isa(arch: Arch) -> PtxIsa:
    """The newest PTX ISA that Triton may write for ``arch``: its own ptxas assembles what it writes, at once.

    Triton ships up to two, and which one it takes depends on its version: the older that knows ``arch`` is safe.

    Raises:
        MissingError: Triton is missing, or too old for this architecture.
    """
    able = [isa for isa, _, _ in _assemblers() if isa >= arch.oldest_isa]
    if not able:
        raise NoPtxasError(
            f"the installed Triton cannot compile for {arch}: its ptxas knows PTX up to ISA {max(_assemblers())[0]}, "
            f"{arch} needs {arch.oldest_isa}",
            hint="install a newer Triton, or compile for portable",
        )
    return min(able)


def identity() -> list[str]:
    """The builds of ptxas that are used: ``Build cuda_13.0.r13.0/compiler.36260728_0``."""
    return [build for _, _, build in _assemblers()]


@functools.cache
def _assemblers() -> tuple[tuple[PtxIsa, str, str], ...]:
    """(newest ISA, path, build) of each ptxas that Triton would find: as for Triton, its variables come first."""
    package = importlib.util.find_spec("triton")
    folder = Path(package.submodule_search_locations[0] if package and package.submodule_search_locations else "")
    tools = []
    for name in ("ptxas", "ptxas-blackwell"):
        program = name + (sysconfig.get_config_var("EXE") or "")
        bundled = folder / "backends" / "nvidia" / "bin" / program
        variable = f"TRITON_{name.upper().replace('-', '_')}_PATH"
        for path in filter(None, (os.environ.get(variable), str(bundled))):
            try:
                said = run_program([path, "--version"], timeout=60, leaf=True)
            except (OSError, OutOfTimeError):
                continue
            version = said.stdout
            release = re.search(r"release (\d{1,4})\.(\d{1,4})\b", version)
            if release and said.code == 0:
                tools.append((cuda_isa(int(release[1]), int(release[2])), path, version.strip().splitlines()[-1]))
                break
    if not tools:
        raise NoPtxasError("no ptxas was found", hint="it ships with Triton: pip install 'triton>=3.5'")
    return tuple(tools)
