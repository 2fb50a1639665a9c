# SPDX-License-Identifier: Apache-2.0
"""Small hand-written bundles for the tests of the launcher."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

Manifest = dict[str, Any]


def entry(name: str, parameters: list[str]) -> str:
    """PTX of a kernel that does nothing; for the fake driver, which has its own kernels by these names."""
    types = {"ptr": ".u64 .ptr .global .align 16", "i32": ".u32"}
    listed = ",\n".join(f"  .param {types[kind]} {name}_param_{i}" for i, kind in enumerate(parameters))
    return f".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry {name}(\n{listed}\n)\n{{ ret; }}\n"


def tensor(name: str, role: str, shape: list[Any], dtype: str = "fp32", aliases: str | None = None) -> Manifest:
    return {"name": name, "role": role, "dtype": dtype, "shape": shape, "aliases": aliases}


def variant(call: str = "call", *, kernel: str = "copy", ptx: str | None = None, **changes: Any) -> Manifest:
    """A variant for `copy(x, n, y)`: one element of x (N, 8) a thread, 1024 threads a block."""
    parameters = changes.get("parameters", ["ptr", "i32", "ptr"])
    text = ptx if ptx is not None else entry(kernel, parameters)
    return {
        "id": f"{call}.{kernel}.{changes.get('arch', 'sm_90')}.t{changes.get('tactic', 1)}",
        "call": call,
        "plugin": "test::copy",
        "arch": "sm_90",
        "dtypes": ["fp32"] * parameters.count("ptr"),
        "formats": ["linear"] * parameters.count("ptr"),
        "tactic": 1,
        "kernel": kernel,
        "ptx": f"{kernel}.ptx",
        "ptx_bytes": len(text.encode()),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "ptx_isa": "8.0",
        "ptx_target": "sm_80",
        "parameters": parameters,
        "launch": {
            "grid_x": ["ceil_div", ["prod", "N", 8], 1024],
            "grid_y": 1,
            "grid_z": 1,
            "block_x": 1024,
            "block_y": 1,
            "block_z": 1,
            "shared_mem": 0,
        },
        "extra_args": [["prod", "N", 8]] * parameters.count("i32"),
        "registers": 8,
        "spills": 0,
        "text": text,  # for write(): not part of the manifest
        **changes,
    }


def manifest(*variants: Manifest, **changes: Any) -> Manifest:
    """One call, x (N, 8) -> y (N, 8), N from 0 to 4096."""
    return {
        "schema": "aotfactory.bundle/1",
        "name": "sample",
        "target": "sample",
        "versions": {},
        "symbols": {"N": {"min": 0, "opt": 100, "max": 4096}},
        "tensors": [tensor("x", "input", ["N", 8]), tensor("y", "output", ["N", 8])],
        "calls": [{"name": "call", "plugin": "test::copy", "attributes": {}, "inputs": ["x"], "outputs": ["y"]}],
        "variants": list(variants) or [variant()],
        **changes,
    }


def own_names(content: Manifest) -> Manifest:
    """The same with PTX files named as Python's reader wants them."""
    for item in content["variants"]:
        item["ptx"] = f"{item['id']}.{item['sha256'][:8]}.ptx"
    return content


def write(directory: Path, content: Manifest) -> Path:
    """Writes the bundle and its PTX files."""
    directory.mkdir(parents=True, exist_ok=True)
    for item in content["variants"]:
        if "text" in item:
            (directory / item["ptx"]).write_text(item.pop("text"))
    (directory / "manifest.json").write_text(json.dumps(content))
    return directory
