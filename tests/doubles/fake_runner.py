# SPDX-License-Identifier: Apache-2.0
"""Stands for aotfactory-runner: computes with NumPy and reports as the runner does.

Run as ``fake_runner.py SPEC.json PLAN ARGUMENTS...``. SPEC has ``compute`` (see `plan_math`), the input's ``shapes`` at
the profile's points, ``libraries``, and what goes wrong: ``spoil``, ``checks``, ``error`` and its ``exit_code``. It
notes each call in the file ``calls``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

from doubles.plan_math import compute


def main() -> int:
    spec = json.loads(Path(sys.argv[1]).read_text())
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("plan")
    for name in ("--at", "--seed", "--device", "--output-dir", "--library", "--warmup", "--iterations", "--repeat"):
        parser.add_argument(name)
    for name in ("--input", "--shape", "--in-place"):
        parser.add_argument(name, action="append", default=[])
    for name in ("--save-inputs", "--lean", "--host-code", "--tight", "--timing", "--graph"):
        parser.add_argument(name, action="store_true")
    options = parser.parse_args(sys.argv[2:])
    own = {"LC_CTYPE", "PWD", "OLDPWD", "SHLVL", "_"}  # what Python and the shell make themselves
    with Path(spec["calls"]).open("a") as calls:
        calls.write(json.dumps({"arguments": sys.argv[2:], "environment": sorted(os.environ.keys() - own)}) + "\n")
    report = {
        "schema": "aotfactory.run/1",
        "libraries": spec.get("libraries", ["libcuda.so.1", "libnvinfer.so.11"]),
    }
    if "error" in spec:
        print(json.dumps({**report, "status": "error", "error": spec["error"], "exit_code": spec["exit_code"]}))
        return int(spec["exit_code"])
    if options.input:
        (text,) = options.input
        x = np.load(text.removeprefix("x="))
    else:
        shape = [int(n) for n in options.shape[0].removeprefix("x=").split("x")] if options.shape else None
        x = np.random.default_rng(int(options.seed)).standard_normal(shape or spec["shapes"][options.at])
        x = x.astype(np.float32)
    directory = Path(options.output_dir)
    directory.mkdir(parents=True, exist_ok=True)

    def described(name: str, array: np.ndarray) -> dict[str, object]:
        file = directory / f"{name}.npy"
        np.save(file, np.asarray(array, order="C"))
        names = {"float32": "fp32"}
        return {
            "name": name,
            "dtype": names.get(array.dtype.name, array.dtype.name),
            "shape": list(array.shape),
            "file": str(file),
        }

    outputs = compute(spec["compute"], x, spec.get("spoil", ""))
    inputs = [described("x", x)] if options.save_inputs else [{"name": "x", "source": "random"}]
    report |= {"inputs": inputs, "outputs": [described(n, a) for n, a in outputs.items()]}
    if options.timing:
        times = {"min": 1.0, "p5": 1.5, "median": 2.0, "p95": 2.5, "max": 3.0}
        report["timing"] = {"us": times, "gb_per_s": 512.25}
        if options.graph:
            report["timing"] |= {"graph_us": {**times, "median": 1.75}, "graph_gb_per_s": 600.5}
    checks = spec.get("checks", [])
    if spec.get("in_place") and not options.in_place:  # as before 10.15, where TensorRT does not tell
        checks.append({"name": "input", "subject": "x", "status": "failed", "detail": "the plan wrote to it"})
    print(json.dumps({**report, "status": "failed" if checks else "passed", "checks": checks}))
    return 1 if checks else 0


if __name__ == "__main__":
    sys.exit(main())
