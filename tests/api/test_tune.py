# SPDX-License-Identifier: Apache-2.0
"""Rankings of tactics: on the tests' own driver, where a kernel is C++ on the host; `gpu`: on a real one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import launcher_bundles as bundles
import numpy as np
import pytest

from aotfactory.api import tune
from aotfactory.compiler import bundle
from aotfactory.compiler.manifest import bundle_from_json
from aotfactory.compiler.variant_json import from_texts
from aotfactory.core import network_json
from aotfactory.core.cuda import cuda_device_count
from aotfactory.core.errors import DefinitionError, MissingError, UsageError
from aotfactory.core.expressions import Constant
from aotfactory.executors.native.launcher import build_launcher
from aotfactory.targets.request import TargetOptions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A bundle of two tactics, the second of which does nothing for most of the tensor and is the faster."""
    content = bundles.own_names(bundles.manifest(bundles.variant(kernel="copy", spills=4)))
    (data,) = content["variants"]
    made = bundle_from_json({**content, "versions": {"triton": "3.9.0"}}, from_texts({data["ptx"]: data["text"]}))
    (first,) = made.variants
    second = replace(first, id="call.copy.sm_90.t2", tactic=2, extra_args=(Constant(8),), registers=16, spills=0)
    bundle.write(replace(made, variants=(first, second)), tmp_path / "sample.aot")
    return tmp_path / "sample.aot"


@pytest.fixture
def ranked(path: Path, fake_driver: Path, monkeypatch: pytest.MonkeyPatch) -> tune.Ranking:
    monkeypatch.setenv("AOTFACTORY_LAUNCHER", str(build_launcher()))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(fake_driver))
    return tune.rank(path, iterations=20)


@pytest.mark.launcher
class TestRank:
    def test_every_tactic_is_timed_the_fastest_first(self, ranked: tune.Ranking) -> None:
        assert ranked.gpu == "Fake"
        assert ranked.shapes == {"x": (100, 8)}
        assert ranked.bytes_moved == 2 * 100 * 8 * 4
        times = [t.us for t in ranked.tactics]
        assert times == sorted(times)
        assert {t.tactic for t in ranked.tactics} == {1, 2}
        for t in ranked.tactics:
            assert t.gb_per_s == pytest.approx(ranked.bytes_moved / t.us / 1000)
            assert t.of_copy == pytest.approx(t.gb_per_s / ranked.copy_gb_per_s)
            assert (t.threads, t.shared_mem) == (1024, 0)
        assert {t.tactic: t.spills for t in ranked.tactics} == {1: 4, 2: 0}

    def test_where_nothing_is_launched_there_is_nothing_to_rank(self, ranked: tune.Ranking, path: Path) -> None:
        with pytest.raises(UsageError, match="no kernel is launched at this shape"):
            tune.rank(path, inputs={"x": np.zeros((0, 8), np.float32)})

    def test_a_ranking_replaces_that_of_the_same_gpu_and_shapes(self, ranked: tune.Ranking, tmp_path: Path) -> None:
        kept = tmp_path / "engines" / "sample.tuning.json"
        tune.keep(ranked, kept)
        tune.keep(replace(ranked, shapes={"x": (7, 8)}), kept)
        tune.keep(replace(ranked, gpu="Other"), kept)
        tune.keep(replace(ranked, driver=1), kept)
        found = tune.read(kept)
        assert [(r["gpu"], r["shapes"]["x"][0], r["driver"]) for r in found] == [
            ("Fake", 7, ranked.driver), ("Other", 100, ranked.driver), ("Fake", 100, 1)
        ]  # fmt: skip
        assert found[0]["network"] == network_json.network_to_json(bundle.read(tmp_path / "sample.aot").network)


def rankings(*times: dict[int, float]) -> list[dict[str, Any]]:
    return [{"tactics": [{"tactic": n, "us": us} for n, us in t.items()]} for t in times]


def test_never_fastest_are_those_that_something_always_beats() -> None:
    assert tune.never_fastest(rankings({1: 10, 2: 10.05, 3: 11}, {1: 9, 2: 10, 3: 9.2})) == [3]
    assert tune.never_fastest(rankings({1: 10, 3: 11}, {2: 5, 3: 4})) == [2]
    assert tune.never_fastest([]) == []


@pytest.mark.parametrize(
    ("text", "message"), [("{", "damaged rankings"), ('{"schema": "other"}', "schema is not aotfactory.tuning/1")]
)
def test_a_damaged_file_is_not_overwritten(tmp_path: Path, text: str, message: str) -> None:
    kept = tmp_path / "x.tuning.json"
    kept.write_text(text)
    with pytest.raises(DefinitionError, match=message):
        tune.read(kept)


@pytest.mark.skipif(cuda_device_count() > 0, reason="there is a GPU")
def test_a_machine_without_a_gpu_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="timed on a GPU"):
        tune.tune("circ_pad", request=TargetOptions(), out=tmp_path)


@pytest.mark.gpu
@pytest.mark.launcher
def test_a_recipe_is_tuned(tmp_path: Path) -> None:
    request = TargetOptions(shape={None: (2, 3, 32, 32)}, dtype={None: "fp16"})
    tuned = tune.tune("circ_pad", request=request, out=tmp_path, iterations=5)
    ranking, kept = tuned.ranking, tuned.path
    assert json.loads(kept.read_text())["rankings"][0]["tactics"][0]["tactic"] == ranking.tactics[0].tactic
    assert ranking.tactics[0].tactic not in tuned.never_fastest
    assert tuned.to_json()["ranking"]["gpu"] == ranking.gpu
