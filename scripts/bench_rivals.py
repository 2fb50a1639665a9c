# SPDX-License-Identifier: Apache-2.0
"""What `bench_kernels.py` times beside the library's kernels: PyTorch, torch.compile, and a naive Triton kernel."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import ml_dtypes
import naive_kernels
import torch
from bench_cases import Bench, Work

TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "int8": torch.int8}
LOOSE = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 1e-1, "int8": 0}
"""How far a rival may be from PyTorch, relative to 1 + |y|: a check that all do the same work, not of accuracy."""
Call = Callable[[], Any]


def inputs_of(shapes: Mapping[str, tuple[int, ...]], dtype: str, device: str = "cuda") -> dict[str, Any]:
    """Data by name: normal numbers; a grid is the image's own, each point moved by up to a pixel."""
    torch.manual_seed(0)
    found = {}
    for name, shape in shapes.items():
        if name == "grid":
            _, height, width, _ = shape
            down, across = (torch.arange(n, device=device) * 2 / n - 1 + 1 / n for n in (height, width))
            place = torch.stack(torch.broadcast_tensors(across[None, :], down[:, None]), -1)
            pixel = torch.tensor([2 / width, 2 / height], device=device)
            data = place + (torch.rand(shape, device=device) * 2 - 1) * pixel
        else:
            data = torch.randn(shape, device=device) * (50 if dtype == "int8" else 1)
        found[name] = data.to(TYPES[dtype])
    return found


def as_array(tensor: Any) -> Any:
    """For NumPy, which has bf16 by way of ml_dtypes."""
    if tensor.dtype == torch.bfloat16:
        return tensor.cpu().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.cpu().numpy()


def compiled(bench: Bench) -> Callable[..., Any]:
    torch._dynamo.reset()  # after 8 versions of a function it would run PyTorch's own kernels
    return torch.compile(bench.torch, dynamic=False)


def warm(work: Work, rivals: Iterable[str]) -> None:
    """Have the compiled kernels in their caches on disk, for the process that times them."""
    data = inputs_of(work.shapes, work.dtype)
    expected = eager(work, data)
    for rival in rivals:
        if rival != "eager" and (calls := _calls(rival, work, [data], expected)):
            calls[0]()
    torch.cuda.synchronize()


def eager(work: Work, data: Mapping[str, Any]) -> list[Any]:
    """PyTorch's outputs, of copies: some work in place."""
    return tensors(work.bench.torch(**{n: t.clone() for n, t in data.items()}, **work.attributes))


def time_rivals(work: Work, rivals: Iterable[str], *, input_sets: int, iterations: int) -> dict[str, Any]:
    """``NAME_us`` of each rival, or ``NAME_error``; a rival that there is not for this recipe is left out."""
    first = inputs_of(work.shapes, work.dtype)
    sets = [{n: t.clone() for n, t in first.items()} for _ in range(input_sets)]
    expected = eager(work, first)
    found: dict[str, Any] = {}
    for rival in rivals:
        try:
            calls = _calls(rival, work, sets, expected)
            if not calls:
                continue
            if work.bench.recipe == "non_zero":  # PyTorch's waits for the GPU itself, which a graph cannot hold
                found[f"{rival}_us"] = timed_alone(calls, iterations)
            else:
                check(calls[0](), expected, work.dtype)
                found[f"{rival}_us"] = timed(calls, iterations)
        except Exception as error:
            found[f"{rival}_error"] = f"{type(error).__name__}: {error}"[:300]
            torch.cuda.synchronize()
        for given in sets:  # some work in place
            for name, tensor in first.items():
                given[name].copy_(tensor)
    return found


def _calls(rival: str, work: Work, sets: list[dict[str, Any]], expected: list[Any]) -> list[Any]:
    """A call for each set of inputs; none where the rival does not do this work."""
    if rival == "naive":
        calls = [naive_kernels.launcher(work.bench.recipe, s, work.attributes, expected) for s in sets]
        return [call for call in calls if call is not None]
    if rival == "compile" and not work.bench.compiled:
        return []
    function = compiled(work.bench) if rival == "compile" else work.bench.torch
    return [partial(function, **given, **work.attributes) for given in sets]


def tensors(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def check(result: Any, expected: list[Any], dtype: str) -> None:
    """Raise if a rival does other work than PyTorch: outputs differ by more than rounding."""
    for out, wanted in zip(tensors(result), expected, strict=True):
        a, b = out.float(), wanted.float()
        step = {torch.int8: 1, torch.float8_e4m3fn: 32}.get(out.dtype, 0)
        bad = (a - b).abs() > LOOSE[dtype] * (1 + b.abs()) + step
        if bad.float().mean().item() > 1e-4:
            raise RuntimeError(f"differs from PyTorch in {int(bad.sum())} of {bad.numel()} elements")


def timed(calls: Sequence[Call], iterations: int) -> float:
    """Microseconds of one call: the median over replays of a CUDA graph of all of them, several times over."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls:
            call()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        rounds = math.ceil(10 / len(calls))
        # Each set has outputs of its own: else all would be written to the same memory, which stays in L2.
        kept: deque[Any] = deque(maxlen=len(calls))
        with torch.cuda.graph(graph, stream=stream):
            for _ in range(rounds):
                for call in calls:
                    kept.append(call())
        graph.replay()
        samples = []
        for _ in range(iterations):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            samples.append(begin.elapsed_time(end) * 1000 / (rounds * len(calls)))
    return statistics.median(samples)


def timed_alone(calls: Sequence[Call], iterations: int) -> float:
    """The same without a graph."""
    samples = []
    for k in range(iterations + 10):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        calls[k % len(calls)]()
        end.record()
        end.synchronize()
        samples.append(begin.elapsed_time(end) * 1000)
    return statistics.median(samples[10:])
