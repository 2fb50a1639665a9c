# SPDX-License-Identifier: Apache-2.0
"""Checks that failed: exit code 1."""

from __future__ import annotations

from aotfactory.core.errors.base import CheckError


class PtxasError(CheckError):
    """ptxas, NVIDIA's assembler, refuses the PTX of a kernel, or does not come to an end with it."""

    code = "AOT101"
    example = "ptxas refuses the PTX for sm_90: syntax error"
    remedy = "The message quotes the line of the PTX. Inline assembly and `--ptx-isa` are the usual causes."


class InterpreterError(CheckError):
    """Triton's interpreter, which runs the kernel on the CPU, failed or found an access outside a tensor."""

    code = "AOT102"
    example = "Triton's interpreter took more than 1800.0 s"
    remedy = (
        "Correct the access that the message names. `--check-time` bounds the time; `--skip-check interpreter "
        "--because REASON` leaves the check out, and the bundle says so."
    )


class ReferenceCheckError(CheckError):
    """The NumPy reference or the data of a recipe raises, or returns other arrays than the plugin has outputs."""

    code = "AOT103"
    example = "the reference of recipe swell returns 2 arrays, demo::swell has 1 outputs"
    remedy = "Correct `reference` or `data` of the recipe; they get arrays, and return one array for each output."


class ProgramError(CheckError):
    """The launcher or the runner failed, or what it computed differs from the reference."""

    code = "AOT104"
    example = "the launcher printed something other than aotfactory.run/1"
    remedy = "`aotfactory validate` says which tensor differs first, and where."


class TrtexecError(CheckError):
    """trtexec failed, did not finish, or ended without a verdict."""

    code = "AOT105"
    example = "trtexec did not finish in 600 s"
    remedy = "The whole of what it said is in the log beside the plan."


class TrtexecOutputError(CheckError):
    """A file that trtexec exported cannot be read, or holds something other than it should."""

    code = "AOT106"
    example = "trtexec's raw file y.bin has 4 bytes, not 8"
    remedy = "Use a trtexec of a supported TensorRT version (`aotfactory doctor`)."


class BuilderError(CheckError):
    """TensorRT's builder or parser refuses the network."""

    code = "AOT107"
    example = "TensorRT refused the call swell of demo::swell"
    remedy = "TensorRT's own messages stand below the error; they name the layer."


class PlanError(CheckError):
    """A plan does not hold what it should: other tensors or types than the bundle, or files that disagree."""

    code = "AOT108"
    example = "y is float32 in the plan, not fp16"
    remedy = "Bake the plan again, from the bundle that it belongs to."


class EngineError(CheckError):
    """An engine of a farm, or the bundle that is to be tuned, was not built: one of its checks failed."""

    code = "AOT109"
    example = "its plan was not made: no GPU"
    remedy = "Build that engine alone with `aotfactory build` to see the whole report."


class WorkerError(CheckError):
    """A process that builds a part of the bundle ended before it was done, often for want of memory."""

    code = "AOT110"
    example = "a process of this build was ended by SIGKILL"
    remedy = "`--jobs 1` builds in one process, and takes less memory."


class OutOfTimeError(CheckError):
    """A program ran longer than it may; `output` is what it had said by then."""

    code = "AOT111"
    example = "stopped after 60 s: trtexec --loadEngine=a.plan"
    remedy = "See whether the machine is busy with something else."

    output = ""


class OutputError(CheckError):
    """A program wrote more to its outputs than is read of one."""

    code = "AOT112"
    example = "stopped, as it wrote more than 67108864 bytes: ptxas -v kernel.ptx"
    remedy = "Run the command of the message to see what it says."
