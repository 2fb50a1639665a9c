# SPDX-License-Identifier: Apache-2.0
"""The benchmark's cases, the page that it writes, and the GPU check's shapes.

Times are for a GPU; PyTorch is not among the test packages.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from aotfactory.compiler import bundle, ptx
from aotfactory.compiler.cross_compile import compiling_for
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.network_builder import plugin_call
from aotfactory.targets.request import TargetOptions
from aotfactory.targets.resolve import resolve

ROOT = Path(__file__).resolve().parents[2]


def module(name: str) -> Any:
    """A module of the benchmark's, which lie together in scripts/."""
    with mock.patch.object(sys, "path", [str(ROOT / "scripts"), *sys.path]):
        return importlib.import_module(name)


def keys(**only: str) -> list[dict[str, str]]:
    cases = module("bench_cases")
    found = [
        {"case": name, "shape": shape, "dtype": dtype, "profile": profile}
        for name, case in cases.BENCHES.items()
        for shape in case.sizes
        for dtype in case.dtypes
        for profile in cases.PROFILES
    ]
    return [key for key in found if all(key[name] == value for name, value in only.items())]


def test_every_recipe_has_a_case_of_each_size() -> None:
    cases = module("bench_cases")
    every = Catalog()
    every.load_all()
    own = {name for name, recipe in every.recipes.items() if recipe.plugin.startswith("aotfactory::")}
    assert {name for name, case in cases.BENCHES.items() if tuple(case.sizes) == cases.SHAPES} == own
    assert {case.recipe for case in cases.BENCHES.values()} == own


@pytest.mark.parametrize("key", keys(dtype="fp16"), ids=lambda key: "-".join(key.values()))
def test_recipes_take_their_cases(key: dict[str, str]) -> None:
    made = module("bench_kernels").network_of(key)
    assert bool(made.ranges) is (key["profile"] == "dynamic")
    opt = {name: r.opt for name, r in made.ranges.items()}
    shapes = [tuple(d.evaluate(opt) for d in t.shape) for t in made.tensors if t.role == "input"]
    assert shapes == list(module("bench_kernels").shapes_of(key).values())


@pytest.mark.parametrize("key", keys(dtype="fp32", shape="small", profile="static"), ids=lambda key: key["case"])
def test_pytorch_does_the_same_work(key: dict[str, str]) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    kernels, rivals = module("bench_kernels"), module("bench_rivals")
    work = kernels.work_of(key)
    given = rivals.inputs_of(work.shapes, work.dtype, "cpu")
    arrays = [np.array(tensor) for tensor in given.values()]  # some work in place
    expected = Catalog().find(work.bench.recipe).reference(*arrays, **work.attributes)
    got = rivals.eager(work, given)
    for tensor, array in zip(got, expected if isinstance(expected, tuple) else (expected,), strict=False):
        np.testing.assert_allclose(tensor.double().numpy(), array.astype(np.float64), rtol=1e-4, atol=1e-5)


def test_a_bundle_is_compiled_for_a_row(tmp_path: Path) -> None:
    kernels = module("bench_kernels")
    key = {"case": "elementwise_add", "shape": "small", "dtype": "fp16", "profile": "static"}
    assert kernels.prepared(key, tmp_path, ["compile"], "sm_90") is None
    assert (kernels.path_of(key, tmp_path) / "manifest.json").is_file()
    twin = bundle.read(kernels.empty_twin(kernels.path_of(key, tmp_path)))
    (made,) = bundle.read(kernels.path_of(key, tmp_path)).variants
    assert "st.global" in made.text
    assert "st.global" not in twin.variants[0].text
    (before,), (after,) = (ptx.parse_module(v.text).entries for v in (made, twin.variants[0]))
    assert (after.name, after.parameters, after.directives) == (before.name, before.parameters, before.directives)
    wrong = {**key, "dtype": "fp8"}
    assert "elementwise_add small fp8" in kernels.prepared(wrong, tmp_path, [], "sm_90")


def test_rows_are_made_once_and_on_one_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = module("bench_kernels")
    made: list[str] = []

    def measured(key: dict[str, str], *rest: Any) -> dict[str, Any]:
        made.append(key["dtype"])
        row = {
            **key,
            "rivals": ["eager"],
            "date": "today",
            "sizes": {},
            "us": 1,
            "gb_per_s": 1,
            "of_copy": 1,
            "tactics": [],
        }
        return {**row, "error": "no"} if key["dtype"] == "bf16" else row

    monkeypatch.setattr(kernels, "measured", measured)
    monkeypatch.setattr(kernels, "prepare", lambda keys, *rest: [None for _ in keys])
    monkeypatch.setattr(kernels, "machine", lambda: {"gpu": "one"})
    arguments = ["", "--out", str(tmp_path / "rows.json"), "--cases", "rope", "--shapes", "large", "--rivals", "eager"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert kernels.main() == 1
    assert made == ["fp32", "fp16", "bf16"]
    assert kernels.main() == 1
    assert made[3:] == ["bf16"]  # what failed is tried again
    monkeypatch.setattr(sys, "argv", [*arguments[:-1], "eager,naive"])
    assert kernels.main() == 1
    assert made[4:] == ["fp32", "fp16", "bf16"]  # they lack a rival
    monkeypatch.setattr(kernels, "machine", lambda: {"gpu": "another"})
    with pytest.raises(SystemExit, match="give another --out"):
        kernels.main()


def test_the_table_goes_between_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendering = module("bench_render")
    tactic = {"tactic": 2, "registers": 32, "spills": 0, "shared_mem": 64, "of_copy": 0.987}
    row = {
        "case": "rope", "recipe": "rope", "shape": "large", "dtype": "fp16", "profile": "static", "sizes": {"B": 4},
        "date": "today", "us": 12.34, "gb_per_s": 2900.4, "of_copy": 0.987, "eager_ratio": 3.456, "tactics": [tactic],
    }  # fmt: skip
    result = {"machine": {"gpu": "GPU", "driver": "1"}, "rows": [row, {**row, "error": "no"}]}
    page = tmp_path / "page.md"
    page.write_text(f"before\n{rendering.MARKS[0]}\nold\n{rendering.MARKS[1]}\nafter\n")
    monkeypatch.setattr(rendering, "PAGE", page)
    monkeypatch.setattr(rendering, "plot", lambda *rest: None)
    counters = {
        "us": 2.0,
        "dram_pct": 45.6,
        "l2_pct": 78.9,
        "l1_pct": 10.1,
        "issue_pct": 20.2,
        "occupancy_pct": 93.0,
        "waiting_pct": 81.0,
    }
    profile = {**{n: row[n] for n in ("case", "shape", "dtype", "profile")}, "tactic": 3, **counters}
    profile |= {"read_mb": 134.2, "written_mb": 121.3}
    profiles = [{**profile, "tactic": 1, "us": 2.5}, profile]
    (tmp_path / "profiles.json").write_text(json.dumps({**result, "date": "then", "rows": profiles}))
    rendering.render(result, tmp_path / "kernels.json")
    text = page.read_text()
    assert "| rope | fp16 | 3 | 2.0 | 46 | 79 | 10 | 20 | 93 | 81 | 134 | 121 |" in text
    assert "| rope | B=4 | fp16 | static | 12.3 | 2900 | 0.99 | 3.46 |  |  |  | 2 | 32 | 0 | 64 |" in text
    assert text.count("| rope |") == 2  # each once in its table: profiles only of the fastest tactic
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert all((ROOT / "docs" / "kernels.md").read_text("utf-8").count(mark) == 1 for mark in rendering.MARKS)
    assert "2: 0.99; PyTorch 3.46x" in rendering.line(row)


def test_without_matplotlib_the_page_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendering = module("bench_render")
    page = tmp_path / "page.md"
    page.write_text("\n".join(rendering.MARKS))
    monkeypatch.setattr(rendering, "PAGE", page)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit, match="pip install matplotlib"):
        rendering.render({"machine": {"gpu": "GPU"}, "rows": []}, tmp_path / "kernels.json")
    assert page.read_text() == "\n".join(rendering.MARKS)


@pytest.mark.parametrize(
    ("name", "dtype", "count"), [("group_norm_silu", "fp16", 8), ("circ_pad", "int8", 4), ("layer_norm", "fp32", 3)]
)
def test_the_gpu_check_runs_every_tactic(name: str, dtype: str, count: int) -> None:
    """Also with dynamic shapes, where kernels have a way for lengths that are no vectors."""
    checks = module("gpu_check")
    recipe = Catalog().find(name)
    seen, dynamic = set(), set()
    for shapes in (s for s in checks.SHAPES if s != "long" or name == "layer_norm"):
        low, opt, high = checks.profile(recipe, shapes)
        request = TargetOptions(dtype={None: dtype}, min_shape=low, opt_shape=opt, max_shape=high)
        network = resolve(name, Catalog(), request)
        call = plugin_call(network, network.calls[0])
        with compiling_for(90, 80):  # what is offered, without compiling it
            offered = {c.dtypes: tactics for c, tactics in call.combinations()}
        tactics = set(offered[call.combination.dtypes])
        seen |= tactics
        dynamic |= tactics if network.ranges else set()
    # Tactics of the row kernels are numbered by the way a row is held, and offered by its length.
    assert seen >= set(range(1, count + 1)) if name == "layer_norm" else seen == set(range(1, count + 1))
    assert name == "layer_norm" or len(seen - dynamic) <= 1  # held groups have one tactic where they may be small
