# SPDX-License-Identifier: Apache-2.0
"""What the launcher notices when it runs kernels: on a driver made for the test, whose kernels are C++ on the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import launcher_bundles as bundles
import numpy as np
import pytest

from aotfactory.core.errors import CheckError, DefinitionError, MissingError, UsageError
from aotfactory.executors.native.launcher import LaunchResult, build_launcher, run_launcher
from aotfactory.executors.native.program import Timing

pytestmark = pytest.mark.launcher


@pytest.fixture(scope="module")
def launcher() -> Path:
    return build_launcher()


class Runner:
    def __init__(self, launcher: Path, driver: Path, folder: Path) -> None:
        self.launcher, self.driver, self.folder = launcher, driver, folder

    def __call__(self, manifest: dict[str, Any], fault: str = "", **options: Any) -> LaunchResult:
        bundle = bundles.write(self.folder, manifest)
        env = {"LD_LIBRARY_PATH": str(self.driver), "FAKE_CUDA": fault}
        return run_launcher(bundle, launcher=self.launcher, env=env, **options)

    def statuses(self, manifest: dict[str, Any], **options: Any) -> dict[str, set[str]]:
        """The statuses of each check's subjects."""
        found: dict[str, set[str]] = {}
        for check in self(manifest, check=False, **options).runs[0].checks:
            found.setdefault(check["name"], set()).add(check["status"])
        return found


@pytest.fixture
def run(launcher: Path, fake_driver: Path, tmp_path: Path) -> Runner:
    return Runner(launcher, fake_driver, tmp_path)


def kernel(name: str, **changes: Any) -> dict[str, Any]:
    return bundles.manifest(bundles.variant(kernel=name, **changes))


def in_place() -> dict[str, Any]:
    tensors = [bundles.tensor("x", "input", ["N", 8]), bundles.tensor("y", "output", ["N", 8], aliases="x")]
    return bundles.manifest(bundles.variant(kernel="add_one"), tensors=tensors)


def positive(name: str = "positive", size: str = "int32") -> dict[str, Any]:
    count = ["prod", "N", 8]
    tensors = [
        bundles.tensor("x", "input", ["N", 8]),
        bundles.tensor("y", "output", [["size_tensor", 1, count, count]]),
        bundles.tensor("s", "output", [], size),
    ]
    calls = [{"name": "call", "plugin": "p", "attributes": {}, "inputs": ["x"], "outputs": ["y", "s"]}]
    variant = bundles.variant(kernel=name, parameters=["ptr", "i32", "ptr", "ptr"], dtypes=["fp32", "fp32", size])
    return bundles.manifest(variant, tensors=tensors, calls=calls)


def chain() -> dict[str, Any]:
    """x -> t -> u -> y: copy, add one in place, copy."""
    tensors = [
        bundles.tensor("x", "input", ["N", 8]),
        bundles.tensor("t", "internal", ["N", 8]),
        bundles.tensor("u", "internal", ["N", 8], aliases="t"),
        bundles.tensor("y", "output", ["N", 8]),
    ]
    steps = [("a", "x", "t"), ("b", "t", "u"), ("c", "u", "y")]
    calls = [{"name": n, "plugin": "p", "attributes": {}, "inputs": [i], "outputs": [o]} for n, i, o in steps]
    variants = [bundles.variant(n, kernel=k) for n, k in (("a", "copy"), ("b", "add_one"), ("c", "copy"))]
    return bundles.manifest(*variants, tensors=tensors, calls=calls)


class TestResults:
    def test_copy(self, run: Runner) -> None:
        array = np.random.default_rng(1).normal(size=(300, 8)).astype(np.float32)
        array[0] = [np.nan, np.inf, -np.inf, -0.0, 1e-45, 0, 1, 2]
        result = run(kernel("copy"), inputs={"x": array})
        assert result.outputs["y"].tobytes() == array.tobytes()
        assert result.report["device"]["name"] == "Fake"
        statuses = {(c["name"], c["subject"]): c["status"] for c in result.runs[0].checks}
        assert statuses == {
            ("launch", "sample"): "passed",
            ("guard", "sample"): "passed",
            ("input", "x"): "passed",
            ("written", "y"): "passed",
            ("repeatable", "y"): "passed",
        }

    @pytest.mark.parametrize("byte", [0xFF, 0x00, 0xE2, 0x1D])
    def test_outputs_may_equal_any_pattern(self, run: Runner, byte: int) -> None:
        """Poison and y's guards are bytes of 0xff, 0x00, 0xe2 and 0x1d."""
        array = np.full((10, 8), byte * 0x01010101, np.uint32).view(np.float32)
        assert run(kernel("copy"), inputs={"x": array}).outputs["y"].tobytes() == array.tobytes()

    def test_in_place(self, run: Runner) -> None:
        array = np.arange(80, dtype=np.float32).reshape(10, 8)
        result = run(in_place(), inputs={"x": array})
        np.testing.assert_array_equal(result.outputs["y"], array + 1)
        assert not [check for check in result.runs[0].checks if check["name"] == "input"]

    def test_data_dependent(self, run: Runner) -> None:
        array = np.random.default_rng(2).normal(size=(50, 8)).astype(np.float32)
        result = run(positive(), inputs={"x": array})
        np.testing.assert_array_equal(result.outputs["y"], array[array > 0])
        assert result.outputs["s"] == (array > 0).sum()
        assert result.passed

    def test_chain(self, run: Runner) -> None:
        array = np.arange(80, dtype=np.float32).reshape(10, 8)
        result = run(chain(), inputs={"x": array})
        np.testing.assert_array_equal(result.outputs["y"], array + 1)
        assert [launch["call"] for launch in result.runs[0].launches] == ["a", "b", "c"]

    def test_empty(self, run: Runner) -> None:
        result = run(kernel("copy"), shapes={"x": (0, 8)}, timing=Timing(copy_baseline=True))
        assert result.outputs["y"].shape == (0, 8)
        assert "empty grid: not launched" in result.messages
        assert result.runs[0].timing == {"skipped": "every launch is empty"}

    def test_all_tactics(self, run: Runner, tmp_path: Path) -> None:
        variants = [bundles.variant(tactic=1), bundles.variant(tactic=2, kernel="store_behind")]
        result = run(bundles.manifest(*variants), tactic="all", output_dir=tmp_path / "out", check=False)
        assert [run.tactic for run in result.runs if run.failures] == [2]
        assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.npy")) == [
            "tactic_1/y.npy",
            "tactic_2/y.npy",
        ]

    def test_names_of_files(self, run: Runner, tmp_path: Path) -> None:
        name = "../a/b.c%\u00e9"
        manifest = bundles.manifest()
        manifest["tensors"][1]["name"] = manifest["calls"][0]["outputs"][0] = name
        result = run(manifest, output_dir=tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["%2E.%2Fa%2Fb.c%25%C3%A9.npy"]
        assert name in result.outputs

    def test_python_free(self, run: Runner) -> None:
        libraries = run(kernel("copy")).report["libraries"]
        assert "libcuda.so.1" in libraries
        assert not [name for name in libraries if "python" in name]


class TestFaults:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("store_behind", "guard of y: 4 bytes changed behind the tensor, the nearest 0 bytes behind its end"),
            ("store_before", "guard of y: 4 bytes changed before the tensor, the nearest 5 bytes before its start"),
            ("change_input", "input of x: the run changed 1 elements, the first at flat index 1"),
            ("read_behind", "repeatable of y: depends on memory that holds no input: 1 elements, .* index 799"),
            ("fault", r"launch of call.fault.*: the kernel failed: CUDA_ERROR_ILLEGAL_ADDRESS \(700\): a fake error"),
        ],
    )
    def test_caught(self, run: Runner, name: str, message: str) -> None:
        with pytest.raises(CheckError, match=message):
            run(kernel(name))

    def test_wrong_runs_are_not_timed(self, run: Runner) -> None:
        """As in the runner: how fast something wrong is tells nothing."""
        result = run(kernel("store_behind"), timing=Timing(iterations=2), check=False)
        assert (result.passed, result.runs[0].timing) == (False, None)
        assert run(kernel("copy"), timing=Timing(iterations=2)).runs[0].timing

    def test_wrong_grid(self, run: Runner) -> None:
        launch = {**bundles.variant()["launch"], "grid_x": ["floor_div", ["prod", "N", 8], 1024]}
        message = "written of y: never written: 352 elements, the first at flat index 2048"
        with pytest.raises(CheckError, match=message):
            run(kernel("copy", launch=launch), shapes={"x": (300, 8)})

    @pytest.mark.parametrize("extra", [["sub", ["prod", "N", 8], 1], ["prod", "N", 4]])
    def test_unwritten_tail(self, run: Runner, extra: Any) -> None:
        with pytest.raises(CheckError, match="written of y: never written"):
            run(kernel("copy", extra_args=[extra]))

    def test_missing_mask(self, run: Runner) -> None:
        with pytest.raises(CheckError, match="guard of y: 96 bytes changed behind the tensor"):
            run(kernel("copy", extra_args=[["prod", ["ceil_div", ["prod", "N", 8], 1024], 824]]))

    def test_unwritten_internal_tensor(self, run: Runner) -> None:
        manifest = chain()
        manifest["variants"][0]["extra_args"] = [1]
        with pytest.raises(CheckError, match="repeatable of t: depends on memory that holds no input"):
            run(manifest)

    def test_chance_is_no_failure(self, run: Runner) -> None:
        assert run.statuses(kernel("vary"))["repeatable"] == {"skipped"}

    @pytest.mark.parametrize("size", ["int32", "int64"])
    def test_size_out_of_range(self, run: Runner, size: str) -> None:
        manifest = positive("wrong_size", size)
        with pytest.raises(CheckError, match=r"size of y: dimension 0 is -?\d+, at most 800"):
            run(manifest)

    def test_a_fault_stops_the_next_tactics(self, run: Runner) -> None:
        variants = [bundles.variant(kernel="fault", tactic=1), bundles.variant(tactic=2)]
        result = run(bundles.manifest(*variants), tactic="all", timing=Timing(), check=False)
        assert [run.tactic for run in result.runs] == [1]
        assert (result.outputs, result.runs[0].timing) == ({}, None)

    def test_shared_memory(self, run: Runner) -> None:
        launch = {**bundles.variant()["launch"], "shared_mem": 300_000}
        with pytest.raises(CheckError, match="wants 300000 bytes of shared memory, Fake has 232448"):
            run(kernel("copy", launch=launch))
        assert run(kernel("copy", launch={**launch, "shared_mem": 200_000})).passed

    def test_tight(self, run: Runner) -> None:
        statuses = run.statuses(kernel("copy"), tight=True)
        assert {name: status for name, status in statuses.items() if status != {"passed"}} == {
            "guard": {"skipped"},
            "written": {"skipped"},
            "repeatable": {"skipped"},
        }

    @pytest.mark.parametrize(
        ("fault", "error", "message"),
        [
            ("no-device", MissingError, "the CUDA driver does not start: CUDA_ERROR_NO_DEVICE"),
            ("old-ptx", MissingError, r"the driver \(CUDA 13.0\) is older than the PTX's ISA"),
            ("bad-ptx", DefinitionError, r"copy.ptx: the driver refuses it(.|\n)*ptxas error: line 7"),
        ],
    )
    def test_driver(self, run: Runner, fault: str, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            run(kernel("copy"), fault=fault)

    def test_device_number(self, run: Runner) -> None:
        with pytest.raises(UsageError, match="no GPU number 3: the machine has 1"):
            run(kernel("copy"), device=3)


class TestTiming:
    def test_everything(self, run: Runner) -> None:
        options = Timing(warmup=1, iterations=7, repeat=5, input_sets=2, graph=True, copy_baseline=True)
        result = run(chain(), timing=options)
        timing = result.runs[0].timing
        assert timing is not None
        assert timing["bytes_moved"] == 3 * 2 * 100 * 8 * 4  # every call reads and writes 3200 bytes
        assert (timing["launches"], timing["input_sets"], timing["repeat"]) == (3, 2, 6)
        for times in [timing[of][by] for of in ("pass", "copy") for by in ("us", "graph_us")]:
            ordered = [times[key] for key in ("min", "p5", "p25", "median", "p75", "p95", "max")]
            assert ordered == sorted(ordered)
            assert ordered[0] > 0
        assert timing["copy"]["bytes_moved"] == timing["bytes_moved"]
        assert timing["ratio_to_copy"] > 0
        host = timing["host"]
        assert {*host} == {
            "launches_per_batch", "bare_ns", "launcher_ns", "launcher_ratio", "evaluating_ns", "evaluating_ratio",
            "graph_ns", "graph_ratio",
        }  # fmt: skip
        assert host["launcher_ratio"] == pytest.approx(host["launcher_ns"] / host["bare_ns"], rel=0.01)

    def test_sets_until_the_cache_is_too_small(self, run: Runner) -> None:
        """The driver reports 4 KiB of L2 cache: four of them, and one more set, for tensors of 2 x 640 bytes."""
        result = run(kernel("copy"), shapes={"x": (20, 8)}, timing=Timing(input_sets=0))
        assert result.runs[0].timing is not None
        assert result.runs[0].timing["input_sets"] == 1 + 4 * 4096 // 1280

    def test_in_place_outputs_are_those_of_the_first_pass(self, run: Runner) -> None:
        array = np.zeros((10, 8), np.float32)
        result = run(in_place(), inputs={"x": array}, timing=Timing(iterations=3))
        np.testing.assert_array_equal(result.outputs["y"], array + 1)

    def test_data_dependent_bytes(self, run: Runner) -> None:
        array = np.full((10, 8), -1, np.float32)
        array[0, :3] = 1
        result = run(positive(), inputs={"x": array}, timing=Timing(iterations=2))
        assert result.runs[0].timing is not None
        assert result.runs[0].timing["bytes_moved"] == 320 + 3 * 4 + 4
