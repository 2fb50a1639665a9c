# SPDX-License-Identifier: Apache-2.0
"""The kernels that ship with aotfactory: what they compute, in Triton's interpreter, and what they compile to.

The interpreter must be on before the kernels are imported, so the functions named `check_...` run in a process of their
own: ``TRITON_INTERPRET=1 python tests/kernels/test_kernels.py check_circ_pad``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aotfactory.compiler import compile as compiler
from aotfactory.core import dimensions, dtypes
from aotfactory.core.arch import parse_archs
from aotfactory.core.errors import AotError
from aotfactory.core.network import NetworkInput, Profile
from aotfactory.executors.inputs import make_input
from aotfactory.plugins import device, loader
from aotfactory.targets import network_builder
from aotfactory.targets.network_builder import plugin_call

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
TYPES = ("fp32", "fp16", "bf16", "int8", "int32")
EXAMPLES = int(os.environ.get("AOTFACTORY_TEST_EXAMPLES", "24"))
"""Shapes that each check of a kernel draws; 60 with --run-slow."""

SETTINGS = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


def kernel_module(name: str) -> Any:
    return loader.load(str(KERNELS / f"{name}.py"))


@dataclass(frozen=True)
class Case:
    """A shape, and for each dimension how far the profile extends below and above it; 0 and 0: static."""

    shape: tuple[int, ...]
    slack: tuple[tuple[int, int], ...] = ()

    @property
    def ends(self) -> list[tuple[int, int]]:
        return list(self.slack) or [(0, 0)] * len(self.shape)

    @property
    def profile(self) -> Profile:
        low = tuple(n - a for n, (a, _) in zip(self.shape, self.ends, strict=True))
        high = tuple(n + b for n, (_, b) in zip(self.shape, self.ends, strict=True))
        return Profile(min=low, opt=self.shape, max=high)


def network_of(name: str, dtype: str, case: Case, attributes: dict[str, Any], length: int = 1) -> Any:
    module = kernel_module(name)
    tensor = NetworkInput(
        name="x", dtype=dtype, profile=case.profile, dims=tuple(f"D{axis}" for axis in range(len(case.shape)))
    )
    return network_builder.chain(
        name=name, target=name, plugin_id=module.RECIPE.plugin, inputs=[tensor], attributes=attributes, length=length
    )


def exact_bf16() -> Any:
    """Triton's interpreter cuts bf16 off instead of rounding, and loses denormals (seen with 3.9)."""
    import ml_dtypes
    import triton.language as tl
    from triton.runtime import interpreter

    original = interpreter._convert_float
    arrays = {tl.float32: np.dtype(np.float32), tl.bfloat16: np.dtype(ml_dtypes.bfloat16)}

    def convert(values: np.ndarray, source: Any, target: Any, rounding: Any) -> np.ndarray:
        if source not in arrays or target not in arrays:
            return original(values, source, target, rounding)
        with np.errstate(all="ignore"):
            return bits(values.view(arrays[source]).astype(arrays[target]))

    return mock.patch.object(interpreter, "_convert_float", convert)


def run(name: str, x: np.ndarray, case: Case, **attributes: Any) -> dict[int, list[np.ndarray]]:
    """The outputs of every tactic, in Triton's interpreter, from buffers of exactly their size."""
    from aotfactory.executors.interpreter import kernel as interpreted

    network = network_of(name, dtypes.of_array(x.dtype).name, case, attributes)
    call = network.calls[0]
    plugin = plugin_call(network, call)
    tactics = next(t for c, t in plugin.combinations() if c == plugin.combination)
    symbols = dimensions.bind(network, {"x": x.shape})
    found = {}
    for tactic in tactics:
        fake = [{"metadata": {"name": "entry", "num_warps": 4, "shared": 0}, "ptx": ""}]
        with interpreted.capturing(fake) as sources:
            kernel = plugin.kernel(plugin.combination, tactic)
        inputs = [interpreted.Buffer("x", x, initialised=True)]
        outputs = []
        for i, output in enumerate(call.outputs):
            tensor = network.tensor(output)
            filled = np.full([d.evaluate(symbols) for d in tensor.shape], 85, dtypes.find(tensor.dtype).array)
            alias = plugin.aliases[i]
            outputs.append(
                inputs[alias] if alias is not None else interpreted.Buffer(output, filled, initialised=False)
            )
        grid = tuple(kernel.launch[f"grid_{axis}"].evaluate(symbols) for axis in "xyz")
        extra = [e.evaluate(symbols) for e in kernel.extra_args]
        assert all(-(2**31) <= e < 2**31 for e in extra)
        with exact_bf16():
            interpreted.run(sources[-1], grid, [*inputs, *extra, *outputs])  # type: ignore[arg-type]
        found[tactic] = [
            buffer.array(network.tensor(n).dtype, [d.evaluate(symbols) for d in network.tensor(n).shape])
            for buffer, n in zip(outputs, call.outputs, strict=True)
        ]
    return found


def bits(x: np.ndarray) -> np.ndarray:
    return x.view(f"u{x.dtype.itemsize}")


def same(a: np.ndarray, b: np.ndarray) -> None:
    """Bit for bit, but for the payload of a NaN."""
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    assert np.array_equal(a.astype(np.float64), b.astype(np.float64), equal_nan=True)
    if a.dtype.kind != "i":
        assert np.array_equal(np.signbit(a)[a == 0], np.signbit(b)[b == 0])


SEEDS = st.integers(0, 2**32 - 1)


def values(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    return make_input("x", dtype, shape, kind="adversarial", seed=seed)


@st.composite
def cases(draw: Any, largest: int, rank: tuple[int, int] = (1, 4), least: int = 0) -> Case:
    """Shapes of at most `largest` elements, one long dimension among them, static or dynamic."""
    shape: list[int] = []
    for _ in range(draw(st.integers(*rank))):
        left = max(largest // max(prod(shape), 1), 1)
        shape.append(draw(st.integers(min(least, left), draw(st.sampled_from([min(left, 7), min(left, 67), left])))))
    shape = draw(st.permutations(shape))
    dynamic = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda s: s if any(s) else (0, 5))
    slack = [draw(st.one_of(st.just((0, 0)), dynamic)) for _ in shape]
    return Case(tuple(shape), tuple((min(a, n), b) for n, (a, b) in zip(shape, slack, strict=True)))


@SETTINGS
@given(cases(5000), st.sampled_from(TYPES), st.sampled_from([32, 256, 1024]), SEEDS)
def check_elementwise_add(case: Case, dtype: str, block_size: int, seed: int) -> None:
    x = values(dtype, case.shape, seed)
    with np.errstate(all="ignore"):
        expected = kernel_module("elementwise_add").elementwise_add_reference(x, block_size).astype(x.dtype)
    for y in run("elementwise_add", x, case, block_size=block_size).values():
        same(y[0], expected)


@SETTINGS
@given(cases(5000), st.sampled_from(TYPES), st.integers(-128, 127), SEEDS)
def check_inplace_add(case: Case, dtype: str, delta: int, seed: int) -> None:
    x = values(dtype, case.shape, seed)
    with np.errstate(all="ignore"):
        expected = kernel_module("inplace_add").inplace_add_reference(x, delta).astype(x.dtype)
    for y in run("inplace_add", x, case, delta=delta).values():
        same(y[0], expected)


@st.composite
def paddings(draw: Any, case: Case) -> list[int]:
    """For some of the last dimensions, often small, at most what the smallest tensor of the profile allows."""
    pads = []
    for least in reversed(case.profile.min[draw(st.integers(0, len(case.shape))) :]):
        most = st.sampled_from([0, min(least, 1), min(least, 5), least])
        pads += [draw(st.integers(0, draw(most))) for _ in range(2)]
    return pads


def padded(x: np.ndarray, pads: list[int]) -> np.ndarray:
    width = [(0, 0)] * (x.ndim - len(pads) // 2) + [tuple(pads[i : i + 2]) for i in range(len(pads) - 2, -1, -2)]
    return np.pad(x, width, mode="wrap") if any(pads) else x


@SETTINGS
@given(st.data(), cases(6000, least=1), st.sampled_from(TYPES), SEEDS)
def check_circ_pad(draw: Any, case: Case, dtype: str, seed: int) -> None:
    pads = draw.draw(paddings(case))
    x = values(dtype, case.shape, seed)
    for y in run("circ_pad", x, case, pads=pads).values():
        assert np.array_equal(bits(y[0]), padded(bits(x), pads))


@settings(SETTINGS, max_examples=EXAMPLES // 3)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(10, 40), st.integers(9, 300)),
    st.lists(st.integers(0, 6), min_size=4, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.sampled_from(["int8", "fp16"]),
    SEEDS,
)
def check_circ_pad_words(shape: tuple[int, ...], pads: list[int], dynamic: list[bool], dtype: str, seed: int) -> None:
    """Images of narrow types and little padding, of several programs, which `circ_pad_words_kernel` is made for."""
    case = Case(shape, tuple((min(n - 1, 1), 2) if d else (0, 0) for n, d in zip(shape, dynamic, strict=True)))
    x = values(dtype, shape, seed)
    found = run("circ_pad", x, case, pads=pads)
    fused = not case.slack[3][1] and all(n % 2 == 0 for n in (shape[3], *pads[:2]))
    assert (
        fused or case.profile.min[3] < 32 or not any(pads[:2]) or len(found) == len(kernel_module("circ_pad").TACTICS)
    )
    for y in found.values():
        assert np.array_equal(bits(y[0]), padded(bits(x), pads))


def check_circ_pad_wide() -> None:
    """The 64-bit indices of very large tensors, on small ones."""
    module = kernel_module("circ_pad")
    module.MAX_NARROW = 0
    for slack in ((0, 0), (2, 3)):
        for shape, pads in (((7,), [7, 0]), ((5, 30, 31), [2, 1]), ((2, 5, 9, 40), [3, 2, 5, 1, 1, 0, 2, 2])):
            x = values("fp16", shape, 0)
            room = (0, 3) if slack[1] else (0, 0)
            found = run("circ_pad", x, Case(shape, (room,) * len(shape)), pads=pads)
            assert set(found) == {1, 2}
            for y in found.values():
                assert np.array_equal(bits(y[0]), padded(bits(x), pads))


def check_circ_pad_long_rows() -> None:
    """Rows for which the multiplication by a reciprocal is not exact, in a profile that has short ones too."""
    x = values("fp32", (2, 70_000), 0)
    for y in run("circ_pad", x, Case(x.shape, ((0, 0), (69_995, 0))), pads=[3, 2]).values():
        assert np.array_equal(bits(y[0]), padded(bits(x), [3, 2]))


@SETTINGS
@given(cases(12000), st.sampled_from(TYPES), st.sampled_from([0.0, 0.02, 0.5, 1.0]), SEEDS)
def check_non_zero(case: Case, dtype: str, density: float, seed: int) -> None:
    x = values(dtype, case.shape, seed)
    x = np.where(np.random.default_rng(seed).random(case.shape) < density, x, np.zeros((), x.dtype))
    expected = np.argwhere(x != 0)
    for rows, number in run("non_zero", x, case).values():
        assert number == len(expected)
        assert number.dtype == np.int64
        assert np.array_equal(rows[:number], expected)
        assert np.all(rows[number:] == 85)  # nothing is written behind the last row


def check_non_zero_of_many_blocks() -> None:
    """More blocks than programs."""
    module = kernel_module("non_zero")
    module.MAX_PROGRAMS = 3
    x = values("int8", (111, 211), 1)
    for rows, number in run("non_zero", x, Case(x.shape)).values():
        assert np.array_equal(rows[:number], np.argwhere(x))


CHECKS: list[Callable[[], None]] = [f for name, f in list(globals().items()) if name.startswith("check_")]


NAMES = [check.__name__ for check in CHECKS]


@pytest.fixture(scope="module")
def outcomes(pytestconfig: pytest.Config) -> dict[str, str]:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    if pytestconfig.getoption("--run-slow"):
        environment["AOTFACTORY_TEST_EXAMPLES"] = "60"
    command = [sys.executable, __file__, *NAMES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("check", NAMES)
def test_in_interpreter(check: str, outcomes: dict[str, str]) -> None:
    assert outcomes[check] == ""


def outcome(check: str) -> str:
    sys.stdout = sys.stderr
    try:
        with device.answering():  # a kernel's metadata asks for a GPU
            globals()[check]()
    except Exception:
        return traceback.format_exc()[-4000:]
    return ""


@SETTINGS
@given(st.data(), cases(300, least=1), st.sampled_from(TYPES))
def test_circ_pad_reference_is_numpys_wrap(draw: Any, case: Case, dtype: str) -> None:
    case = Case(case.shape)
    pads = draw.draw(paddings(case))
    x = values(dtype, case.shape, 0)
    found = kernel_module("circ_pad").circ_pad_reference(x, pads)
    assert found.dtype == x.dtype
    assert np.array_equal(bits(found), padded(bits(x), pads))


def variants(name: str, arch: str, dtype: str, case: Case, **attributes: Any) -> dict[int, Any]:
    """Every tactic compiled for an architecture, all checks of it passed."""
    network = network_of(name, dtype, case, attributes)
    results = compiler.compile_network(network, compiler.Options(archs=parse_archs(arch)), lambda text: None)
    problems = [f"{c.name} of {r.id}: {c.detail}" for r in results for c in r.checks if c.status == "failed"]
    assert not problems
    assert results
    return {r.tactic: r.variant for r in results}


def count(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text))


WIDE_STORE = r"st\.global\.(v4\.b32|v2\.b64)"
WIDE_LOAD = r"ld\.global\.(v4\.b32|v2\.b64)"
IMAGE = Case((7, 3, 511, 509))
IMAGES = Case((4, 3, 300, 300), ((3, 4), (0, 0), (172, 212), (172, 212)))


# Every type on sm_90, and one on sm_80; the others there with --run-slow.
ON_SM_80 = [pytest.param(t, "sm_80", marks=[pytest.mark.slow] if t != "fp16" else []) for t in TYPES]


@pytest.mark.parametrize(("dtype", "arch"), [*((t, "sm_90") for t in TYPES), *ON_SM_80])
@pytest.mark.parametrize("case", [IMAGE, IMAGES], ids=["static", "dynamic"])
def test_circ_pad_stores_16_bytes(dtype: str, case: Case, arch: str) -> None:
    found = variants("circ_pad", arch, dtype, case, pads=[1, 1, 1, 1])
    itemsize = dtypes.find(dtype).itemsize
    assert set(found) == ({1, 2} if itemsize == 4 else {1, 2, 3, 4})
    for tactic, variant in found.items():
        chosen = kernel_module("circ_pad").TACTICS[tactic]
        each = (
            chosen.block // (32 * chosen.warps) * (kernel_module("circ_pad").WORD_BYTES if chosen.words else itemsize)
        )  # bytes of a thread
        assert count(WIDE_STORE, variant.text) >= each // 16
        if chosen.words:  # what orders its two stores to one place
            assert re.search(WIDE_STORE + r".*bar\.sync.*st\.global\.b64", variant.text, re.DOTALL)
        assert variant.spills == 0


@pytest.mark.parametrize("name", ["elementwise_add", "inplace_add"])
@pytest.mark.parametrize("case", [Case((3, 1000, 333)), Case((3, 10, 33), ((2, 5), (0, 0), (3, 3)))], ids=str)
@pytest.mark.parametrize("dtype", TYPES)
def test_adds_access_16_bytes(dtype: str, case: Case, name: str) -> None:
    """Also where the size is no multiple of anything, or not known."""
    attributes: dict[str, Any] = {"block_size": 4096} if name == "elementwise_add" else {"delta": 2}
    (variant,) = variants(name, "sm_90", dtype, case, **attributes).values()
    if dtypes.find(dtype).itemsize > 1 or name == "elementwise_add":  # 1024 bytes of int8 are 8 for each thread
        assert count(WIDE_STORE, variant.text)
        assert count(WIDE_LOAD, variant.text)
    assert variant.spills == 0


def test_inplace_add_leaves_the_output_pointer_alone() -> None:
    """It may be the input's, or anything."""
    (variant,) = variants("inplace_add", "sm_90", "fp32", Case((5,), ((0, 3),)), delta=1).values()
    assert variant.parameters == ("ptr", "i32", "i32", "ptr")
    assert count(r"ld\.param\S* .*_param_0\]", variant.text)
    assert not count(r"ld\.param\S* .*_param_3\]", variant.text)


@pytest.mark.parametrize("case", [Case((3000, 4000)), Case((50, 60), ((50, 4000), (0, 8000)))], ids=str)
@pytest.mark.parametrize("dtype", TYPES)
def test_non_zero_reads_16_bytes(dtype: str, case: Case) -> None:
    found = variants("non_zero", "sm_90", dtype, case)
    assert count(WIDE_LOAD, found[2].text)
    assert all(variant.spills == 0 for variant in found.values())


@pytest.mark.parametrize(
    ("name", "case", "attributes"),
    [
        ("elementwise_add", Case((70000, 64, 1024)), {"block_size": 1024}),
        ("elementwise_add", Case((1, 64, 1024), ((0, 69999), (0, 0), (0, 0))), {"block_size": 1024}),
        ("inplace_add", Case((1, 64, 1024), ((0, 69999), (0, 0), (0, 0))), {"delta": 1}),
        ("circ_pad", Case((8, 64, 3000, 3000)), {"pads": [1, 1, 1, 1]}),
        ("circ_pad", Case((1, 64, 30, 30), ((0, 7), (0, 0), (0, 2970), (0, 2970))), {"pads": [3, 2, 5, 1]}),
    ],
    ids=str,
)
def test_more_elements_than_int32(name: str, case: Case, attributes: dict[str, Any]) -> None:
    """The launch and every extra argument are proved in range, and some address is made of 64-bit numbers."""
    for variant in variants(name, "sm_90", "int8", case, **attributes).values():
        assert count(r"mul\.wide|mad\.wide|shl\.b64|mul\.lo\.s64", variant.text)


@pytest.mark.parametrize(
    ("name", "case", "attributes", "message"),
    [
        ("elementwise_add", Case((8,)), {"block_size": 1000}, "block_size is 1000"),
        ("elementwise_add", Case((8,)), {"block_size": 16}, "block_size is 16"),
        ("inplace_add", Case((8,)), {"delta": 128}, "delta is 128, which not every int8 holds"),
        ("circ_pad", Case((8, 8)), {"pads": [1, 1, 1]}, "pads has 3 items"),
        ("circ_pad", Case((8,)), {"pads": [1, 1, 1, 1]}, "pads has 4 items, for 2 dimensions, but the tensor has 1"),
        ("circ_pad", Case((8, 8)), {"pads": [1, -1]}, "pads holds -1"),
        ("circ_pad", Case((4, 8)), {"pads": [8, 8, 1, 5]}, "pads holds 5 for dimension 0, which may be as small as 4"),
        ("circ_pad", Case((4, 8), ((0, 0), (3, 0))), {"pads": [6, 0]}, "pads holds 6 for dimension 1"),
        ("circ_pad", Case((1, 1, 1, 1, 8)), {"pads": [1, 1]}, "circ_pad of a tensor of 5 dimensions"),
        ("non_zero", Case((1, 1, 1, 1, 8)), {}, "non_zero of a tensor of 5 dimensions"),
        (
            "non_zero",
            Case((8, 8), ((0, 100_000), (0, 100_000))),
            {},
            "dimension 0 of 'y0' is 10001600064 at D0=100008, D1=100008, not within 0 and 2147483647",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_refuses(name: str, case: Case, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(AotError, match=re.escape(message)):
        variants(name, "sm_90", "int8", case, **attributes)


def test_recipes_name_what_the_definitions_support() -> None:
    for name in ("elementwise_add", "inplace_add", "circ_pad", "non_zero"):
        recipe = kernel_module(name).RECIPE
        assert recipe.name == name
        network = network_of(name, "fp32", Case(recipe.inputs[0].shape), dict(recipe.attributes))
        offered = {c.dtypes[0] for c, _ in plugin_call(network, network.calls[0]).combinations()}
        assert set(recipe.dtypes) == offered


if __name__ == "__main__":
    names = sys.argv[1:]
    # A process for each, as they change the modules that they look at.
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        print(json.dumps(dict(zip(names, pool.map(outcome, names, chunksize=1), strict=True))))
