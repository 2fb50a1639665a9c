# SPDX-License-Identifier: Apache-2.0
"""Triton's hash of itself is computed once, and anew whenever one of its files was changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import triton
from triton.runtime import cache as runtime_cache

from aotfactory.compiler import triton_key
from aotfactory.core.cache import Cache


@pytest.mark.skipif(not hasattr(runtime_cache, "triton_key"), reason="this Triton has it elsewhere")
def test_computed_once_for_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "triton"
    (folder / "language").mkdir(parents=True)
    core = folder / "language" / "core.py"
    core.write_text("a = 1")
    monkeypatch.setattr(triton, "__file__", str(folder / "__init__.py"))
    asked: list[str] = []

    def in_another_process(root: str = "cache") -> str:
        def compute() -> str:
            asked.append(core.read_text())
            return f"hash of {core.read_text()}"

        monkeypatch.setattr(runtime_cache, "triton_key", compute)
        for _ in range(2):
            triton_key.remember(Cache(tmp_path / root))
        return str(runtime_cache.triton_key())

    assert [in_another_process() for _ in range(3)] == ["hash of a = 1"] * 3
    assert asked == ["a = 1"]
    times = core.stat()
    core.write_text("a = 2")  # as long as before
    os.utime(core, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert in_another_process() == "hash of a = 2"
    assert in_another_process("another") == "hash of a = 2"
    assert asked == ["a = 1", "a = 2", "a = 2"]


def test_an_entry_that_is_no_text_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(runtime_cache, "triton_key"):
        pytest.skip("this Triton has it elsewhere")
    cache = Cache(tmp_path)
    monkeypatch.setattr(runtime_cache, "triton_key", lambda: "right")
    monkeypatch.setattr(triton_key, "key_of", lambda *parts: "0" * 64)
    cache.put_json(triton_key.KIND, "0" * 64, ["wrong"])
    triton_key.remember(cache)
    assert runtime_cache.triton_key() == "right"
