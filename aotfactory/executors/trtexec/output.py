# SPDX-License-Identifier: Apache-2.0
"""Output of trtexec 10.x and 11.x, printed or exported. Source: NVIDIA's samples/trtexec and samples/common."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aotfactory.core.documents import parse_json
from aotfactory.core.errors import TrtexecOutputError
from aotfactory.core.files import read_file
from aotfactory.core.limits import LIMITS

_PREFIX = re.compile(r"^\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\] \[[A-Z]\] ?")
_RESULT = re.compile(r"&&&& (PASSED|FAILED) TensorRT\.trtexec \[TensorRT v(\d{1,9})\]", re.ASCII)
# Of bounded length, and matched without backtracking: a log of any size takes time in proportion.
_NUMBER = r"([-+]?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:e[-+]?[0-9]{1,2})?)"
_STATISTICS = {
    "Latency": "latency",
    "Enqueue Time": "enqueue",
    "H2D Latency": "h2d",
    "GPU Compute Time": "gpu_compute",
    "D2H Latency": "d2h",
}


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics of one kind of time, in milliseconds; `percentiles` by percentage."""

    min: float
    max: float
    mean: float
    median: float
    percentiles: Mapping[float, float]


@dataclass(frozen=True, kw_only=True)
class Performance:
    """trtexec's performance summary.

    Since 11.0 transfers are off, and CUDA graph and spin wait on by default: numbers of 10.x do not compare.

    Attributes:
        throughput: Inferences per second.
        host_walltime, total_gpu_compute: Seconds.
    """

    throughput: float
    latency: Statistics
    enqueue: Statistics | None
    h2d: Statistics | None
    gpu_compute: Statistics
    d2h: Statistics | None
    host_walltime: float
    total_gpu_compute: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """trtexec's last line: did it pass, and its TensorRT, as (11, 4, 0)."""

    passed: bool
    version: tuple[int, int, int]


def plain_lines(text: str) -> list[str]:
    """The lines without time and severity."""
    return [_PREFIX.sub("", line) for line in text.splitlines()]


def verdict(text: str) -> Verdict | None:
    """The verdict; None if trtexec did not get to say it."""
    found = _RESULT.search(text)
    if found is None:
        return None
    number = int(found[2])
    # 10000 * major + 100 * minor + patch since 10.0.
    return Verdict(passed=found[1] == "PASSED", version=(number // 10000, number // 100 % 100, number % 100))


def errors(text: str) -> list[str]:
    """The lines that trtexec marks as errors."""
    return [_PREFIX.sub("", line) for line in text.splitlines() if re.match(r"^\[[^\]]*\] \[E\]", line)]


def performance(text: str) -> Performance | None:
    """The performance summary; None if there is none, as with ``--skipInference``.

    Raises:
        CheckError: It is not as trtexec 10.x or 11.x write it.
    """
    lines = plain_lines(text)
    if not any("=== Performance summary ===" in line for line in lines):
        return None
    values: dict[str, Any] = dict.fromkeys(_STATISTICS.values())
    for line in lines:
        name, colon, rest = line.partition(": ")
        if not colon:
            continue
        if name in _STATISTICS and "median" in rest:
            values[_STATISTICS[name]] = _statistics(rest)
        elif name == "Throughput" and (found := re.match(_NUMBER + r" qps", rest)):
            values["throughput"] = float(found[1])
        elif name in ("Total Host Walltime", "Total GPU Compute Time") and (found := re.match(_NUMBER + " s", rest)):
            values["host_walltime" if "Host" in name else "total_gpu_compute"] = float(found[1])
    try:
        summary = Performance(**values)
    except TypeError:
        summary = None
    if summary is None or values["latency"] is None or values["gpu_compute"] is None:
        raise TrtexecOutputError(
            "trtexec's performance summary is incomplete", hint="is it a version between 10.9 and 11.x?"
        )
    return summary


def _statistics(text: str) -> Statistics:
    found = {name: float(value) for name, value in re.findall(rf"(min|max|mean|median) = {_NUMBER} ms", text)}
    percentiles = {
        float(p): float(v)
        for p, v in re.findall(rf"percentile\(([0-9]{{1,3}}(?:\.[0-9]{{1,6}})?)%?\) = {_NUMBER} ms", text)
    }
    if len(found) != 4:
        raise TrtexecOutputError(f"trtexec wrote statistics that cannot be read: {text[:80]}")
    return Statistics(**found, percentiles=percentiles)


def exported_times(path: Path) -> list[dict[str, float]]:
    """``--exportTimes``: times of each inference in milliseconds.

    Raises:
        CheckError: It is not that.
    """
    times = _records(path)
    if not all(_is_number(value) for record in times for value in record.values()):
        raise TrtexecOutputError("trtexec's exported times are not numbers", where=str(path))
    return times


def exported_profile(path: Path) -> tuple[int, list[dict[str, Any]]]:
    """``--exportProfile``: the number of inferences, and name, timeMs, averageMs, ... of each layer.

    Raises:
        CheckError: It is not that.
    """
    first, *layers = _records(path)
    count = first.get("count")
    if type(count) is not int or count < 0:
        raise TrtexecOutputError("trtexec's exported profile does not begin with a count", where=str(path))
    return count, layers


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _content(path: Path) -> bytes:
    try:
        return read_file(path, limit=LIMITS["trtexec_bytes"])
    except OSError as error:
        raise TrtexecOutputError(f"trtexec's export cannot be read: {error.strerror}", where=str(path)) from error


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        value = parse_json(_content(path))
    except ValueError as error:
        raise TrtexecOutputError(f"trtexec's export is not JSON: {error}", where=str(path)) from error
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value) or not value:
        raise TrtexecOutputError("trtexec's export is not a list of records", where=str(path))
    return value
