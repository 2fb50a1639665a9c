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
    types = {"ptr": ".u64 .ptr .global .align 16", "i32": ".u32", "i64": ".u64", "fp32": ".f32"}
    listed = ",\n".join(f"  .param {types[kind]} {name}_param_{i}" for i, kind in enumerate(parameters))
    return f".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry {name}(\n{listed}\n)\n{{ ret; }}\n"


def tensor(name: str, role: str, shape: list[Any], dtype: str = "fp32", aliases: str | None = None) -> Manifest:
    return {"name": name, "role": role, "dtype": dtype, "shape": shape, "aliases": aliases}


def digest(text: str) -> Manifest:
    """What a manifest says of a PTX file's content."""
    return {"ptx_bytes": len(text.encode()), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def launch(**changes: Any) -> Manifest:
    """A launch of 1024 threads a block, one for each element of x (N, 8)."""
    blocks: dict[str, Any] = {"grid_x": ["ceil_div", ["prod", "N", 8], 1024], "grid_y": 1, "grid_z": 1}
    return {**blocks, "block_x": 1024, "block_y": 1, "block_z": 1, "shared_mem": 0, **changes}


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
        **digest(text),
        "ptx_isa": "8.0",
        "ptx_target": "sm_80",
        "parameters": parameters,
        "launch": launch(),
        "extra_args": [["prod", "N", 8]] * parameters.count("i32"),
        "registers": 8,
        "spills": 0,
        "text": text,  # for write(): not part of the manifest
        **changes,
    }


def later(kernel: str, parameters: list[str], extra_args: list[Any], **changes: Any) -> Manifest:
    """A kernel that is launched after another of its variant."""
    whole = variant(kernel=kernel, parameters=parameters, extra_args=extra_args, **changes)
    names = ("kernel", "ptx", "ptx_bytes", "sha256", "ptx_isa", "ptx_target", "parameters", "launch", "extra_args")
    return {name: whole[name] for name in (*names, "registers", "spills", "text", *changes)}


def in_a_row(**changes: Any) -> Manifest:
    """A bundle for a plugin library: x minus the mean of its row of 8, by two kernels that share a workspace."""
    count, rows = ["prod", "N", 8], ["max", "N", 1]
    eighth = ["quotient", rows, ["prod", rows, 8]]
    second = later("minus_mean", ["ptr", "i64", "fp32", "ptr", "ptr"], [count, eighth])
    first = variant(
        kernel="sums",
        parameters=["ptr", "i32", "ptr", "ptr"],
        dtypes=["fp32", "fp32"],
        formats=["linear", "linear"],
        workspaces=[{"bytes": ["prod", "N", 4], "at_most": 4 * 4096}],
        then=[second],
    )
    return manifest({**first, **changes}, road="library")


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
        for kernel in (item, *item.get("then", ())):
            kernel["ptx"] = f"{item['id']}.{kernel['sha256'][:8]}.ptx"
    return content


def write(directory: Path, content: Manifest) -> Path:
    """Writes the bundle and its PTX files."""
    directory.mkdir(parents=True, exist_ok=True)
    for item in content["variants"]:
        for kernel in (item, *item.get("then", ())):
            if "text" in kernel:
                (directory / kernel["ptx"]).write_text(kernel.pop("text"))
    (directory / "manifest.json").write_text(json.dumps(content))
    return directory
