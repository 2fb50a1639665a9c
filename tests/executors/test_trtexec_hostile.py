# SPDX-License-Identifier: Apache-2.0
"""What trtexec says and exports is data: none of it hangs, breaks or fools the reader."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aotfactory.core.errors import CheckError
from aotfactory.executors.trtexec import output

SUMMARY = """\
[11/27/2026-12:00:00] [I] === Performance summary ===
[11/27/2026-12:00:00] [I] Throughput: {throughput} qps
[11/27/2026-12:00:00] [I] Latency: min = 1 ms, max = 2 ms, mean = 1 ms, median = 1 ms, percentile({percent}) = 2 ms
[11/27/2026-12:00:00] [I] GPU Compute Time: min = 1 ms, max = {most} ms, mean = 1 ms, median = 1 ms
[11/27/2026-12:00:00] [I] Total Host Walltime: 3 s
[11/27/2026-12:00:00] [I] Total GPU Compute Time: 3 s
"""


def summary(throughput: str = "1.5", percent: str = "90%", most: str = "2") -> str:
    return SUMMARY.format(throughput=throughput, percent=percent, most=most)


def test_a_good_one_is_read() -> None:
    found = output.performance(summary())
    assert found is not None
    assert found.throughput == 1.5
    assert found.latency.percentiles == {90.0: 2.0}


@pytest.mark.parametrize(
    "text",
    [
        summary(throughput="1.2.3"),
        summary(throughput="inf"),
        summary(throughput="9" * 5000),
        summary(most="nan"),
        summary(most="-"),
        "=== Performance summary ===",
        "=== Performance summary ===\nLatency: median",
    ],
)
def test_summaries_that_are_none(text: str) -> None:
    with pytest.raises(CheckError):
        output.performance(text)


def test_a_percentage_that_is_none_is_left_out() -> None:
    found = output.performance(summary(percent="1.2.3%"))
    assert found is not None
    assert found.latency.percentiles == {}


def test_a_version_of_5000_digits() -> None:
    assert output.verdict(f"&&&& PASSED TensorRT.trtexec [TensorRT v{'1' * 5000}] [b1] # x") is None


EXPORTS: dict[str, bytes] = {
    "nothing": b"",
    "not UTF-8": b"\xff\xfe[",
    "nested": b"[" * 100_000,
    "a number": b"5",
    "an empty list": b"[]",
    "a list of lists": b"[[]]",
    "not a number": b'[{"count": NaN}]',
    "texts": b'[{"count": "x", "latencyMs": "1"}]',
    "5000 digits": b'[{"count": ' + b"9" * 5000 + b"}]",
    "infinite": b'[{"count": 1e999, "latencyMs": 1e999}]',
    "no count": b'[{"name": null}]',
}


@pytest.mark.parametrize("case", EXPORTS)
@pytest.mark.parametrize("read", [output.exported_times, output.exported_profile])
def test_exports_that_are_none(case: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(EXPORTS[case])
    with pytest.raises(CheckError):
        read(tmp_path / "x.json")


@pytest.mark.parametrize(
    "text",
    [
        "[11/27/2026-12:00:00] [E] " * 30_000,
        "Latency: median " + "percentile(9" * 50_000,
        "=== Performance summary ===\nThroughput: " + "1" * 500_000,
        "&&&& PASSED TensorRT.trtexec [TensorRT v" * 20_000,
    ],
)
def test_half_a_megabyte_takes_no_time(text: str) -> None:
    began = time.perf_counter()
    with contextlib.suppress(CheckError):
        output.performance(text)
    output.verdict(text)
    output.errors(text)
    assert time.perf_counter() - began < 1


def test_good_exports_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"latencyMs": 1.5}]))
    assert output.exported_times(path) == [{"latencyMs": 1.5}]
    path.write_text(json.dumps([{"count": 3}, {"name": "a"}]))
    assert output.exported_profile(path) == (3, [{"name": "a"}])
