# SPDX-License-Identifier: Apache-2.0
"""The library of kernels: what they compute (see library_checks.py), and what they compile to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from typing import Any

import library_checks
import numpy as np
import pytest
from aotfactory.kernels import _row_tactics
from library_checks import CHECKS, NAMES, TYPES, Sizes, catalog, default_sizes, network_of, recipe_of

from aotfactory.compiler import compile as compiler
from aotfactory.core.arch import PtxIsa, parse_archs
from aotfactory.core.errors import AotError, UsageError
from aotfactory.core.network import NetworkInput, Profile
from aotfactory.targets import network_builder

tuned_for_newer_triton = pytest.mark.skipif(
    metadata.version("triton").startswith("3.5."), reason="Triton 3.5 allocates registers and converts fp8 otherwise"
)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, library_checks.__file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_in_interpreter(check: str, outcomes: dict[str, str]) -> None:
    assert outcomes[check] == ""


def test_every_recipe_of_the_files_is_tested() -> None:
    catalog()
    assert sorted(catalog().recipes) == sorted(NAMES)


def interpolated(x: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """In float64, of points inside the image, corners aligned."""
    column, row = ((grid[0, ..., k].astype(np.float64) + 1) / 2 * (x.shape[3 - k] - 1) for k in (0, 1))
    down, across = np.arange(x.shape[2]), np.arange(x.shape[3])
    vertical = np.maximum(1 - np.abs(row[..., None] - down), 0)
    horizontal = np.maximum(1 - np.abs(column[..., None] - across), 0)
    return np.einsum("ncyx,hwy,hwx->nchw", x.astype(np.float64), vertical, horizontal)


class TestReferences:
    """The references against what they must be, not against the same formula."""

    x = np.random.default_rng(0).standard_normal((2, 6, 8)) * 3 + 1

    def test_softmax_is_invariant_and_sums_to_one(self) -> None:
        softmax = recipe_of("softmax").reference
        assert np.allclose(softmax(self.x).sum(-1), 1, rtol=1e-12)
        assert np.allclose(softmax(self.x + 100), softmax(self.x), rtol=1e-9)
        assert np.array_equal(softmax(np.array([[0.0, -np.inf]])), [[1, 0]])

    def test_a_mask_removes(self) -> None:
        masked = recipe_of("masked_softmax").reference
        y = masked(self.x.astype(np.float32), np.where(np.arange(8) < 5, 0, -np.inf).astype(np.float32))
        assert np.all(y[..., 5:] == 0)
        assert np.allclose(y[..., :5], recipe_of("softmax").reference(self.x[..., :5]), rtol=1e-5)

    def test_norms_have_moments_0_and_1(self) -> None:
        ones, zeros = np.ones(8), np.zeros(8)
        y = recipe_of("layer_norm").reference(self.x, ones, zeros, 0.0)
        assert np.allclose(y.mean(-1), 0, atol=1e-12)
        assert np.allclose(y.var(-1), 1)
        assert np.allclose((recipe_of("rms_norm").reference(self.x, ones, 0.0) ** 2).mean(-1), 1)

    def test_group_norm_of_groups_alone(self) -> None:
        y = recipe_of("group_norm_silu").reference(self.x, np.ones(6), np.zeros(6), 2, 0.0)
        group = self.x[0, 3:]
        normal = (group - group.mean()) / group.std()
        assert np.allclose(y[0, 3:], normal / (1 + np.exp(-normal)))

    def test_rope_turns_by_the_angle(self) -> None:
        angle = np.linspace(0, 3, 6 * 2).reshape(6, 2)
        x = np.random.default_rng(1).standard_normal((1, 6, 1, 4))
        y = recipe_of("rope").reference(x, np.cos(angle), np.sin(angle))
        turned = (x[..., :2] + 1j * x[..., 2:]) * np.exp(1j * angle)[None, :, None]
        assert np.allclose(y, np.concatenate([turned.real, turned.imag], -1))

    def test_gelu_and_silu_at_known_numbers(self) -> None:
        gelu = recipe_of("gelu_tanh_bias").reference(np.float32([[-1, 0, 2]]), np.float32([0, 0, -1]))
        assert np.allclose(gelu, [[-0.158808, 0, 0.841192]], atol=1e-6)
        assert np.allclose(recipe_of("silu_and_mul").reference(np.float32([[1, -2]])), [[-2 / (1 + np.exp(-1))]])

    def test_sampling_at_the_pixels_gives_the_image(self) -> None:
        x = np.random.default_rng(0).standard_normal((1, 2, 5, 9)).astype(np.float32)
        across, down = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 5))
        grid = np.stack([across, down], -1)[None].astype(np.float32)
        sample = recipe_of("grid_sample").reference
        assert np.allclose(sample(x, grid, "zeros", True), x, atol=1e-5)
        assert np.allclose(
            sample(x, (grid * 0.3).astype(np.float32), "zeros", True), interpolated(x, grid * 0.3), atol=2e-6
        )
        outside = grid + np.float32([2.5, 0])  # past the right end
        assert np.all(sample(x, outside, "zeros", True) == 0)
        assert np.allclose(sample(x, outside, "border", True), np.broadcast_to(x[..., -1:], x.shape), atol=1e-5)


def variants(name: str, archs: str, dtype: str, sizes: Sizes | None = None, **attributes: Any) -> list[Any]:
    """Every tactic compiled, all checks of it passed."""
    recipe = recipe_of(name)
    made = network_of(recipe, sizes or default_sizes(recipe), dtype, attributes)
    results = compiler.compile_network(made, compiler.Options(archs=parse_archs(archs)), lambda text: None)
    problems = [f"{c.name} of {r.id}: {c.detail}" for r in results for c in r.checks if c.status == "failed"]
    assert not problems
    assert results
    return [replace(r.variant, id=r.id) for r in results if r.variant is not None]


def accesses(text: str) -> set[str]:
    """Kinds of global loads and stores: ld.v4.b32, st.b16; cache hints are left out."""
    found = re.findall(r"\b(ld|st)\.global(?:\.L[12]::\w+)*((?:\.(?:v[248]|[bfu]\d+))+)", text)
    return {f"{kind}{width}" for kind, width in found}


WIDE = {"v4.b32", "v2.b64"}
# Tactics of 8 bytes a thread, which an H100 is faster with where elements are independent.
EIGHT_BYTES = {name: {"ld.v2.b32", "st.v2.b32"} for name in ("silu_and_mul", "gelu_tanh_bias", "rope")}
# And what is narrow by nature: a channel's weight and bias, a row's scale, an int8 vector of half the input's bytes.
NARROW = {
    **EIGHT_BYTES,
    "group_norm_silu": {"ld.b16", "ld.b32"},  # the latter of two channels
    "per_token_quant_int8": {"st.b32", "st.v2.b32"},
    "per_token_quant_fp8": {"st.b32", "st.v2.b32"},
}


@pytest.mark.parametrize("name", [n for n in NAMES if n != "grid_sample"])
def test_accesses_are_of_16_bytes(name: str) -> None:
    for variant in variants(name, "sm_90", "fp16"):
        narrow = {a for a in accesses(variant.text) if a.split(".", 1)[1] not in WIDE}
        assert narrow <= NARROW.get(name, set()), variant.id
        assert variant.spills == 0


def test_gathering_stores_whole_lines() -> None:
    """One pixel a thread: a warp's store is of 32 pixels side by side."""
    for variant in variants("grid_sample", "sm_90", "fp32"):
        assert accesses(variant.text) == {"ld.b32", "st.b32"}
        assert variant.spills == 0


def test_gathers_are_under_way_together() -> None:
    """A store may be to what loads behind it read, so the compiler moves none up: loads of 4 channels come first."""
    for variant in variants("grid_sample", "sm_90", "fp16"):
        order = "".join(kind[0] for kind in re.findall(r"\b(ld|st)\.global", variant.text))
        assert ("l" * 16 + "s" * 4 in order) is (variant.tactic != 3)  # which takes one channel


def test_groups_of_odd_channels_are_read_by_vectors() -> None:
    """20 channels of 961 pixels: no channel is a multiple of 16 bytes, all groups are of 8."""
    sizes = default_sizes(recipe_of("group_norm_silu"), C=640, H=31, W=31)
    for variant in variants("group_norm_silu", "sm_90", "fp16", sizes):
        assert accesses(variant.text) == {"ld.v2.b32", "st.v2.b32", "ld.b16"}  # the latter of weight and bias
        assert variant.spills == 0


DYNAMIC = {
    "group_norm_silu": {"N": (1, 2, 16), "H": (1, 64, 512), "W": (1, 64, 512)},
    "masked_softmax": {"B": (1, 2, 8), "H": (1, 8, 64), "Q": (1, 256, 4096), "K": (1, 1024, 4096)},
    "silu_and_mul": {"B": (1, 4, 64), "S": (1, 256, 4096), "D2": (2, 8192, 28672)},
    "rope": {"B": (1, 2, 16), "S": (1, 512, 8192), "H": (1, 32, 64)},
    "grid_sample": {
        "N": (1, 2, 16), "C": (1, 64, 512), "H": (1, 128, 512), "W": (1, 128, 512), "Hout": (1, 128, 512),
        "Wout": (1, 128, 512),
    },
}  # fmt: skip
ROWS = {"B": (1, 4, 64), "S": (1, 256, 4096), "D": (1, 4096, 16384)}


@tuned_for_newer_triton
@pytest.mark.parametrize("name", NAMES)
def test_dynamic_shapes_have_a_way_of_16_bytes(name: str) -> None:
    """The profile proves nothing of the row's length, so there are two ways; and everything is within int32."""
    sizes = default_sizes(recipe_of(name), **DYNAMIC.get(name, ROWS))
    for variant in variants(name, "sm_90", "fp16", sizes):
        assert variant.spills == 0
        if name != "grid_sample":
            vectors = {f"ld.{width}" for width in WIDE} | EIGHT_BYTES.get(name, set())
            assert vectors & accesses(variant.text), variant.id


@pytest.mark.parametrize("name", ["rms_norm_add", "layer_norm", "softmax", "per_token_quant_int8"])
@pytest.mark.parametrize("size", [8191, 16384, 131072])
def test_the_longest_rows_do_not_spill(name: str, size: int) -> None:
    for variant in variants(name, "sm_90", "fp32", default_sizes(recipe_of(name), D=size)):
        assert variant.spills <= 64, "a few bytes, where that lets two programs run on a multiprocessor"
        assert {"ld.v4.b32", "st.v4.b32"} & accesses(variant.text)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_builds_for_all_types_and_architectures(name: str) -> None:
    for dtype in TYPES:
        found = variants(name, "sm_80,sm_90", dtype)
        assert {v.arch for v in found} == {"sm_80", "sm_90"}
        assert [v.id for v in found if v.spills] == []


@pytest.mark.parametrize(("name", "dtype"), [("rope", "fp32"), *(("grid_sample", dtype) for dtype in TYPES)])
def test_products_are_not_fused(name: str, dtype: str) -> None:
    """Fused, one of each two would not be rounded, or infinite, as the reference has it."""
    for variant in variants(name, "sm_80,sm_90", dtype):
        # "rn" keeps the driver's compiler from it, too.
        found = set(re.findall(r"(?:mul|add|sub|fma)\.(?:\w+\.)?f32", variant.text))
        assert "mul.rn.f32" in found
        assert found <= {"mul.rn.f32", "add.rn.f32", "sub.rn.f32"}


@tuned_for_newer_triton
def test_fp8_is_converted_by_the_gpu_where_it_can() -> None:
    for variant in variants("per_token_quant_fp8", "sm_80,sm_89,sm_90", "fp16"):
        assert ("cvt.rn.satfinite.e4m3x2.f32" in variant.text) is (variant.arch == "sm_90")


def test_clusters_are_offered_beside_others() -> None:
    """They are for exact architectures that have them; the manifest and the check say so; the grid counts blocks."""
    sizes = default_sizes(recipe_of("softmax"), B=1, S=(1, 16, 64), D=131072)
    found = variants("softmax", "sm_90,portable", "fp16", sizes)
    if metadata.version("triton").startswith(("3.5.", "3.6.")):
        assert {v.cluster for v in found} == {(1, 1, 1)}
        return
    assert {v.cluster[0] for v in found if v.arch == "sm_90"} >= {1, 8}
    assert {v.cluster[0] for v in found if v.arch == "portable"} == {1}
    eight = next(v for v in found if v.cluster[0] == 8)
    assert ".reqnctapercluster 8" in eight.text
    assert str(eight.launch["grid_x"]) == "max(S, 1)*8"


def test_a_triton_that_cannot_compile_clusters_leaves_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, and without a failure: the other tactics are there."""
    monkeypatch.setattr("triton.__version__", "3.6.0")
    recipe = recipe_of("softmax")
    made = network_of(recipe, default_sizes(recipe, B=1, S=16, D=131072), "fp16")
    results = compiler.compile_network(made, compiler.Options(archs=parse_archs("sm_90")), lambda text: None)
    without = [c for r in results for c in r.checks if r.variant is None]
    assert without
    assert {c.status for c in without} == {"skipped"}
    assert all("left out: Triton 3.6.0 cannot compile clusters" in c.detail for c in without)
    assert {r.variant.cluster for r in results if r.variant} == {(1, 1, 1)}


def test_registers_are_limited_where_that_lets_two_programs_run() -> None:
    """Given a limit, the compiler goes up to it; rows that begin anywhere would spill; few rows have room."""
    limits = {}
    for what, count, length in (("many", 64, 131072), ("odd", 64, 131071), ("few", 8, 131072)):
        rows = _row_tactics.Rows(count, length, length, 4, 4, 4, 12)
        limits[what] = _row_tactics.arguments(rows, 17).get("maxnreg")
    assert limits == {"many": 64, "odd": None, "few": None}


@pytest.mark.skipif(metadata.version("triton").startswith(("3.5.", "3.6.")), reason="they cannot compile clusters")
@pytest.mark.parametrize(("name", "own"), [("rms_norm", True), ("layer_norm", True), ("rms_norm_add", False)])
def test_an_exchange_waits_for_its_own_shared_memory_but_in_place(name: str, own: bool) -> None:
    made = network_of(recipe_of(name), default_sizes(recipe_of(name), B=1, S=4, D=131072), "fp16")
    options = compiler.Options(archs=parse_archs("sm_90"), isa=PtxIsa(8, 6))
    found = [r.variant for r in compiler.compile_network(made, options, lambda text: None) if r.variant]
    clusters = [v for v in found if v.cluster[0] > 1]
    assert clusters
    assert {"fence.release.sync_restrict::shared::cta.cluster" in v.text for v in clusters} == {own}


def test_few_tactics_are_offered() -> None:
    for rows, cols in ((1, 128), (1, 151936), (64, 16384), (512, 128256), (2048, 50257), (65536, 129)):
        for name in ("softmax", "rms_norm_add", "per_token_quant_int8"):
            made = network_of(recipe_of(name), default_sizes(recipe_of(name), B=1, S=rows, D=cols), "fp16")
            plugin = network_builder.plugin_call(made, made.calls[0])
            offered = next(t for c, t in plugin.combinations() if c == plugin.combination)
            assert 1 <= len(offered) <= 4, (name, rows, cols)


def test_tactics_that_are_alike_are_offered_once() -> None:
    for size in (64, 4096, 16384, 32768, 131072):
        found = variants("softmax", "sm_90", "fp16", default_sizes(recipe_of("softmax"), D=size))
        assert 2 <= len(found) <= 4
        assert len({(str(v.launch), v.text) for v in found}) == len(found)
    small = default_sizes(recipe_of("group_norm_silu"), H=8, W=8)
    assert all(v.tactic <= 2 for v in variants("group_norm_silu", "sm_90", "fp16", small))


MISTAKES = [
    ("silu_and_mul", {"D2": 7}, {}, "the last dimension of x is 7"),
    ("rope", {"D": 7}, {}, "the last dimension of x is 7"),
    ("rope", {"D": (4, 8, 16)}, {}, "the last dimension of x is dynamic"),
    ("group_norm_silu", {"C": 48}, {"groups": 32}, "groups is 32, of 48 channels"),
    ("group_norm_silu", {"C": (32, 32, 64)}, {"groups": 32}, "dimension 1 of x is dynamic"),
    ("group_norm_silu", {"C": 2**20 + 1, "H": 1, "W": 1}, {"groups": 1}, "a group of 1048577 channels"),
    ("grid_sample", {}, {"padding": "reflection"}, "padding is 'reflection'"),
    ("grid_sample", {"xy": 3}, {}, "the last dimension of grid is not 2"),
]


@pytest.mark.parametrize(("name", "sizes", "attributes", "message"), MISTAKES)
def test_says_what_it_does_not_take(name: str, sizes: Any, attributes: Any, message: str) -> None:
    recipe = recipe_of(name)
    with pytest.raises(UsageError, match=re.escape(message)):
        network_of(recipe, default_sizes(recipe, **sizes), "fp32", attributes)


def test_a_mask_has_the_sizes_of_the_last_dimensions() -> None:
    inputs = [
        NetworkInput(name=n, dtype="fp32", profile=Profile.static(s), dims=tuple(f"{n}{k}" for k in range(len(s))))
        for n, s in (("x", (2, 8, 16)), ("mask", (4, 16)))
    ]
    recipe_of("masked_softmax")
    with pytest.raises(AotError, match="dimension 0 of the mask is 4, but that of x 8"):
        network_builder.chain(
            name="m", target="m", plugin_id="aotfactory::masked_softmax", inputs=inputs, attributes={}
        )
