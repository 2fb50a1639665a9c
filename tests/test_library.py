# SPDX-License-Identifier: Apache-2.0
"""The library of kernels: what they compute, in Triton's interpreter, and what they compile to.

The interpreter must be on before the kernels are imported, so one other process runs the functions named `check_...`,
``TRITON_INTERPRET=1 python tests/test_library.py``, and prints what went wrong, by name.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import triton
import triton.language as tl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from triton.compiler import ASTSource

from aotfactory import compile as compiler
from aotfactory import data, dtypes, modules, network_builder, reference
from aotfactory.arch import parse_archs
from aotfactory.catalog import Catalog
from aotfactory.errors import AotError, UsageError
from aotfactory.network import NetworkInput, Profile
from aotfactory.network_builder import plugin_call
from aotfactory.recipe import Recipe

KERNELS = Path(__file__).parent.parent / "kernels"
FILES = (
    "rms_norm", "layer_norm", "group_norm_silu", "softmax", "silu_and_mul", "rope", "gelu_tanh_bias",
    "per_token_quant", "grid_sample",
)  # fmt: skip
NAMES = (
    "rms_norm", "rms_norm_add", "layer_norm", "group_norm_silu", "softmax", "masked_softmax", "silu_and_mul", "rope",
    "gelu_tanh_bias", "per_token_quant_int8", "per_token_quant_fp8", "grid_sample",
)  # fmt: skip
TYPES = ("fp32", "fp16", "bf16")
Sizes = Mapping[str, tuple[int, int, int]]
"""By dimension: its minimum, what it is, its maximum."""


@functools.cache
def catalog() -> Catalog:
    return Catalog([str(KERNELS / f"{name}.py") for name in FILES])


def recipe_of(name: str) -> Recipe:
    found = catalog().find(name)
    assert found is not None
    return found


def default_sizes(recipe: Recipe, **other: Any) -> Sizes:
    """The recipe's own sizes, static, but for those given: a number, or (minimum, opt, maximum)."""
    sizes = {d: n for item in recipe.inputs for d, n in zip(item.dims, item.shape, strict=True)} | other
    return {d: n if isinstance(n, tuple) else (n, n, n) for d, n in sizes.items()}


def network_of(recipe: Recipe, sizes: Sizes, dtype: str, attributes: Mapping[str, Any] | None = None) -> Any:
    inputs = []
    for item in recipe.inputs:
        low, opt, high = (tuple(sizes[d][k] for d in item.dims) for k in range(3))
        profile = Profile(min=low, opt=opt, max=high)
        inputs.append(NetworkInput(name=item.name, dtype=dtype, profile=profile, dims=item.dims))
    return network_builder.chain(
        name=recipe.name,
        target=recipe.name,
        plugin_id=recipe.plugin,
        inputs=inputs,
        attributes={**recipe.attributes, **(attributes or {})},
        outputs=recipe.outputs,
    )


# ---------------------------------------------------------------------------- in the interpreter's process


def interpret(network: Any, inputs: Mapping[str, np.ndarray]) -> dict[int, dict[str, np.ndarray]]:
    """The outputs of every tactic, from buffers of exactly their size."""
    from aotfactory.run import interpreted

    (call,) = network.calls
    plugin = plugin_call(network, call)
    tactics = next(t for c, t in plugin.combinations() if c == plugin.combination)
    symbols = data.bind(network, {name: array.shape for name, array in inputs.items()})
    found = {}
    for tactic in tactics:
        fake = [{"metadata": {"name": "entry", "num_warps": 4, "shared": 0}, "ptx": ""}]
        with interpreted.capturing(fake) as sources:
            kernel = plugin.kernel(plugin.combination, tactic)
        buffers = {n: interpreted.Buffer(n, inputs[n], initialised=True) for n in call.inputs}
        for buffer in buffers.values():
            buffer.writable = False
        outputs = {}
        for output, alias in zip(call.outputs, plugin.aliases, strict=True):
            tensor = network.tensor(output)
            shape = tuple(d.evaluate(symbols) for d in tensor.shape)
            if alias is None:
                blank = np.full(shape, 85, dtypes.find(tensor.dtype).array)
                outputs[output] = interpreted.Buffer(output, blank, initialised=False), tensor.dtype, shape
            else:
                buffers[call.inputs[alias]].writable = True
                outputs[output] = buffers[call.inputs[alias]], tensor.dtype, shape
        grid = tuple(kernel.launch[f"grid_{axis}"].evaluate(symbols) for axis in "xyz")
        extra = [e.evaluate(symbols) for e in kernel.extra_args]
        assert all(-(2**31) <= e < 2**31 for e in extra)
        pointers = [buffer for buffer, _, _ in outputs.values()]
        interpreted.run(sources[-1], grid, [*buffers.values(), *extra, *pointers])  # type: ignore[arg-type]
        assert all(buffer.written.all() for buffer in pointers)
        found[tactic] = {n: buffer.array(dtype, shape) for n, (buffer, dtype, shape) in outputs.items()}
    return found


def judge(recipe: Recipe, network: Any, inputs: Mapping[str, np.ndarray]) -> None:
    """Every tactic against the reference, by the recipe's tolerance."""
    expected = reference.outputs(network, lambda plugin: recipe, inputs)
    for tactic, got in interpret(network, inputs).items():
        wrong = reference.compare(network, lambda plugin: recipe, got, expected)
        assert not wrong, f"tactic {tactic}: {wrong}"


SLOW = {"grid_sample": 100, "group_norm_silu": 600}
"""Elements of the first input; the interpreter takes a millisecond for a program, and these have many."""


@st.composite
def sizes_of(draw: Any, recipe: Recipe) -> Sizes:
    """A size for every dimension, some of them long, some dynamic; the first input has a few thousand elements."""
    dims = recipe.inputs[0].dims
    largest = SLOW.get(recipe.name, 3000)
    sizes: dict[str, tuple[int, int, int]] = {}
    for d in draw(st.permutations(dims)):
        left = max(largest // max(prod(sizes[k][1] for k in dims if k in sizes), 1), 1)
        size = draw(st.integers(1, draw(st.sampled_from([min(left, 3), min(left, 67), left]))))
        dynamic = draw(st.booleans()) and (not recipe.dynamic or d in recipe.dynamic)
        low, high = (draw(st.integers(1, size)), size + draw(st.integers(0, 70))) if dynamic else (size, size)
        sizes[d] = (low, size, high)
    for item in recipe.inputs[1:]:
        for d in item.dims:
            n = draw(st.integers(1, 15))
            sizes.setdefault(d, (1, n, n + 3))
    return fitted(recipe, sizes)


def fitted(recipe: Recipe, sizes: dict[str, tuple[int, int, int]]) -> Sizes:
    """The sizes made such as the plugin takes: halves, groups, pairs."""
    if recipe.name == "group_norm_silu":
        channels = -(-sizes["C"][1] // 4) * 4
        sizes["C"] = (channels,) * 3
    if recipe.name == "rope":
        half = max(sizes["D"][1] // 2, 1)
        sizes |= {"D": (2 * half,) * 3, "E": (half,) * 3}
    if recipe.name == "silu_and_mul" and sizes["D2"][0] == sizes["D2"][2]:
        sizes["D2"] = (2 * sizes["D2"][0],) * 3
    if recipe.name == "grid_sample":
        sizes["xy"] = (2, 2, 2)
    return sizes


ATTRIBUTES: dict[str, Any] = {
    "group_norm_silu": st.fixed_dictionaries({"groups": st.sampled_from([1, 2, 4])}),
    "grid_sample": st.fixed_dictionaries(
        {"padding": st.sampled_from(["zeros", "border"]), "align_corners": st.booleans()}
    ),
}


def check_random_shapes(name: str) -> None:
    recipe = recipe_of(name)

    @settings(
        max_examples=8 if name in SLOW else 20,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
        print_blob=False,
    )
    @given(
        sizes_of(recipe),
        st.sampled_from(TYPES),
        ATTRIBUTES.get(name, st.just({})),
        st.sampled_from(["random", "random", "adversarial"]),
        st.integers(0, 2**32 - 1),
    )
    def random_shapes(sizes: Sizes, dtype: str, attributes: Any, kind: Any, seed: int) -> None:
        made = network_of(recipe, sizes, dtype, attributes)
        shapes = {item.name: tuple(sizes[d][1] for d in item.dims) for item in recipe.inputs}
        # Parameters are ordinary numbers: of products that only they make infinite, a GPU may fuse some with a sum.
        kinds = {
            item.name: kind if k == 0 or item.name in EXTREME else "random" for k, item in enumerate(recipe.inputs)
        }
        judge(recipe, made, {n: data.make(n, dtype, s, kind=kinds[n], seed=seed) for n, s in shapes.items()})

    random_shapes()


EXTREME = ("residual", "mask", "grid", "cos", "sin")


def check_profile_beyond_one_block(name: str) -> None:
    """Rows short and long in a profile that has rows too long for registers, so that all go the long way."""
    recipe = recipe_of(name)
    dims = default_sizes(recipe)
    for rows, long in ((2, 21), (1, 20001)):
        sizes: dict[str, Any] = {d: rows for d in ("B", "S", "H", "Q") if d in dims} | {"D": (1, long, 40000)}
        if name == "masked_softmax":
            sizes = {"B": 1, "H": rows, "Q": 2, "K": (1, long, 40000)}
        attributes = {}
        if name == "group_norm_silu":
            sizes, attributes = {"N": rows, "C": 6, "H": (1, 3, 500), "W": (1, long // 6, 4000)}, {"groups": 2}
        for dtype, scale in (("fp32", 1e30), *((dtype, 1) for dtype in TYPES)):
            profile = default_sizes(recipe, **sizes)
            made = network_of(recipe, profile, dtype, attributes)
            shapes = {item.name: tuple(profile[d][1] for d in item.dims) for item in recipe.inputs}
            # Far from 0, so that a wrong mean or maximum shows; at 1e30 the squares leave the range of fp32.
            inputs = {n: data.make(n, dtype, s, seed=1) for n, s in shapes.items()}
            inputs["x"] = ((inputs["x"].astype(np.float32) + 3) * scale).astype(inputs["x"].dtype)
            judge(recipe, made, inputs)


def check_groups_of_odd_channels() -> None:
    """Vectors that divide a group but no channel: in groups that fill their registers, and in large ones."""
    recipe = recipe_of("group_norm_silu")
    for channels, height, width in ((2, 3, 5), (4, 7, 9), (4, 43, 95), (1, 85, 201), (4, 65, 65), (6, 53, 55)):
        for dtype, dynamic in itertools.product(TYPES, (False, True)):
            spatial = [(n - 1, n, n + 1) if dynamic else n for n in (height, width)]
            sizes = default_sizes(recipe, N=1, C=2 * channels, H=spatial[0], W=spatial[1])
            made = network_of(recipe, sizes, dtype, {"groups": 2})
            shapes = {item.name: tuple(sizes[d][1] for d in item.dims) for item in recipe.inputs}
            judge(recipe, made, {n: data.make(n, dtype, shape, seed=2) for n, shape in shapes.items()})


@triton.jit
def quotients_kernel(at_ptr, pixels, y_ptr, COUNT: tl.constexpr):
    i = tl.arange(0, COUNT)
    tl.store(y_ptr + i, quotient(tl.load(at_ptr + i), pixels))


quotient = modules.load(str(KERNELS / "group_norm_silu.py"))._quotient


def check_quotients() -> None:
    """Of group_norm_silu, which estimates them in fp32: at multiples of the divisor and beside them, up to 2^31."""
    from aotfactory.run import interpreted

    rng = np.random.default_rng(4)
    count = 4096
    for pixels in (1, 3, 7, 961, 4225, 65521, 2**20 + 7, 2**30 + 1):
        most = min((2**31 - 2) // pixels, 2**20 - 1)
        at = np.maximum(rng.integers(0, most, count, endpoint=True) * pixels + rng.integers(-1, 2, count), 0)
        given = interpreted.Buffer("at", at.astype(np.int32), initialised=True)
        found = interpreted.Buffer("y", np.zeros(count, np.int32), initialised=False)
        types = {"at_ptr": "*i32", "pixels": "i32", "y_ptr": "*i32", "COUNT": "constexpr"}
        interpreted.run(ASTSource(quotients_kernel, types, {(3,): count}), (1, 1, 1), [given, pixels, found])
        assert np.array_equal(found.array("int32", (count,)), at // pixels), pixels


EXACT = ("per_token_quant_int8", "per_token_quant_fp8", "grid_sample")

ONE_BLOCK = ("silu_and_mul", "gelu_tanh_bias", "rope", "grid_sample")
"""No row is too long for these."""


def check_accuracy(name: str) -> None:
    """In fp32, of the largest output: what docs/kernels.md says, with room for another NumPy."""
    recipe = recipe_of(name)
    small = {"B": 2, "S": 8, "D": 1000, "H": 2, "Q": 5, "K": 1000, "D2": 2000}
    if name == "rope":
        small |= {"H": 8, "D": 128, "E": 64}
    if name == "group_norm_silu":
        small = {"N": 2, "C": 64, "H": 16, "W": 12}
    dims = default_sizes(recipe)
    sizes = default_sizes(recipe, **{d: n for d, n in small.items() if d in dims})
    made = network_of(recipe, sizes, "fp32")
    inputs = {i.name: data.make(i.name, "fp32", tuple(sizes[d][1] for d in i.dims), seed=3) for i in recipe.inputs}
    expected = reference.outputs(made, lambda plugin: recipe, inputs)
    for got in interpret(made, inputs).values():
        for output, array in got.items():
            error = np.abs(array.astype(np.float64) - expected[output])
            assert error.max() < 3e-7 * np.abs(expected[output]).max()


def check_every_fp8_number() -> None:
    """All e4m3 numbers, the midpoints between them, and both neighbours of each: rounded as ml_dtypes does."""
    codes = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    numbers = np.sort(codes[np.isfinite(codes)])
    middles = (numbers[1:] + numbers[:-1]) / 2
    some = np.concatenate([numbers, middles])
    row = np.concatenate([some, np.nextafter(some, np.float32(np.inf)), np.nextafter(some, np.float32(-np.inf))])
    row = row[np.abs(row) <= 448]  # so the scale is 1
    recipe = recipe_of("per_token_quant_fp8")
    made = network_of(recipe, default_sizes(recipe, B=1, S=1, D=len(row)), "fp32")
    for got in interpret(made, {"x": row.reshape(1, 1, -1)}).values():
        assert got["scale"].item() == 1
        expected = row.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
        assert np.array_equal(got["y"].view(np.uint8).reshape(-1), expected)


def check_quantised_numbers_are_near() -> None:
    """Without the reference: x is y * scale, to half a step."""
    for name, step in (("per_token_quant_int8", 0.5), ("per_token_quant_fp8", 16.0)):
        recipe = recipe_of(name)
        x = np.random.default_rng(0).standard_normal((2, 3, 333)).astype(np.float32)
        made = network_of(recipe, default_sizes(recipe, B=2, S=3, D=333), "fp32")
        for got in interpret(made, {"x": x}).values():
            scale = got["scale"].astype(np.float64)
            assert np.all(np.abs(got["y"].astype(np.float64) * scale - x) <= step * scale * 1.000001)


def check_residual_is_changed_in_place() -> None:
    recipe = recipe_of("rms_norm_add")
    made = network_of(recipe, default_sizes(recipe, B=1, S=2, D=24), "fp32")
    inputs = {n: data.make(n, "fp32", s) for n, s in (("x", (1, 2, 24)), ("residual", (1, 2, 24)), ("weight", (24,)))}
    for got in interpret(made, inputs).values():
        assert np.array_equal(got["residual_out"], inputs["x"] + inputs["residual"])


CHECKS: dict[str, Callable[[], None]] = {
    **{f"random_shapes[{name}]": functools.partial(check_random_shapes, name) for name in NAMES},
    **{
        f"beyond_one_block[{name}]": functools.partial(check_profile_beyond_one_block, name)
        for name in NAMES
        if name not in ONE_BLOCK
    },
    **{f"accuracy[{name}]": functools.partial(check_accuracy, name) for name in NAMES if name not in EXACT},
    "groups_of_odd_channels": check_groups_of_odd_channels,
    "quotients": check_quotients,
    "every_fp8_number": check_every_fp8_number,
    "quantised_numbers_are_near": check_quantised_numbers_are_near,
    "residual_is_changed_in_place": check_residual_is_changed_in_place,
}


def main(names: list[str]) -> None:
    outcomes = {}
    answer, sys.stdout = sys.stdout, sys.stderr
    for name in names or CHECKS:
        try:
            CHECKS[name]()
            outcomes[name] = ""
        except Exception:
            outcomes[name] = traceback.format_exc()[-3000:]
    json.dump(outcomes, answer)


# ------------------------------------------------------------------------------------------- in pytest's process


tuned_for_newer_triton = pytest.mark.skipif(
    metadata.version("triton").startswith("3.5."), reason="Triton 3.5 allocates registers and converts fp8 otherwise"
)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=900, check=False
    )
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
        assert variant.spills == 0
        assert ("ld.v4.b32" in accesses(variant.text)) is (size % 4 == 0)


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


def test_tactics_that_are_alike_are_offered_once() -> None:
    for size, tactics in ((64, 3), (16384, 1), (32768, 2)):
        found = variants("softmax", "sm_90", "fp16", default_sizes(recipe_of("softmax"), D=size))
        assert len(found) == tactics
        assert len({(str(v.launch), v.text) for v in found}) == tactics
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


if __name__ == "__main__":
    main(sys.argv[1:])
