#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models and PyTorch's operators on a GPU: what `export_models.py` made, node by node, and every recipe as an operator.

    scripts/export_models.py --out DIR                      anywhere: models, grafted, and their bundles
    scripts/models_gpu.py --models DIR --out FILE.json      on the GPU: takes torch, onnx and the launcher

A bundle's kernels run on the tensors that their nodes get in the model, which the CPU computes. The operators of
`aotfactory.torch` run on CUDA tensors of every type that PyTorch has: as they are, inside `torch.compile`, and in a
stream and CUDA graph of their own; each is compared with its recipe's reference.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

import aotfactory.torch
from aotfactory.api.validate_model import validate_model
from aotfactory.core.expressions import SizeTensor
from aotfactory.core.recipe import Recipe
from aotfactory.executors import data, reference
from aotfactory.plugins.catalog import Catalog
from aotfactory.torch.gpu import network_of
from aotfactory.torch.tensors import TORCH, from_array, to_array

Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="the folder of export_models.py")
    parser.add_argument("--out", type=Path, default=Path("models.json"))
    parser.add_argument("--recipes", default="", help="only these, comma-separated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="models and recipes at a time")
    parser.add_argument("--device", default="cuda", help="cpu: to try the script where there is no GPU")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(rows_of(options.part, options)))
        return 0
    recipes = options.recipes.split(",") if options.recipes else recipe_names()
    parts = [*map(str, sorted(options.models.glob("*_grafted.onnx")) if options.models else []), *recipes]
    rows: list[Row] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for part, found in zip(parts, pool.map(part_of, parts), strict=True):
            rows += found
            for row in found:
                print(f"{row.get('what', part):<34} {row.get('ran', 0):>3} right, wrong: {row['wrong']}", flush=True)
    where = {"gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none", "torch": torch.__version__}
    result = {"date": datetime.date.today().isoformat(), "machine": where, "rows": rows}
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    bad = [row for row in rows if row["wrong"]]
    print(f"{len(rows)} rows, {len(bad)} wrong")
    return 1 if bad or not rows else 0


def part_of(part: str) -> list[Row]:
    """The rows of one model or recipe, from a process of its own."""
    done = subprocess.run([sys.executable, *sys.argv, "--part", part], capture_output=True, text=True, check=False)
    try:
        found: list[Row] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return [{"what": part, "wrong": [f"exit code {done.returncode}: {done.stderr[-300:]}"]}]
    return found


def recipe_names() -> list[str]:
    catalog = Catalog()
    catalog.load_all()
    return sorted(catalog.recipes)


def rows_of(part: str, options: argparse.Namespace) -> list[Row]:
    if part.endswith(".onnx"):
        return [attempt(f"model {Path(part).stem}", lambda: model(Path(part)))]
    catalog = Catalog()
    recipe = catalog.find(part)
    assert recipe is not None
    return [
        attempt(f"operator {part} {dtype}", lambda d=dtype: operator(recipe, d, catalog, options.device))
        for dtype in recipe.dtypes
        if dtype in TORCH
    ]


def attempt(what: str, work: Callable[[], Row]) -> Row:
    started = time.monotonic()
    try:
        row = work()
    except Exception as error:  # one row's trouble is not the others'
        row = {"wrong": [f"{type(error).__name__}: {error}"[:400]]}
    return {"what": what, "seconds": round(time.monotonic() - started, 1), **row}


def model(path: Path) -> Row:
    """Every tactic of every plugin node on what the node gets."""
    checks = validate_model(path.with_suffix(".aot"), path, executors=("launcher",))
    wrong = [f"{c.subject}: {c.detail}" for c in checks if c.status != "passed"]
    return {"ran": len(checks) - len(wrong), "wrong": wrong, "detail": [c.detail for c in checks]}


def operator(recipe: Recipe, dtype: str, catalog: Catalog, device: str) -> Row:
    """A recipe's operator at its default shapes, four ways."""
    made = aotfactory.torch.operator(recipe.plugin)
    shapes = {i.name: i.shape for i in recipe.inputs}
    types = {i.name: i.dtypes[0] if i.dtypes else dtype for i in recipe.inputs}
    blank = [torch.zeros(shapes[i.name], dtype=TORCH[types[i.name]]) for i in recipe.inputs]
    network = network_of(made.plugin, blank, made.defaults)
    arrays = data.make_inputs(network, catalog.for_plugin, shapes, types, "random").arrays
    inputs = [from_array(arrays[name], types[name]).to(device) for name in arrays]
    expected = reference.outputs(network, catalog.for_plugin, arrays)
    if device != "cpu" and any(isinstance(d, SizeTensor) for t in network.outputs for d in t.shape):
        return {"ran": 0, "wrong": [], "detail": "its outputs' shapes depend on data: on a CPU only"}
    wrong, ran = [], 0
    for way, call in WAYS.items():
        if device == "cpu" and call is captured:
            continue
        got = call(made, inputs)
        outputs = got if isinstance(got, tuple) else (got,)
        found = {t.name: to_array(o.cpu()) for t, o in zip(network.outputs, outputs, strict=True)}
        problem = reference.compare(network, catalog.for_plugin, found, expected)
        ran += problem is None
        wrong += [f"{way}: {problem}"] if problem else []
    return {"ran": ran, "wrong": wrong}


def captured(made: Any, inputs: list[torch.Tensor]) -> Any:
    """In a CUDA graph, on other data than it was captured with."""
    held = [torch.zeros_like(t) for t in inputs]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        made(*held)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = made(*held)
    for place, tensor in zip(held, inputs, strict=True):
        place.copy_(tensor)
    graph.replay()
    torch.cuda.synchronize()
    return result


def compiled(made: Any, inputs: list[torch.Tensor]) -> Any:
    torch._dynamo.reset()
    return torch.compile(lambda *tensors: made(*tensors), fullgraph=True, backend="aot_eager")(*inputs)


WAYS: Mapping[str, Callable[[Any, list[torch.Tensor]], Any]] = {
    "eager": lambda made, inputs: made(*inputs),
    "strided": lambda made, inputs: made(*(t.mT.contiguous().mT if t.ndim > 1 else t for t in inputs)),
    "torch.compile": compiled,
    "CUDA graph": captured,
}

if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main())
