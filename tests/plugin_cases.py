# SPDX-License-Identifier: Apache-2.0
"""Plugin libraries under a driver that calls them as TensorRT does (``cpp/plugin_driver.cpp``).

A part of a library becomes a case for the driver; what the driver found out is held against what Python knows of it.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aotfactory.compiler.manifest import Bundle
from aotfactory.compiler.select import usable_variants
from aotfactory.core import dtypes, expressions
from aotfactory.core.arch import Arch
from aotfactory.core.dimensions import bind, dimension
from aotfactory.core.expressions import Constant, SizeTensor
from aotfactory.core.network import POINTS, Tensor
from aotfactory.executors.native.cmake import SOURCES
from aotfactory.executors.native.plugin_library import build_plugin_archive

Json = dict[str, Any]

DRIVER = Path(__file__).parent / "cpp" / "plugin_driver.cpp"
FIELD_TYPES = {
    "int": 10, "float": 2, "bool": 3, "str": 6, "bytes": 8, "int8[]": 3, "int16[]": 4, "int32[]": 5, "int64[]": 10,
    "bool[]": 3, "float16[]": 0, "float32[]": 1, "float64[]": 2,
}  # fmt: skip
"""nvinfer1::PluginFieldType, as TensorRT's own creators of Python plugins declare attributes."""


def build_driver(output: Path, *, options: Sequence[str] = ()) -> Path:
    """The driver, compiled with the headers that the libraries are compiled with.

    Raises:
        MissingError: See `build_plugin_archive`.
    """
    build = build_plugin_archive()
    root = Path(os.environ.get("TENSORRT_ROOT", "/usr"))
    cuda = [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")), *(Path(s.split("=")[1]) for s in build.settings[1:])]
    includes = [root / "include", *(path for place in cuda for path in (place / "include", place))]
    limits = output.parent / "generated" / "common" / "limits.h"
    script = ["cmake", f"-DJSON={SOURCES.parent / 'core' / 'limits.json'}", f"-DHEADER={limits}"]
    subprocess.run([*script, "-P", SOURCES / "limits.cmake"], check=True)
    command = [build.compiler, "-std=c++17", "-O1", "-I", SOURCES, "-I", limits.parents[1], *options]
    command += [word for path in includes if path.is_dir() for word in ("-isystem", path)]
    command += [DRIVER, build.program, "-static-libstdc++", "-static-libgcc", "-ldl", "-lpthread", "-o", output]
    subprocess.run([str(word) for word in command], check=True)
    return output


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the driver found out.

    Attributes:
        cases: One for each case.
        left: Modules that were still loaded when all plugins were gone; -1 if that cannot be known.
        said: What was logged.
    """

    cases: list[Json]
    left: int
    said: str


def ask(driver: Path, document: Json, scratch: Path, *, env: Mapping[str, str] | None = None) -> Answers:
    """Have the driver answer."""
    script = scratch / "cases.json"
    script.write_text(json.dumps(document))
    done = subprocess.run([driver, script], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return Answers(cases=found["cases"], left=found["left_modules"], said=done.stderr)


def case_of(part: Bundle, runs: Sequence[Json] = ()) -> Json:
    """A part of a library as a case for the driver."""
    network, call = part.network, part.network.calls[0]
    points = {point: network.at(point) for point in POINTS}
    inputs = []
    for name in call.inputs:
        tensor = network.tensor(name)
        dims = [d.value if isinstance(d, Constant) else -1 for d in tensor.shape]
        shapes = {point: [d.evaluate(at) for d in tensor.shape] for point, at in points.items()}
        inputs.append({"dtype": tensor.dtype, "dims": dims, **shapes})
    types = sorted({t for v in part.variants for t in v.dtypes})
    return {
        "plugin": call.plugin,
        "fields": [field(name, value) for name, value in call.attributes.items()],
        "inputs": inputs,
        "types": types,
        "formats": [0, 1, 5],
        "runs": list(runs),
    }


def field(name: str, value: Any) -> Json:
    """An attribute as a plugin field."""
    if isinstance(value, str):
        return {"name": name, "type": FIELD_TYPES["str"], "values": value}
    if isinstance(value, np.ndarray):
        as_bits = value.view(np.uint16) if value.dtype == np.float16 else value
        values = as_bits.astype(int) if value.dtype == bool else as_bits
        return {"name": name, "type": FIELD_TYPES[f"{value.dtype.name}[]"], "values": values.ravel().tolist()}
    values = [int(value) if isinstance(value, bool) else value]
    return {"name": name, "type": FIELD_TYPES[type(value).__name__], "values": values}


def run_of(part: Bundle, arrays: Mapping[str, np.ndarray[Any, Any]], scratch: Path, name: str, **more: Any) -> Json:
    """A run of a case: inputs in files, outputs wanted in others."""
    network, call = part.network, part.network.calls[0]
    files = []
    for index, tensor in enumerate(call.inputs):
        path = scratch / f"{name}.in{index}"
        path.write_bytes(np.ascontiguousarray(arrays[tensor]).tobytes())
        files.append(str(path))
    return {
        "types": [network.tensor(n).dtype for n in (*call.inputs, *call.outputs)],
        "shapes": [list(arrays[n].shape) for n in call.inputs],
        "inputs": files,
        "outputs": str(scratch / name),
        **more,
    }


def outputs_of(part: Bundle, run: Json, tactic: int) -> dict[str, np.ndarray[Any, Any]]:
    """What a run wrote, with data-dependent dimensions as long as the kernel says."""
    network, call = part.network, part.network.calls[0]
    known = bind(network, dict(zip(call.inputs, map(tuple, run["shapes"]), strict=True)))
    raw = [Path(f"{run['outputs']}.t{tactic}.{i}").read_bytes() for i in range(len(call.outputs))]

    def extent(dim: Any) -> int:
        if isinstance(dim, SizeTensor):
            size = network.tensor(call.outputs[dim.index])
            return int(np.frombuffer(raw[dim.index], dtypes.find(size.dtype).array)[0])
        return int(dim.evaluate(known))

    found = {}
    for name, data in zip(call.outputs, raw, strict=True):
        tensor = network.tensor(name)
        shape = tuple(extent(d) for d in tensor.shape)
        element = dtypes.find(tensor.dtype).array
        found[name] = np.frombuffer(data, element)[: int(np.prod(shape, dtype=np.int64))].reshape(shape)
    return found


def wrong_answers(part: Bundle, answer: Json, arch: Arch, *, alone: bool = True) -> list[str]:
    """Where the build interface differs from what Python knows of the part; empty if nowhere.

    Args:
        alone: Whether the library has no other part with these attributes, which would offer its own types.
    """
    network, call = part.network, part.network.calls[0]
    outputs = [network.tensor(name) for name in call.outputs]
    wrong = []

    def same(what: str, found: Any, expected: Any) -> None:
        if found != expected:
            wrong.append(f"{call.plugin} {what}: {found} instead of {expected}")

    same("name", answer.get("name"), call.plugin)
    same("results", [answer[f"{kind}_result"] for kind in ("types", "shapes")], [0, 0])
    same("fields", answer["fields"], {f["name"]: f["type"] for f in case_of(part)["fields"]})
    same("output types", answer["output_types"], [t.dtype for t in outputs])
    aliased = [call.inputs.index(t.aliases) if t.aliases in call.inputs else -1 for t in outputs]
    same("aliased inputs", answer["aliased"], aliased)
    for point in POINTS:
        at = network.at(point)
        dims = {
            dimension(i, axis): d.evaluate(at)
            for i, name in enumerate(call.inputs)
            for axis, d in enumerate(network.tensor(name).shape)
        }
        shapes = [[_value(e, dims) for e in shape] for shape in answer["output_shapes"]]
        same(f"output shapes at {point}", shapes, [_shape(t, at) for t in outputs])
    variants = usable_variants(part, arch)[call.name]
    offered: dict[tuple[str, ...], list[int]] = {}
    for variant in variants:
        if set(variant.formats) == {"linear"}:
            offered.setdefault(variant.dtypes, []).append(variant.tactic)
    expected = {types: [t for t in tactics if t] for types, tactics in offered.items()}
    found = {tuple(c["types"]): c["tactics"] for c in answer["combinations"]}
    same("tactics", {types: found[types] for types in found if alone or types in expected}, expected)
    same("configured", {c["configured"] for c in answer["combinations"]}, {0})
    same("formats", {f for c in answer["combinations"] for f in c["formats"]}, {0})
    for run, each in itertools.chain.from_iterable([(r, e) for e in r["runs"]] for r in answer["runs"]):
        same("created from what a plan carries", (run["configured"], each["created"]), (0, True))
    return wrong


def _value(expr: Any, dims: Mapping[str, int]) -> Any:
    return _sized(expressions.from_json(expr), dims)


def _shape(tensor: Tensor, at: Mapping[str, int]) -> list[Any]:
    return [_sized(d, at) for d in tensor.shape]


def _sized(expr: Any, at: Mapping[str, int]) -> Any:
    """A value; of a size tensor its output, opt and upper bound."""
    if isinstance(expr, SizeTensor):
        return [expr.index, expr.opt.evaluate(at), expr.upper.evaluate(at)]
    return expr.evaluate(at)
