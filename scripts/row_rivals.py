# SPDX-License-Identifier: Apache-2.0
"""What `bench_rows.py` runs on the GPU: our tactics through the launcher, and PyTorch, torch.compile, Liger, QuACK."""

from __future__ import annotations

import multiprocessing
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from bench_rivals import TYPES, as_array, timed
from torch.nn import functional

from aotfactory.executors.native.launcher import run_launcher
from aotfactory.executors.native.program import Timing

Key = tuple[str, int, int, str]
"""Kernel, rows, their length, type."""

EPS = {"rms_norm": 1e-6, "layer_norm": 1e-5}
NEAR = {"fp32": 3e-5, "fp16": 2e-3, "bf16": 1.6e-2}
"""How far an output may be from float64's, relative to 1e-3 + |y| of norms, or to the largest of softmax."""


def machine() -> dict[str, str]:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    name, driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0].split(", ")
    found = {
        "gpu": name,
        "driver": driver,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    for name in ("triton", "liger-kernel", "quack-kernels", "nvidia-cutlass-dsl"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def data_of(key: Key) -> dict[str, Any]:
    """Normal numbers, of a row's scale; weights are ones a little apart."""
    kernel, rows, cols, dtype = key
    torch.manual_seed(0)
    found = {"x": torch.randn(rows, cols, device="cuda").to(TYPES[dtype])}
    if kernel != "softmax":
        found["weight"] = (1 + 0.1 * torch.randn(cols, device="cuda")).to(TYPES[dtype])
    if kernel == "layer_norm":
        found["bias"] = (0.1 * torch.randn(cols, device="cuda")).to(TYPES[dtype])
    return found


def eager(kernel: str, x: Any, weight: Any = None, bias: Any = None) -> Any:
    if kernel == "softmax":
        return x.softmax(-1)
    if kernel == "rms_norm":
        return functional.rms_norm(x, (x.shape[-1],), weight, EPS[kernel])
    return functional.layer_norm(x, (x.shape[-1],), weight, bias, EPS[kernel])


def apart(kernel: str, y: Any, exact: Any, dtype: str) -> int:
    """Elements further from float64's than rounding takes them; NaN is."""
    least = exact.abs().max() * 1e-3 if kernel == "softmax" else 1.0
    info = torch.finfo(y.dtype)
    step = info.smallest_normal * info.eps  # between denormals, which softmax of long rows gives
    return int((~((y.double() - exact).abs() <= NEAR[dtype] * (least + exact.abs()) + step)).sum())


def ours(path: Path, key: Key) -> dict[str, Any]:
    """Microseconds of each tactic, of a device copy, and elements that were wrong, by tactic."""
    data, dtype = data_of(key), key[3]
    timing = Timing(iterations=20, warmup=5, input_sets=0, graph=True, copy_baseline=True)
    given = {n: as_array(t) for n, t in data.items()}
    result = run_launcher(path, inputs=given, tactic="all", tight=True, timing=timing)
    exact = eager(key[0], **{n: t.double() for n, t in data.items()})
    us, wrong, copies, sets = {}, {}, [], 1
    for run in result.runs:
        assert run.timing is not None
        us[run.tactic], copy = (
            min(run.timing[what][how]["median"] for how in ("us", "graph_us")) for what in ("pass", "copy")
        )
        copies.append(copy)
        sets = run.timing["input_sets"]
        (y,) = run.outputs.values()
        y = torch.from_numpy(y.view("int16") if dtype == "bf16" else y)
        bad = apart(
            key[0],
            (y.view(torch.bfloat16) if dtype == "bf16" else y).cuda(),
            exact,
            dtype,
        )
        if bad or run.failures:
            wrong[run.tactic] = [bad, *run.failures]
    return {
        "us": us,
        "wrong": wrong,
        "copy_us": sorted(copies)[len(copies) // 2],
        "sets": sets,
    }


def function(rival: str, kernel: str) -> Callable[..., Any]:
    """A rival's forward function of x, weight, bias. Raises ImportError where it is not installed."""
    if rival == "eager":
        return partial(eager, kernel)
    if rival == "compile":
        torch._dynamo.reset()
        return torch.compile(partial(eager, kernel), dynamic=False)
    if rival == "liger":
        return _liger(kernel)
    return _quack(kernel)


def _liger(kernel: str) -> Callable[..., Any]:
    if kernel == "softmax":
        from liger_kernel.ops.softmax import LigerSoftmaxFunction

        return LigerSoftmaxFunction.apply
    if kernel == "rms_norm":
        from liger_kernel.ops.rms_norm import LigerRMSNormFunction

        return lambda x, weight: LigerRMSNormFunction.apply(x, weight, EPS[kernel])
    from liger_kernel.ops.layer_norm import LigerLayerNormFunction

    return lambda x, weight, bias: LigerLayerNormFunction.apply(x, weight, bias, EPS[kernel])


def _quack(kernel: str) -> Callable[..., Any]:
    if kernel == "softmax":
        from quack.softmax import softmax_fwd

        return softmax_fwd
    if kernel == "rms_norm":
        from quack.rmsnorm import rmsnorm_fwd

        return lambda x, weight: rmsnorm_fwd(x, weight, eps=EPS[kernel])[0]
    from quack.rmsnorm import layernorm_fwd

    return lambda x, weight, bias: layernorm_fwd(x, weight, bias, EPS[kernel])


def _given(rival: str, kernel: str, data: Mapping[str, Any]) -> list[Any]:
    """QuACK's layer_norm takes weight and bias in fp32."""
    wide = rival == "quack" and kernel == "layer_norm"
    return [t.float() if wide and n != "x" else t for n, t in data.items()]


def times(key: Key, rivals: Iterable[str]) -> dict[str, float | str]:
    """Microseconds of each rival, or why there are none."""
    kernel, dtype = key[0], key[3]
    first = data_of(key)
    moved = sum(t.nbytes for t in first.values()) + first["x"].nbytes
    memory = torch.cuda.get_device_properties(0)
    count = max(
        1,
        min(64, 1 + 4 * memory.L2_cache_size // moved, memory.total_memory // 4 // moved),
    )
    sets = [{n: t.clone() for n, t in first.items()} for _ in range(count)]
    exact = eager(kernel, **{n: t.double() for n, t in first.items()})
    found: dict[str, float | str] = {}
    with torch.no_grad():
        for rival in rivals:
            try:
                run = function(rival, kernel)
                y = run(*_given(rival, kernel, first))
                y = y[0] if isinstance(y, tuple) else y
                if bad := apart(kernel, y, exact, dtype):
                    raise RuntimeError(f"{bad} of {y.numel()} elements are wrong")
                found[rival] = timed([partial(run, *_given(rival, kernel, s)) for s in sets], 20)
            except Exception as error:
                found[rival] = f"{type(error).__name__}: {error}"[:160]
                torch.cuda.synchronize()
    return found


def warm_all(bundles: Mapping[Key, Path], rivals: list[str], jobs: int) -> None:
    """Have what the driver and the rivals compile in their caches on disk, in several processes."""
    compiled = [r for r in rivals if r != "eager"]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        pool.starmap(_warm, [(key, path, compiled) for key, path in bundles.items()], chunksize=1)


def _warm(key: Key, path: Path, rivals: list[str]) -> None:
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    data = data_of(key)
    ours = partial(run_launcher, path, tactic="all", tight=True, check=False, save_outputs=False)
    calls = {r: partial(lambda r: function(r, key[0])(*_given(r, key[0], data)), r) for r in rivals}
    with torch.no_grad():
        for name, call in {"ours": ours, **calls}.items():
            try:
                call()
                torch.cuda.synchronize()
            except Exception as error:  # told again when it is timed
                print(f"{name} {key}: {type(error).__name__}: {error}"[:200], flush=True)
