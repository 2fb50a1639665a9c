# SPDX-License-Identifier: Apache-2.0
"""What the library of kernels computes, in Triton's interpreter: the functions named `check_...`.

The interpreter must be on before the kernels are imported, so test_library.py runs them in one other process,
``TRITON_INTERPRET=1 python tests/library_checks.py``, which prints what went wrong, by name.
"""

from __future__ import annotations

import functools
import itertools
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import triton
import triton.language as tl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from triton.compiler import ASTSource

from aotfactory.core import dimensions, dtypes
from aotfactory.core.network import NetworkInput, Profile
from aotfactory.core.recipe import Recipe
from aotfactory.executors import reference
from aotfactory.executors.inputs import make_input
from aotfactory.plugins import device, loader
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets import network_builder
from aotfactory.targets.network_builder import plugin_call

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
    from aotfactory.executors.interpreter import kernel as interpreted

    (call,) = network.calls
    plugin = plugin_call(network, call)
    tactics = next(t for c, t in plugin.combinations() if c == plugin.combination)
    symbols = dimensions.bind(network, {name: array.shape for name, array in inputs.items()})
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
        x, y, z = (kernel.launch[f"grid_{axis}"].evaluate(symbols) for axis in "xyz")
        grid = x // sources[-1].num_ctas, y, z  # a launch counts blocks; a cluster runs one program
        extra = [e.evaluate(symbols) for e in kernel.extra_args]
        assert all(-(2**31) <= e < 2**31 for e in extra)
        pointers = [buffer for buffer, _, _ in outputs.values()]
        interpreted.run(sources[-1], grid, [*buffers.values(), *extra, *pointers])  # type: ignore[arg-type]
        assert all(buffer.initialised or buffer.written.all() for buffer in pointers)
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
        judge(recipe, made, {n: make_input(n, dtype, s, kind=kinds[n], seed=seed) for n, s in shapes.items()})

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
            inputs = {n: make_input(n, dtype, s, seed=1) for n, s in shapes.items()}
            inputs["x"] = ((inputs["x"].astype(np.float32) + 3) * scale).astype(inputs["x"].dtype)
            judge(recipe, made, inputs)


OF_ROWS = ("rms_norm", "rms_norm_add", "layer_norm", "softmax", "masked_softmax", "per_token_quant_int8")


def check_every_tactic_on_long_rows(name: str) -> None:
    """Offered or not; rows that begin and end anywhere, whose first elements are far from the others."""
    from aotfactory.kernels import _row_tactics as row_tactics

    recipe, offered = recipe_of(name), row_tactics.tactics
    long = recipe.inputs[0].dims[-1]

    def every(x: Any, work: int, **rest: Any) -> list[int]:
        rows = row_tactics.rows_of(x, work, **rest)
        alike = {tuple(row_tactics.arguments(rows, n).values()): n for n in row_tactics.TACTICS}
        parts = {n for n, t in row_tactics.TACTICS.items() if isinstance(t, row_tactics.Parts) and t.programs > 1}
        return sorted(n for n in alike.values() if rows.tensors == 1 or n not in parts)

    row_tactics.tactics = every
    try:
        for length, dtype in ((4107, "fp16"), (33003, "fp16"), (33002, "bf16"), (9001, "fp32"), (34000, "fp16")):
            sizes = default_sizes(recipe, **{d: 1 for d in ("B", "H") if d in recipe.inputs[0].dims}, **{long: length})
            sizes = {d: (3, 3, 3) if d in ("S", "Q") else n for d, n in sizes.items()}
            inputs = {i.name: make_input(i.name, dtype, tuple(sizes[d][1] for d in i.dims)) for i in recipe.inputs}
            inputs["x"][..., : length // 9] += 100
            judge(recipe, network_of(recipe, sizes, dtype), inputs)
    finally:
        row_tactics.tactics = offered


def check_groups_of_odd_channels() -> None:
    """Vectors that divide a group but no channel: in groups that fill their registers, and in large ones."""
    recipe = recipe_of("group_norm_silu")
    for channels, height, width in ((2, 3, 5), (4, 7, 9), (4, 43, 95), (1, 85, 201), (4, 65, 65), (6, 53, 55)):
        for dtype, dynamic in itertools.product(TYPES, (False, True)):
            spatial = [(n - 1, n, n + 1) if dynamic else n for n in (height, width)]
            sizes = default_sizes(recipe, N=1, C=2 * channels, H=spatial[0], W=spatial[1])
            made = network_of(recipe, sizes, dtype, {"groups": 2})
            shapes = {item.name: tuple(sizes[d][1] for d in item.dims) for item in recipe.inputs}
            judge(recipe, made, {n: make_input(n, dtype, shape, seed=2) for n, shape in shapes.items()})


@triton.jit
def quotients_kernel(at_ptr, pixels, y_ptr, COUNT: tl.constexpr):
    i = tl.arange(0, COUNT)
    tl.store(y_ptr + i, quotient(tl.load(at_ptr + i), pixels))


quotient = loader.load(str(KERNELS / "group_norm_silu.py"))._quotient


def check_quotients() -> None:
    """Of group_norm_silu, which estimates them in fp32: at multiples of the divisor and beside them, up to 2^31."""
    from aotfactory.executors.interpreter import kernel as interpreted

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
    inputs = {i.name: make_input(i.name, "fp32", tuple(sizes[d][1] for d in i.dims), seed=3) for i in recipe.inputs}
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
    inputs = {n: make_input(n, "fp32", s) for n, s in (("x", (1, 2, 24)), ("residual", (1, 2, 24)), ("weight", (24,)))}
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
    **{
        f"every_tactic_on_long_rows[{name}]": functools.partial(check_every_tactic_on_long_rows, name)
        for name in OF_ROWS
    },
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
            with device.answering(90):
                CHECKS[name]()
            outcomes[name] = ""
        except Exception:
            outcomes[name] = traceback.format_exc()[-3000:]
    json.dump(outcomes, answer)


if __name__ == "__main__":
    main(sys.argv[1:])
