# SPDX-License-Identifier: Apache-2.0
"""Plugin libraries under a C++ driver that calls them in TensorRT's order, through NVIDIA's own registry.

On any machine up to shapes, types, formats, tactics, serialization and back; and on the tests' own CUDA driver, whose
kernels are C++, all of the runtime interface. scripts/road_gpu.py does the rest on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import launcher_bundles as hand
import numpy as np
import pytest
from plugin_cases import Answers, ask, build_driver, case_of, outputs_of, run_of, wrong_answers

from aotfactory.api.build import build_bundle
from aotfactory.api.library import library
from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.compile import Options
from aotfactory.compiler.manifest import Bundle
from aotfactory.core.arch import parse_archs
from aotfactory.core.recipe import Recipe
from aotfactory.plan.library import library_document
from aotfactory.plugins.catalog import Catalog
from aotfactory.targets.request import TargetOptions

pytestmark = pytest.mark.plugin_library

RECIPES = Catalog()
RECIPES.load_all()
QUICK = ("circ_pad", "inplace_add", "non_zero", "rms_norm_add")
"""An array attribute, an aliased output, a size tensor, several inputs and outputs."""


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.mktemp("driver") / "plugin_driver")


def lean_library() -> str:
    import tensorrt_lean_libs

    return str(next(Path(next(iter(tensorrt_lean_libs.__path__))).glob("libnvinfer_lean.so.*")))


# --- every recipe, in NVIDIA's registry, without a GPU ----------------------------------------------------------------


def profile(recipe: Recipe, shapes: str) -> TargetOptions:
    """Small dynamic shapes from 1 on, or the static ones."""
    if shapes == "static":
        return TargetOptions()
    free = {d for item in recipe.inputs for d in item.dims if d in (recipe.dynamic or item.dims)}

    def at(scale: Callable[[int], int]) -> dict[str, tuple[int, ...]]:
        return {
            item.name: tuple(
                scale(n) if d in free else n
                for d, n in zip(item.dims or ("",) * len(item.shape), item.shape, strict=True)
            )
            for item in recipe.inputs
        }

    return TargetOptions(min_shape=at(lambda n: 1), opt_shape=at(lambda n: n), max_shape=at(lambda n: 2 * n))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in sorted(RECIPES.recipes)]
)
def test_recipes(name: str, driver: Path, tmp_path: Path) -> None:
    """Static and dynamic in one library, as TensorRT asks for them; what is serialized makes the same plugin again."""
    paths = [compiled(name, shapes, "sm_90,portable", tmp_path) for shapes in ("static", "dynamic")]
    answers = asked(driver, paths, tmp_path, "sm_90")
    ids = {answer["timing_cache_id"] for answer in answers}
    assert len(ids) == 1  # both parts answer to the same attributes


def test_the_others_in_one_library(driver: Path, tmp_path: Path) -> None:
    """Every recipe that is not among the quick ones, once: dynamic, and portable."""
    names = sorted(RECIPES.recipes.keys() - set(QUICK))
    asked(driver, [compiled(name, "dynamic", "portable", tmp_path) for name in names], tmp_path, "portable")


def compiled(name: str, shapes: str, archs: str, scratch: Path) -> Path:
    request, options = profile(RECIPES.recipes[name], shapes), Options(archs=parse_archs(archs))
    done = build_bundle(name, request=request, options=options, out=scratch / shapes, interpret=False)
    assert done.path is not None, done.failed
    return done.path


def asked(driver: Path, paths: list[Path], tmp_path: Path, arch: str) -> list[dict[str, Any]]:
    """What the driver says of a library of these bundles, after it was held against what Python knows."""
    made = library(paths, tmp_path / "libmade.so")
    parts = [part for path in paths for part in library_document([bundles.read(path)]).parts]
    cases = []
    for part in parts:
        network, call = part.network, part.network.calls[0]
        types = [network.tensor(n).dtype for n in (*call.inputs, *call.outputs)]
        at = network.at("opt")
        opt = [[d.evaluate(at) for d in network.tensor(n).shape] for n in call.inputs]
        cases.append(case_of(part, [{"types": types, "shapes": opt}]))
    found = ask(driver, {"library": str(made.path), "registry": lean_library(), "cases": cases}, tmp_path)
    for part, answer in zip(parts, found.cases, strict=True):
        assert wrong_answers(part, answer, parse_archs(arch)[0], alone=False) == []
    return found.cases


# --- the runtime interface, on the tests' own driver ------------------------------------------------------------------


class Fake:
    """A library of hand-written bundles, whose kernels the tests' driver has in C++."""

    def __init__(self, driver: Path, fake_driver: Path, scratch: Path) -> None:
        self.driver, self.env, self.scratch = driver, {"LD_LIBRARY_PATH": str(fake_driver)}, scratch

    def part(self, content: hand.Manifest) -> Bundle:
        path = hand.write(self.scratch / "sample.aot", hand.own_names(content))
        library([path], self.scratch / "libsample.so")
        (part,) = library_document([bundles.read(path)]).parts
        return part

    def ask(self, *cases: dict[str, Any]) -> Answers:
        document = {"library": str(self.scratch / "libsample.so"), "registry": None, "cases": list(cases)}
        return ask(self.driver, document, self.scratch, env=self.env)

    def run(self, part: Bundle, array: np.ndarray[Any, Any], **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A run's part of the answer, and its outputs."""
        run = run_of(part, {"x": array}, self.scratch, "run", **more)
        found = self.ask(case_of(part, [run]))
        assert found.left == 0, "modules stayed loaded"
        (each,) = found.cases[0]["runs"][0]["runs"]
        assert each.get("ran"), (each, found.said)
        return each, outputs_of(part, run, each["tactic"])


@pytest.fixture
def fake(driver: Path, fake_driver: Path, tmp_path: Path) -> Fake:
    return Fake(driver, fake_driver, tmp_path)


def random(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def in_place() -> hand.Manifest:
    tensors = [hand.tensor("x", "input", ["N", 8]), hand.tensor("y", "output", ["N", 8], aliases="x")]
    return hand.manifest(hand.variant(kernel="add_one"), tensors=tensors)


def positive() -> hand.Manifest:
    count = ["prod", "N", 8]
    tensors = [
        hand.tensor("x", "input", ["N", 8]),
        hand.tensor("y", "output", [["size_tensor", 1, ["floor_div", count, 2], count]]),
        hand.tensor("s", "output", [], "int32"),
    ]
    calls = [{"name": "call", "plugin": "test::copy", "attributes": {}, "inputs": ["x"], "outputs": ["y", "s"]}]
    variant = hand.variant(
        kernel="positive",
        parameters=["ptr", "i32", "ptr", "ptr"],
        dtypes=["fp32", "fp32", "int32"],
        extra_args=[count],
    )
    return hand.manifest(variant, tensors=tensors, calls=calls)


class TestRuntime:
    def test_copy(self, fake: Fake) -> None:
        array = random(300, 8)
        each, outputs = fake.run(fake.part(hand.manifest()), array)
        np.testing.assert_array_equal(outputs["y"], array)
        assert each["graph_same"]
        assert each["shape_change"] == 0

    def test_in_place(self, fake: Fake) -> None:
        array = random(10, 8)
        _, outputs = fake.run(fake.part(in_place()), array)
        np.testing.assert_array_equal(outputs["y"], array + 1)

    def test_data_dependent(self, fake: Fake) -> None:
        array = random(50, 8)
        _, outputs = fake.run(fake.part(positive()), array)
        np.testing.assert_array_equal(outputs["y"], array[array > 0])
        assert outputs["s"] == (array > 0).sum()

    def test_empty(self, fake: Fake) -> None:
        _, outputs = fake.run(fake.part(hand.manifest()), random(0, 8))
        assert outputs["y"].shape == (0, 8)

    def test_eight_threads_share_a_module(self, fake: Fake) -> None:
        each, _ = fake.run(fake.part(hand.manifest()), random(300, 8), threads=8, rounds=20)
        assert each["threads_wrong"] == 0
        assert each["modules"] == 1

    def test_kernels_in_a_row_with_a_workspace(self, fake: Fake) -> None:
        """One sums rows into a workspace, one takes an int64 and an fp32; in graphs, threads, at other shapes too."""
        array = random(300, 8)
        part = fake.part(hand.in_a_row())
        other = run_of(part, {"x": random(7, 8)}, fake.scratch, "other")
        more = {"shape_changes": 200, "other_shapes": other["shapes"], "other_inputs": other["inputs"]}
        each, outputs = fake.run(part, array, threads=4, **more)
        expected = array - array.sum(1, keepdims=True, dtype=np.float32) / 8
        np.testing.assert_allclose(outputs["y"], expected, rtol=1e-5, atol=1e-6)
        assert each["graph_same"]
        assert (each["threads_wrong"], each["same_afterwards"], each["modules"]) == (0, True, 2)
        (configured,) = fake.ask(case_of(part)).cases[0]["combinations"]
        assert configured["workspace"] == 4 * 4096  # of the largest shape, in whole 256 bytes

    def test_two_workspaces_lie_apart(self, fake: Fake) -> None:
        content = hand.in_a_row()
        (variant,) = content["variants"]
        variant["workspaces"] = [{"bytes": ["prod", "N", 4], "at_most": 4 * 4096}, {"bytes": 300, "at_most": 300}]
        for kernel in (variant, *variant["then"]):
            kernel["parameters"] = [*kernel["parameters"], "ptr"]
            kernel["text"] = hand.entry(kernel["kernel"], kernel["parameters"])
            kernel |= hand.digest(kernel["text"])
        part = fake.part(content)
        array = random(20, 8)
        _, outputs = fake.run(part, array)
        expected = array - array.sum(1, keepdims=True, dtype=np.float32) / 8
        np.testing.assert_allclose(outputs["y"], expected, rtol=1e-5, atol=1e-6)
        assert fake.ask(case_of(part)).cases[0]["combinations"][0]["workspace"] == 4 * 4096 + 512

    def test_a_store_behind_the_workspace(self, fake: Fake) -> None:
        content = hand.in_a_row(then=[])
        (variant,) = content["variants"]
        variant |= {"kernel": "behind_workspace", "text": hand.entry("behind_workspace", variant["parameters"])}
        variant |= hand.digest(variant["text"])
        part = fake.part(content)
        found = fake.ask(case_of(part, [run_of(part, {"x": random(4096, 8)}, fake.scratch, "run")]))
        (each,) = found.cases[0]["runs"][0]["runs"]
        assert each["error"] == "memory outside of the workspace was changed"

    def test_a_workspace_larger_than_it_may_be(self, fake: Fake) -> None:
        workspaces = [{"bytes": ["prod", "N", 4], "at_most": 40}]
        part = fake.part(hand.in_a_row(workspaces=workspaces))
        found = fake.ask(case_of(part, [run_of(part, {"x": random(11, 8)}, fake.scratch, "run")]))
        assert found.cases[0]["runs"][0]["runs"][0]["shape_change"] != 0
        assert "workspace 0 takes 44 bytes, more than its at_most" in found.said

    @pytest.mark.parametrize("blocks", [2, 16])
    def test_a_cluster_that_the_launch_states(self, fake: Fake, blocks: int) -> None:
        launched = hand.launch(grid_x=["prod", "N", blocks])
        variant = hand.variant(kernel="cluster_of", cluster_at_launch=[blocks, 1, 1], launch=launched)
        _, outputs = fake.run(fake.part(hand.manifest(variant, road="library")), random(4, 8))
        assert (outputs["y"] == blocks).all()

    def test_two_gpus(self, fake: Fake) -> None:
        """Plugins of one library on both, in threads and by turns in one: each has kernels of its own context."""
        fake.env["FAKE_CUDA"] = "two-gpus"
        each, _ = fake.run(fake.part(hand.manifest()), random(300, 8), devices=5)
        assert each["devices"] == {"count": 2, "runs": (4 + 1) * 2 * 5, "wrong": 0, "error": ""}

    def test_ten_thousand_changes_of_shape(self, fake: Fake) -> None:
        part = fake.part(hand.manifest())
        other = run_of(part, {"x": random(7, 8)}, fake.scratch, "other")
        more = {"shape_changes": 10_000, "other_shapes": other["shapes"], "other_inputs": other["inputs"]}
        each, _ = fake.run(part, random(300, 8), **more)
        assert each["same_afterwards"]
        assert each["modules"] == 1
        assert each["shape_changes"]["host_bytes"] < 4 << 20

    @pytest.mark.parametrize(("bytes_", "fits"), [(200_000, True), (300_000, False)])
    def test_shared_memory(self, fake: Fake, bytes_: int, fits: bool) -> None:
        launch = {**hand.variant()["launch"], "shared_mem": bytes_}
        part = fake.part(hand.manifest(hand.variant(launch=launch)))
        found = fake.ask(case_of(part, [run_of(part, {"x": random(4, 8)}, fake.scratch, "run")]))
        (each,) = found.cases[0]["runs"][0]["runs"]
        assert (each["shape_change"] == 0) == fits
        assert ("wants 300000 bytes of shared memory, the GPU has 232448" in found.said) != fits

    def test_tactics(self, fake: Fake) -> None:
        variants = [hand.variant(tactic=n, kernel=k) for n, k in ((3, "copy"), (5, "vary"))]
        part = fake.part(hand.manifest(*variants))
        run = run_of(part, {"x": random(4, 8)}, fake.scratch, "run")
        answer = fake.ask(case_of(part, [run])).cases[0]
        assert [c["tactics"] for c in answer["combinations"]] == [[3, 5]]
        assert [(r["tactic"], r["ran"], r["graph_same"]) for r in answer["runs"][0]["runs"]] == [
            (3, True, True),
            (5, True, False),  # a kernel that counts its launches
        ]

    def test_kernels_for_a_shape_come_before_those_for_a_range(self, fake: Fake) -> None:
        both = [hand.tensor("x", "input", [300, 8]), hand.tensor("y", "output", [300, 8])]
        exact = hand.variant(tactic=5, launch=hand.launch(grid_x=3), extra_args=[2400])
        contents = (hand.manifest(hand.variant(tactic=3)), hand.manifest(exact, symbols={}, tensors=both))
        paths = [hand.write(fake.scratch / f"{i}.aot", hand.own_names(c)) for i, c in enumerate(contents)]
        library(paths, fake.scratch / "libsample.so")
        (part,) = library_document([bundles.read(paths[1])]).parts
        assert [c["tactics"] for c in fake.ask(case_of(part)).cases[0]["combinations"]] == [[5]]

    def test_the_architecture_of_the_gpu_or_the_newest_that_runs_on_it(self, fake: Fake) -> None:
        """The tests' driver has a GPU of compute capability 9.0."""
        archs = [("portable", "sm_80", 1), ("sm_86", "sm_86", 2), ("sm_100", "sm_100", 3)]
        part = fake.part(hand.manifest(*[hand.variant(arch=a, ptx_target=t, tactic=n) for a, t, n in archs]))
        assert [c["tactics"] for c in fake.ask(case_of(part)).cases[0]["combinations"]] == [[2]]

    def test_nothing_runs_on_the_gpu(self, fake: Fake) -> None:
        part = fake.part(hand.manifest(hand.variant(arch="sm_100", ptx_target="sm_100")))
        found = fake.ask(case_of(part))
        assert found.cases[0]["refused"]
        assert "test::copy: the library has no kernels for this GPU, sm_90, only for sm_100" in found.said

    def test_a_shape_outside_of_the_profile(self, fake: Fake) -> None:
        part = fake.part(hand.manifest())
        run = run_of(part, {"x": random(5000, 8)}, fake.scratch, "run")
        found = fake.ask(case_of(part, [run]))
        assert found.cases[0]["runs"][0]["runs"][0]["shape_change"] != 0
        assert "dimension N = 5000 of input 'x' is not within the profile's 0 to 4096" in found.said

    def test_a_network_with_a_larger_profile(self, fake: Fake) -> None:
        part = fake.part(hand.manifest())
        case = case_of(part)
        case["inputs"][0]["max"] = [8192, 8]
        found = fake.ask(case)
        assert [c["configured"] for c in found.cases[0]["combinations"]] == [-1]
        assert "no kernels for these inputs: dimension N = 8192" in found.said

    def test_a_network_of_other_shapes(self, fake: Fake) -> None:
        part = fake.part(hand.manifest())
        case = case_of(part)
        case["inputs"][0]["dims"] = [-1, 9]
        found = fake.ask(case)
        assert found.cases[0]["shapes_result"] == -1
        assert found.cases[0]["combinations"] == []
        assert "dimension 1 of input 0 is 9, the kernels are for 8" in found.said
