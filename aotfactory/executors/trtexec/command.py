# SPDX-License-Identifier: Apache-2.0
"""trtexec as an executor: runs a plan in a process without Python, and has it compare outputs with references."""

from __future__ import annotations

import math
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aotfactory.core import dtypes
from aotfactory.core.errors import InputError, NoTrtexecError, TrtexecError, TrtexecOutputError, UnwritableError
from aotfactory.core.expressions import Constant, SizeTensor
from aotfactory.core.files import read_file, replace_file
from aotfactory.core.limits import LIMITS
from aotfactory.core.network import Network, Tensor, shape_text
from aotfactory.core.recipe import Tolerance
from aotfactory.executors.inputs import Array
from aotfactory.executors.native.process import OutOfTimeError, run_command
from aotfactory.executors.trtexec import output
from aotfactory.executors.trtexec.output import Performance, Verdict

ROOTS = ("/usr/src/tensorrt", "/opt/tensorrt", "/usr/local/tensorrt")
"""Where NVIDIA's Debian packages and containers put TensorRT."""


@dataclass(frozen=True, kw_only=True)
class TrtexecOptions:
    """How to run trtexec.

    Attributes:
        program, root: Its path, or TensorRT's directory; None: see `find_trtexec`.
        iterations, duration, warmup: At least so many, for so many seconds, after so many milliseconds. None: trtexec's
            own. A comparison of in-place plans takes one inference, since each one changes its input.
        profile: Also time each layer.
        timeout: Seconds.
        extra: More arguments.
    """

    program: Path | None = None
    root: Path | None = None
    iterations: int | None = None
    duration: int | None = None
    warmup: int | None = None
    profile: bool = False
    timeout: float = 600
    extra: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class TrtexecResult:
    """A run of trtexec.

    Attributes:
        outputs: By name, exact (from its raw files); without those of `cut_outputs`.
        times: Of each inference, in milliseconds.
        layers: Times of each layer, with `profile`.
        compared: Whether trtexec itself compared the outputs with the references, and they were right.
        log: Where its whole output is kept.
    """

    verdict: Verdict
    performance: Performance | None
    outputs: Mapping[str, Array]
    times: Sequence[Mapping[str, float]]
    layers: Sequence[Mapping[str, Any]] = ()
    compared: bool = False
    command: Sequence[str] = ()
    log: Path = field(default=Path())


def find_trtexec(program: Path | None = None, root: Path | None = None) -> Path:
    """trtexec: the one given, that of `root` or $TENSORRT_ROOT, on the PATH, or where NVIDIA's packages put it.

    Raises:
        MissingError: There is none.
    """
    if program is not None:
        if not os.access(program, os.X_OK) or os.path.isdir(program):
            raise NoTrtexecError(f"{program} is not an executable", hint="give the path of trtexec: --trtexec PATH")
        return program
    named = root or os.environ.get("TENSORRT_ROOT")
    places = [Path(named, "bin", "trtexec")] if named else []
    if found := shutil.which("trtexec"):
        places.append(Path(found))
    places += [Path(place, "bin", "trtexec") for place in ROOTS]
    for place in places:
        if os.access(place, os.X_OK):
            return place
    raise NoTrtexecError(
        "trtexec is not on this machine",
        hint="it comes with TensorRT's tar, Debian packages and containers, not with pip: --trtexec PATH, "
        "--tensorrt-root DIR, or set TENSORRT_ROOT",
    )


def run_trtexec(
    plan: Path,
    network: Network,
    *,
    inputs: Mapping[str, Array],
    references: Mapping[str, Array] | None = None,
    tolerance: Tolerance | None = None,
    version: tuple[int, int] = (11, 1),
    options: TrtexecOptions | None = None,
    log: Path | None = None,
) -> TrtexecResult:
    """Run a plan on the given inputs.

    Args:
        network: Of the bundle that the plan was built from: the tensors' types.
        inputs: One array for each network input; their shapes are those of the run.
        references: Outputs to compare with, by name. trtexec 11.1 and later then compare too.
        tolerance: Of the comparison that trtexec makes; none: ours alone decides.
        version: Of trtexec's TensorRT, major and minor.
        log: Where to keep its output; by default beside the plan.

    Raises:
        MissingError: No trtexec, or a tensor has a name that it cannot be told.
        UsageError: An input or reference is not of the tensor's type, or missing; the log cannot be written.
        CheckError: trtexec crashed, refused the plan, failed or took too long; the log is kept.
    """
    options = options or TrtexecOptions()
    program = find_trtexec(options.program, options.root)
    log = log or plan.with_suffix(".trtexec.log")
    read = network.inputs
    in_place = any(t.aliases for t in network.tensors)
    with tempfile.TemporaryDirectory(prefix="aotfactory-trtexec-") as scratch:
        directory = Path(scratch)
        command = [str(program.resolve()), f"--loadEngine={plan.resolve()}"]
        command.append("--loadInputs=" + _files(read, inputs, directory, "input"))
        if dynamic := [t for t in read if any(d.symbols for d in t.shape)]:
            command.append("--shapes=" + ",".join(f"{t.name}:{_shape(inputs[t.name])}" for t in dynamic))
        compare = bool(references) and version >= (11, 1) and not in_place
        if references and compare:
            known = [t for t in _whole_outputs(network) if t.name in references and _comparable(t)]
            command += _comparison(known, references, tolerance, directory)
            compare = any(argument.startswith("--loadRefOutputs") for argument in command)
        command += ["--dumpRawBindingsToFile", "--exportTimes=times.json", *_timing(options, in_place, version)]
        command += ["--dumpProfile", "--exportProfile=profile.json"] if options.profile else []
        command += options.extra
        text = _run(command, directory, options.timeout, log)
        said = _judge(text, log, plan)
        times, profile = directory / "times.json", directory / "profile.json"
        return TrtexecResult(
            verdict=said,
            performance=output.performance(text),
            outputs={t.name: _raw_output(directory, t) for t in _whole_outputs(network)},
            times=output.exported_times(times) if times.is_file() else [],
            layers=output.exported_profile(profile)[1] if profile.is_file() else [],
            compared=compare,
            command=command,
            log=log,
        )


def cut_outputs(network: Network) -> list[str]:
    """The outputs that trtexec does not write whole.

    It sizes a raw file before the run, when an extent that depends on data is still -1, and writes an element or two.
    """
    return [t.name for t in network.outputs if any(isinstance(d, SizeTensor) for d in t.shape)]


def _whole_outputs(network: Network) -> list[Tensor]:
    cut = cut_outputs(network)
    return [t for t in network.outputs if t.name not in cut]


def _timing(options: TrtexecOptions, in_place: bool, version: tuple[int, int]) -> list[str]:
    numbers = {"iterations": options.iterations, "duration": options.duration, "warmUp": options.warmup}
    if in_place:  # since 11.1 there is one inference before those that are counted, for accuracy
        numbers = {"iterations": 0 if version >= (11, 1) else 1, "duration": 0, "warmUp": 0}
    arguments = [f"--{name}={value}" for name, value in numbers.items() if value is not None]
    if in_place and version >= (11, 0):  # CUDA graphs cost one more before the first
        arguments.append("--noCudaGraph")
    # 11.0 leaves transfers out, and then writes raw files of what was never copied back.
    return [*arguments, "--includeDataTransfers"] if version == (11, 0) else arguments


def _comparison(
    tensors: Sequence[Tensor], references: Mapping[str, Array], tolerance: Tolerance | None, directory: Path
) -> list[str]:
    if tolerance is None or not tensors:
        return []
    files = _files(tensors, references, directory, "reference")
    # l0 is the share of elements out of tolerance; it must stay below the threshold, which must be above 0.
    bounds = ["--accuracyAlgorithm=l0", f"--atol={tolerance.atol}", f"--rtol={tolerance.rtol}"]
    return [f"--loadRefOutputs={files}", *bounds, "--accuracyThreshold=1e-9"]


def _files(tensors: Sequence[Tensor], arrays: Mapping[str, Array], directory: Path, kind: str) -> str:
    """Raw files of exactly the tensors' sizes: trtexec takes twice the bytes as well, and misreads them."""
    parts = []
    for index, tensor in enumerate(tensors):
        if tensor.name not in arrays:
            raise InputError(f"no {kind} for {tensor.name}", hint="give an array for each")
        if re.search(r"[,:']", tensor.name):
            raise NoTrtexecError(
                f"trtexec cannot be told of a tensor called {tensor.name!r}", hint="rename it: no , : '"
            )
        array = arrays[tensor.name]
        element = dtypes.find(tensor.dtype).array
        if array.dtype != element:
            if kind == "input":
                raise InputError(f"{kind} {tensor.name} is {array.dtype}, the tensor {element}", hint="convert it")
            array = array.astype(element)
        known = [d.value if isinstance(d, Constant) else None for d in tensor.shape]
        if len(known) != array.ndim or any(n not in (d, None) for d, n in zip(array.shape, known, strict=True)):
            texts = f"is {shape_text(array.shape)}, the tensor {shape_text(tensor.shape)}"
            raise InputError(f"{kind} {tensor.name} {texts}", hint="give such an array")
        path = directory / f"{kind}{index}.bin"
        path.write_bytes(np.ascontiguousarray(array).tobytes())
        parts.append(f"{tensor.name}:{path}")
    return ",".join(parts)


def _run(command: Sequence[str], directory: Path, timeout: float, log: Path) -> str:
    # trtexec writes raw files into its working directory, so it runs in ours, by way of `env --chdir` and no shell.
    try:
        code, stdout, stderr = run_command(["env", f"--chdir={directory}", *command], timeout=timeout)
    except OutOfTimeError as error:
        _keep(error.output, log)
        raise TrtexecError(
            f"trtexec did not finish in {timeout:g} s", where=str(log), hint="is something else using the GPU?"
        ) from error
    text = stdout + stderr
    _keep(text, log)
    if code < 0:
        raise TrtexecError(f"trtexec died of signal {-code}", where=str(log), hint="the log has its last words")
    return text


def _keep(text: str, log: Path) -> None:
    try:
        replace_file(log, text.encode())
    except OSError as error:
        raise UnwritableError(
            f"cannot write {log}: {error.strerror}", hint="trtexec's output is kept beside the plan"
        ) from error


def _judge(text: str, log: Path, plan: Path) -> Verdict:
    said = output.verdict(text)
    wrong = output.errors(text)
    last = f": {wrong[-1]}" if wrong else ""
    if re.search(r"magicTag|deserializeCudaEngine|Engine deserialization failed|version tag does not match", text) and (
        said is None or not said.passed
    ):
        raise TrtexecError(
            f"trtexec cannot read {plan.name}{last}",
            where=str(log),
            hint="is it whole, and built by this version of TensorRT for this GPU?",
        )
    if said is None:
        raise TrtexecError(f"trtexec ended without a verdict{last}", where=str(log), hint="the log has its last words")
    if not said.passed:
        raise TrtexecError(f"trtexec failed{last}", where=str(log), hint="the log has everything it said")
    if output.performance(text) is None and "--skipInference" not in text:
        raise TrtexecError("trtexec passed without a performance summary", where=str(log), hint="did it run the plan?")
    return said


def _raw_output(directory: Path, tensor: Tensor) -> Array:
    """An output from ``NAME.output.1.3.34.34.FP32.raw``."""
    safe = re.sub(r"[^A-Za-z0-9._,-]", "_", tensor.name)
    found = sorted(p for p in directory.iterdir() if p.name.startswith(f"{safe}.output.") and p.suffix == ".raw")
    if len(found) != 1:
        raise TrtexecOutputError(
            f"trtexec wrote {len(found)} raw files of output {tensor.name}", hint="is it 10.9 or later?"
        )
    dims = found[0].name.removeprefix(f"{safe}.output.").split(".")[:-2]
    shape = tuple(int(d) for d in dims if re.fullmatch("[0-9]{1,10}", d))
    element = dtypes.find(tensor.dtype).array
    size = math.prod(shape) * element.itemsize
    try:
        content = read_file(found[0], limit=LIMITS["tensor_bytes"])
    except OSError as error:
        raise TrtexecOutputError(f"trtexec's raw file {found[0].name} cannot be read: {error.strerror}") from error
    if len(shape) != len(tensor.shape) or len(content) != size:
        raise TrtexecOutputError(f"trtexec's raw file {found[0].name} has {len(content)} bytes, not {size}")
    return np.frombuffer(content, element).reshape(shape)


def _shape(array: Array) -> str:
    return "x".join(str(n) for n in array.shape)


def _comparable(tensor: Tensor) -> bool:
    """Whether trtexec's own comparison knows the type."""
    return tensor.dtype in ("fp32", "fp16", "int8", "int32")
