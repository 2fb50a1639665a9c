# SPDX-License-Identifier: Apache-2.0
"""`aotfactory.plugin`: a plain plugin from a kernel in one call."""

from __future__ import annotations

import pytest
import triton
from building import MODULES, build, load, network, tensor

import aotfactory
from aotfactory.core.errors import DefinitionError
from aotfactory.plugins import registry

SOURCES = load(MODULES / "one_call.py")


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_outputs_like_an_input_all_float_types(dtype: str) -> None:
    built = build(network("one_call::leaky", tensor("x", "N=1/3/9 48", dtype), attributes={"slope": 0.1}), SOURCES)
    assert not built.failed, built.found
    assert built.checks["interpreter"].detail.startswith("against the reference")
    assert built.variant.dtypes == (dtype, dtype)


@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_in_place_other_types_and_configs_as_tactics(dtype: str) -> None:
    inputs = [tensor("a", "3 48", dtype), tensor("b", "3 48", dtype), tensor("ids", "2", "int64")]
    built = build(network("one_call::swap", *inputs, outputs=("c", "d")), SOURCES)
    assert not built.failed, built.found
    assert [str(r.variant.launch["grid_x"]) for r in built.results if r.variant] == ["3", "2"]


def test_it_is_a_plain_plugin() -> None:
    plugin = registry.lookup("one_call::leaky")
    assert plugin.inputs == ["x_ptr"]
    assert plugin.attributes == {"slope": float}
    assert plugin.where("aot_impl").startswith(f"{MODULES / 'one_call.py'}:")


def test_names_that_the_kernel_lacks_are_refused() -> None:
    @triton.jit
    def kernel(x, y, n):
        pass

    with pytest.raises(DefinitionError, match="one_call::wrong: z"):
        aotfactory.plugin(kernel, "one_call::wrong", inputs="x", outputs="z", n=1, grid=1)
