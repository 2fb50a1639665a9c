# SPDX-License-Identifier: Apache-2.0
"""Things that this machine lacks: exit code 3. `aotfactory doctor` looks for all of it at once."""

from __future__ import annotations

from aotfactory.core.errors.base import MissingError


class NoGpuError(MissingError):
    """There is no GPU or no driver here, or none that is usable."""

    code = "AOT301"
    example = "this machine has no CUDA driver"
    remedy = "Use a machine with an NVIDIA GPU. `build`, `compile`, `inspect` and the interpreter need none."


class NoTensorRTError(MissingError):
    """TensorRT, or its builder, is not on this machine."""

    code = "AOT302"
    example = "the full TensorRT is not on this machine: no package named tensorrt"
    remedy = 'Install it (`pip install "aotfactory[tensorrt]"`), or use NVIDIA\'s container, tar or Debian packages.'


class TensorRTVersionError(MissingError):
    """The TensorRT here is one that cannot be used: too old, known to be wrong, or of parts of different versions."""

    code = "AOT303"
    example = "TensorRT 10.8.0 has no ahead-of-time plugins, they came with 10.9"
    remedy = "Use one environment for one TensorRT; docs/tensorrt.md lists the versions."


class NoTrtexecError(MissingError):
    """trtexec is not on this machine, or cannot be used for this plan."""

    code = "AOT304"
    example = "trtexec is not on this machine"
    remedy = "It comes with TensorRT's tar or Debian packages: `--trtexec PATH` or `TENSORRT_ROOT`."


class NoToolchainError(MissingError):
    """The launcher or the runner cannot be built: a compiler, CMake or headers are missing, or the build failed."""

    code = "AOT305"
    example = "cmake is needed to build the launcher and is not on the PATH"
    remedy = "`apt-get install g++ cmake make nlohmann-json3-dev libcli11-dev`; a wheel has the launcher built."


class NoPackageError(MissingError):
    """A Python package is missing that only this command, option or plugin needs."""

    code = "AOT306"
    example = "Ray is not installed"
    remedy = "Install what the hint names."


class NoPtxasError(MissingError):
    """Triton's ptxas is missing, or does not know the architecture."""

    code = "AOT307"
    example = "no ptxas was found"
    remedy = "Install a newer Triton, or compile for `--arch portable`."


class NoClusterError(MissingError):
    """No Ray cluster answers, or its nodes lack something."""

    code = "AOT308"
    example = "no Ray cluster: connection refused"
    remedy = "`ray start --head`; all nodes need the same packages, and the same paths or a shared cache."


class UnusablePlaceError(MissingError):
    """A cache or output that this machine or its network does not let aotfactory use."""

    code = "AOT309"
    example = "cannot write to standard output: No space left on device"
    remedy = "See to space and permissions, or name another place; `aotfactory doctor` shows the places."


class NoKernelError(MissingError):
    """The bundle has no kernel that the GPU here can run."""

    code = "AOT310"
    example = "the bundle has no kernel of swell that runs on sm_75, only for sm_90"
    remedy = "Build it for this architecture as well: `--arch`."


class NoMemoryError(MissingError):
    """There is not enough memory."""

    code = "AOT311"
    example = "there is not enough memory"
    remedy = "Smaller shapes, or fewer `--jobs`, take less."


class SettingMissingError(MissingError):
    """An environment variable stands in the way, or names a program that is not there."""

    code = "AOT312"
    example = "TRITON_INTERPRET=1 is set: Triton would interpret kernels, not compile them"
    remedy = "Unset or correct the variable that the message names."


class ProgramMissingError(MissingError):
    """The launcher or the runner finds that this machine lacks something: a driver, a library, a kernel that fits."""

    code = "AOT313"
    example = "no CUDA driver on this machine (libcuda.so.1: cannot open shared object file)"
    remedy = "The message is the program's own; `aotfactory doctor` says what is there."
