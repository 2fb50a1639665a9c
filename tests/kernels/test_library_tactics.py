# SPDX-License-Identifier: Apache-2.0
"""Tactics of the library's kernels that only a plugin library can launch: several kernels with a workspace."""

from __future__ import annotations

from typing import Any

import pytest
from building import build, tensor

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
    built = build(made, CATALOG.sources, road="library", archs="sm_90", tactic=tactic)
    assert not built.failed, built.found
    assert len(built.variant.kernels) > 1
    assert built.checks["interpreter"].compared == "reference"


@pytest.mark.parametrize("shape", ["N=0/500/3000", "N=1/20/90 31", "7 N=1/20/40 9", "2 3 N=1/20/40 9"])
def test_non_zero_of_each_rank(shape: str) -> None:
    check("non_zero", 3, tensor("x", shape))


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_non_zero_of_each_type(dtype: str) -> None:
    check("non_zero", 5, tensor("x", "N=1/20/300 31", dtype))


@pytest.mark.parametrize(("tactic", "pixels"), [(9, "H=1/40/70 80"), (10, "H=1/41/71 79")])
def test_group_norm_of_few_groups(tactic: int, pixels: str) -> None:
    x = tensor("x", f"1 8 {pixels}", "fp16")
    weight, bias = tensor("weight", "8", "fp16"), tensor("bias", "8", "fp16")
    check("group_norm_silu", tactic, x, weight, bias, groups=2, eps=1e-5)
