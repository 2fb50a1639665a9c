# SPDX-License-Identifier: Apache-2.0
"""Tactics of the library's kernels that only a plugin library can launch: several kernels with a workspace."""

from __future__ import annotations

from typing import Any

import pytest
from aotfactory.kernels import _group_norm_tiles, _row_pieces, _row_tactics
from building import build, tensor

from aotfactory.executors.effort import Effort
from aotfactory.plugins import device
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets import network_builder

CATALOG = Catalog()
CATALOG.load_all()


def check(name: str, tactic: int, *inputs: Any, **attributes: Any) -> None:
    recipe = CATALOG.recipes[name]
    made = network_builder.chain(
        name=name,
        target=name,
        plugin_id=recipe.plugin,
        inputs=inputs,
        attributes=attributes,
        outputs=recipe.outputs,
        length=1,
    )
    # What teaches most comes first: the profile's shapes, each whole.
    effort = Effort(seconds=2)
    built = build(made, CATALOG.sources, road="library", archs="sm_90", tactic=tactic, effort=effort)
    assert not built.failed, built.found
    # An older Triton says of clusters, besides, that it leaves them out.
    (variant,) = (result.variant for result in built.results if result.variant)
    assert len(variant.kernels) > 1
    found = {check.compared for check in built.found if (check.name, check.subject) == ("interpreter", variant.id)}
    assert found == {"reference"}


@pytest.mark.parametrize("shape", ["N=0/500/3000", "N=1/20/90 31", "7 N=1/20/40 9", "2 3 N=1/20/40 9"])
def test_non_zero_of_each_rank(shape: str) -> None:
    check("non_zero", 3, tensor("x", shape))


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_non_zero_of_each_type(dtype: str) -> None:
    check("non_zero", 5, tensor("x", "N=1/20/300 31", dtype))


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tactics that are for larger tensors than can be interpreted."""
    monkeypatch.setattr(_group_norm_tiles, "LARGE", 0)
    monkeypatch.setattr(_row_pieces, "SHORTEST", {"one": 0, "several": 0})
    monkeypatch.setattr(_row_pieces, "estimate", lambda rows, tactic: 0.0)


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(("tactic", "pixels"), [(9, "70 80"), (10, "71 79"), (11, "H=0/41/71 79")])
def test_group_norm_of_few_groups(tactic: int, pixels: str) -> None:
    x = tensor("x", f"1 8 {pixels}", "fp16")
    weight, bias = tensor("weight", "8", "fp16"), tensor("bias", "8", "fp16")
    check("group_norm_silu", tactic, x, weight, bias, groups=2, eps=1e-5)


WEIGHTS = {"softmax": (), "rms_norm": ("weight",), "layer_norm": ("weight", "bias")}


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("name", "tactic", "rows", "cols", "dtype"),
    [
        ("softmax", 40, "N=1/2/3", "D=1/9000/20001", "fp32"),
        ("softmax", 42, "3", "65536", "fp16"),
        ("rms_norm", 40, "3", "40000", "fp16"),
        ("rms_norm", 42, "N=0/1/3", "40001", "fp32"),
        ("layer_norm", 42, "N=0/2/3", "D=0/9000/20001", "fp16"),
        ("layer_norm", 40, "2", "40000", "bf16"),
    ],
)
def test_pieces_of_rows(name: str, tactic: int, rows: str, cols: str, dtype: str) -> None:
    inputs = [tensor("x", f"{rows} {cols}", dtype), *(tensor(n, cols, dtype) for n in WEIGHTS[name])]
    check(name, tactic, *inputs, **CATALOG.recipes[name].attributes)


LONG = [(1, 2**17), (1, 2**20), (16, 2**18), (64, 2**20)]
SHORT = [(8, 2**17), (4096, 8192), (2048, 50256), (1, 4096)]


@pytest.mark.parametrize("shape", [*LONG, *SHORT])
@pytest.mark.parametrize("name", WEIGHTS)
def test_pieces_are_offered_for_few_long_rows(name: str, shape: tuple[int, int]) -> None:
    rows = _row_tactics.Rows(*shape, shape[1], 2, 2, 8, 20, weights=name != "softmax")
    others = _row_tactics.offered(rows)
    with device.taking("library"):
        assert bool(_row_pieces.offered(rows, others)) == (shape in LONG)
    assert not _row_pieces.offered(rows, others)
