# SPDX-License-Identifier: Apache-2.0
"""Stands for trtexec: checks its arguments as trtexec does, computes with NumPy, writes what trtexec 10 and 11 write.

Run as ``fake_trtexec.py SPEC.json ARGUMENTS...``; SPEC says which version and what goes wrong (see `test_trtexec`), and
gives the outputs, or what computes them (see `plan_math`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from doubles.plan_math import compute

SPEC: dict[str, Any] = {}
NAMES = {"fp32": "FP32", "fp16": "FP16", "bf16": "BF16", "int8": "Int8", "int32": "Int32", "int64": "Int64"}


def say(text: str, severity: str = "I") -> None:
    print(f"[11/22/2026-10:11:12] [{severity}] {text}")


def element(dtype: str) -> np.dtype:
    names = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
    name = names.get(dtype, dtype)
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def pairs(text: str) -> dict[str, str]:
    return dict(part.rsplit(":", 1) for part in text.split(",") if part)


def statistics(scale: float) -> str:
    values = {"min": 1.0, "max": 3.5, "mean": 2.25, "median": 2.0}
    text = ", ".join(f"{n} = {v * scale:g} ms" for n, v in values.items())
    return text + "".join(f", percentile({p}%) = {p * scale / 30:g} ms" for p in (90, 95, 99))


def load(path: str, dtype: str, shape: list[int]) -> np.ndarray:
    size = int(np.prod(shape)) * element(dtype).itemsize
    content = Path(path).read_bytes()
    if len(content) not in (size, 2 * size):  # twice is let through, and misread
        say(f"Unexpected file size for input file: {path}. Note: Input binding size is: {size}", "E")
        sys.exit(finish(False))
    return np.frombuffer(content[:size], element(dtype)).reshape(shape)


def finish(passed: bool) -> int:
    result = "PASSED" if passed else "FAILED"
    number = SPEC["version"]
    print(f"&&&& {result} TensorRT.trtexec [TensorRT v{number}] [b106] # {' '.join(sys.argv[2:])}")
    return 0 if passed else 1


def export(outputs: dict[str, np.ndarray]) -> None:
    for name, array in outputs.items():
        dtype = next(t["dtype"] for t in SPEC["outputs"] if t["name"] == name)
        shape, content = array.shape, array.tobytes()
        if SPEC.get("dds") == name:  # sized before the run, when the extent is -1
            shape, content = (-1, *shape[1:]), content[: array.itemsize * array.shape[-1]]
        if 110000 <= SPEC["version"] < 110100 and "--includeDataTransfers" not in sys.argv:
            content = bytes(len(content))  # never copied back
        Path(f"{name}.output.{'.'.join(map(str, shape))}.{NAMES[dtype]}.raw").write_bytes(content)
    Path("times.json").write_text(
        '[\n  { "startEnqMs" : 1.5, "endEnqMs" : 1.6, "computeMs" : 0.25, "latencyMs" : 0.25 }\n]\n'
    )
    if "--dumpProfile" in sys.argv:
        Path("profile.json").write_text(
            '[\n  { "count" : 12 }\n, { "name" : "circ_pad", "timeMs" : 3, "averageMs" : 0.25, "medianMs" : 0.25, '
            '"percentage" : 100 }\n]\n'
        )


def inferences(options: dict[str, str]) -> int:
    """How often it runs the plan, if not for some seconds."""
    graph = SPEC["version"] >= 110000 and "--noCudaGraph" not in options
    return int(options.get("--iterations", 10)) + graph + (SPEC["version"] >= 110100)  # which is for accuracy


def main() -> int:
    global SPEC
    SPEC = json.loads(Path(sys.argv[1]).read_text())
    options = dict(a.split("=", 1) if "=" in a else (a, "") for a in sys.argv[2:])
    known = {"--loadEngine", "--loadInputs", "--shapes", "--dumpRawBindingsToFile", "--exportTimes", "--iterations"}
    known |= {"--duration", "--warmUp", "--dumpProfile", "--exportProfile", "--versionCompatible"}
    if SPEC["version"] >= 110000:
        known |= {"--noCudaGraph", "--includeDataTransfers"}
    if SPEC["version"] >= 110100:
        known |= {"--loadRefOutputs", "--accuracyAlgorithm", "--atol", "--rtol", "--accuracyThreshold"}
    print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{SPEC['version']}] [b106] # {' '.join(sys.argv[2:])}", flush=True)
    if unknown := options.keys() - known:
        say(f"Unknown option: {unknown.pop()}", "E")
        return finish(False)
    match SPEC.get("fault"):
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(60)
        case "silent":
            return 0
        case "unreadable":
            say("[stdArchiveReader.h::72] Error Code 1: Serialization (magicTag == expected failed)", "E")
            say("Engine deserialization failed", "E")
            return finish(False)
        case "failed":
            say("Error occurred during inference", "E")
            return finish(False)
    files = pairs(options["--loadInputs"])
    shapes = {n: [int(d) for d in s.split("x")] for n, s in pairs(options.get("--shapes", "")).items()}
    arrays = [load(files[t["name"]], t["dtype"], shapes.get(t["name"], t["shape"])) for t in SPEC["inputs"]]
    if "compute" in SPEC:
        x = arrays[0]
        for _ in range(inferences(options) if SPEC.get("in_place") else 1):
            results = compute(SPEC["compute"], x, SPEC.get("spoil", ""))
            x = next(iter(results.values()))
    else:
        results = {t["name"]: np.load(t["file"]) for t in SPEC["outputs"]}
    if SPEC.get("add_to_first"):  # the outputs depend on what was loaded
        first = SPEC["outputs"][0]
        results[first["name"]] = (arrays[0] + SPEC["add_to_first"]).astype(element(first["dtype"]))
    for t in SPEC["outputs"]:
        results[t["name"]] = results[t["name"]].view(element(t["dtype"]))
    failed = False
    for name, path in pairs(options.get("--loadRefOutputs", "")).items():
        shape, dtype = results[name].shape, next(t["dtype"] for t in SPEC["outputs"] if t["name"] == name)
        wanted = load(path, dtype, list(shape)).astype(np.float64)
        off = np.abs(results[name].astype(np.float64) - wanted) > (
            float(options["--atol"]) + float(options["--rtol"]) * np.abs(wanted)
        )
        share = float(off.mean())
        bad = share >= float(options["--accuracyThreshold"])
        failed |= bad
        mark = f" [FAIL: >= threshold {options['--accuracyThreshold']}]" if bad else ""
        say(f"Accuracy loss for tensor {name} (L0): {share:.6f}{mark}")
    export(results)
    if SPEC.get("fault") != "no summary":
        say("")
        say("=== Performance summary ===")
        say("Throughput: 4012.5 qps")
        for i, name in enumerate(("Latency", "Enqueue Time", "H2D Latency", "GPU Compute Time", "D2H Latency")):
            if SPEC.get("fault") != "half a summary" or i < 2:
                say(f"{name}: {statistics(i + 1)}")
        say("Total Host Walltime: 3.001 s")
        say("Total GPU Compute Time: 2.9 s")
        say("* GPU compute time is unstable, with coefficient of variance = 3.1%.", "W")
    if failed:
        say("Accuracy validation FAILED: one or more tensors exceeded the threshold.", "E")
    return finish(not failed)


if __name__ == "__main__":
    sys.exit(main())
