# SPDX-License-Identifier: Apache-2.0
"""The launcher without a GPU: building it, evaluating bundles, refusing wrong ones, reading and writing arrays."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import launcher_bundles as bundles
import ml_dtypes
import numpy as np
import pytest

from aotfactory.core import expressions
from aotfactory.core.errors import CheckError, DefinitionError, MissingError, UsageError
from aotfactory.executors.native import cmake
from aotfactory.executors.native.launcher import LaunchResult, build_launcher, run_launcher
from aotfactory.executors.native.process import run_command

pytestmark = pytest.mark.launcher

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def launcher() -> Path:
    return build_launcher()


def dry_run(launcher: Path, bundle: Path, **options: Any) -> LaunchResult:
    return run_launcher(bundle, launcher=launcher, dry_run=True, **options)


class TestBuild:
    @pytest.fixture(autouse=True)
    def _no_ready_made_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AOTFACTORY_LAUNCHER", raising=False)

    @pytest.mark.slow
    def test_fresh_cache(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        program = build_launcher(cache=tmp_path)
        assert program.is_relative_to(tmp_path)
        assert [path.name for path in (tmp_path / "launcher").iterdir()] == [program.parent.parent.name]
        talk = capfd.readouterr()
        assert "+ " in talk.err
        assert "cmake -S" in talk.err
        assert "once only, about a minute" in talk.err
        assert talk.out == ""
        assert build_launcher(cache=tmp_path) == program
        assert capfd.readouterr().err == ""

    def test_a_changed_source_is_built_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = cmake.cache_key("c++")
        sources = shutil.copytree(cmake.SOURCES, tmp_path / "runtime")
        monkeypatch.setattr(cmake, "SOURCES", sources)
        assert cmake.cache_key("c++") == before
        (sources / "common" / "error.h").write_text("// changed")
        assert cmake.cache_key("c++") != before

    def test_no_cmake(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(MissingError, match=r"cmake is needed(.|\n)*apt-get install g\+\+ cmake"):
            build_launcher(cache=tmp_path)

    def test_no_headers(self, tmp_path: Path) -> None:
        nowhere = ["-DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON", "-Dnlohmann_json_INCLUDE_DIR=nlohmann-NOTFOUND"]
        hide = ["-DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY", f"-DCMAKE_FIND_ROOT_PATH={tmp_path}"]
        with pytest.raises(MissingError, match=r"could not be configured(.|\n)*nlohmann-json3-dev"):
            build_launcher(cache=tmp_path, options=nowhere + hide)
        assert list((tmp_path / "launcher").iterdir()) == []

    def test_plain_include_directory(self, tmp_path: Path) -> None:
        """Headers without their CMake packages, as unpacked by hand."""
        for package in ("nlohmann", "CLI"):
            (tmp_path / package).symlink_to(f"/usr/include/{package}")
        options = [f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON" for name in ("nlohmann_json", "CLI11")]
        build = subprocess.run(
            ["cmake", "-S", cmake.SOURCES, "-B", tmp_path / "build", *options],
            env={**os.environ, "CMAKE_INCLUDE_PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert build.returncode == 0, build.stderr
        cache = (tmp_path / "build" / "CMakeCache.txt").read_text()
        assert f"CLI11_INCLUDE_DIR:PATH={tmp_path}" in cache

    def test_ready_made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: Path) -> None:
        monkeypatch.setenv("AOTFACTORY_LAUNCHER", str(launcher))
        monkeypatch.setenv("PATH", "")
        assert build_launcher(cache=tmp_path) == launcher
        monkeypatch.setenv("AOTFACTORY_LAUNCHER", str(tmp_path))
        with pytest.raises(MissingError, match="is not an executable"):
            build_launcher()

    def test_time_limit_ends_the_whole_group(self) -> None:
        with pytest.raises(CheckError, match=r"stopped after 0\.2 s"):
            run_command(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.2)


class TestEvaluation:
    def test_shapes_launch_and_arguments(self, launcher: Path, tmp_path: Path) -> None:
        bundle = bundles.write(tmp_path, bundles.manifest())
        result = dry_run(launcher, bundle, shapes={"x": (300, 8)})
        (launch,) = result.runs[0].launches
        assert (launch["grid"], launch["block"], launch["extra_args"]) == ([3, 1, 1], [1024, 1, 1], [2400])
        assert [(t["shape"], t["bytes"]) for t in result.report["tensors"]] == [([300, 8], 9600)] * 2
        assert not launch["skipped"]

    @pytest.mark.parametrize(("at", "rows"), [("min", 0), ("opt", 100), ("max", 4096)])
    def test_profile_point(self, launcher: Path, tmp_path: Path, at: Any, rows: int) -> None:
        result = dry_run(launcher, bundles.write(tmp_path, bundles.manifest()), at=at)
        assert result.report["symbols"] == {"N": rows}
        assert result.runs[0].launches[0]["skipped"] == (rows == 0)

    def test_expressions_agree_with_python(self, launcher: Path, tmp_path: Path) -> None:
        """Random trees of all nine operations, negative values and inexact divisions included, as extra arguments."""
        rng = random.Random(7)
        symbols = {"N": 5, "M": 0, "K": 4093}
        kept: list[tuple[Any, int]] = []

        def value_of(tree: Any) -> int:
            """The value; an error if it, or one on the way to it, is undefined or outside int64."""
            for operand in tree[1:] if isinstance(tree, list) else []:
                value_of(operand)
            value = expressions.from_json(tree).evaluate(symbols)
            if not -(2**63) <= value < 2**63:
                raise DefinitionError("outside int64")
            return value

        def tree(depth: int) -> Any:
            if depth == 0 or rng.random() < 0.2:
                return rng.choice([*symbols, rng.randint(-9, 9), rng.randint(-(2**40), 2**40)])
            return [rng.choice(list(expressions.Op)).value, tree(depth - 1), tree(depth - 1)]

        while len(kept) < 3000:
            expression = tree(rng.randint(1, 6))
            try:
                value = value_of(expression)
            except DefinitionError:
                continue
            if -(2**31) <= value < 2**31:
                kept.append((expression, value))
        parameters = ["ptr", *["i32"] * len(kept), "ptr"]
        variant = bundles.variant(parameters=parameters, extra_args=[json_form for json_form, _ in kept])
        ranges = {name: {"min": 0, "opt": value, "max": 4096} for name, value in symbols.items()}
        tensors = [bundles.tensor("x", "input", ["N", "M", "K"]), bundles.tensor("y", "output", [1])]
        content = bundles.manifest(variant, symbols=ranges, tensors=tensors)
        result = dry_run(launcher, bundles.write(tmp_path, content))
        values = [value for _, value in kept]
        assert len({json.dumps(json_form) for json_form, _ in kept}) > 1000
        assert min(values) < 0 < max(values)
        assert result.runs[0].launches[0]["extra_args"] == values

    def test_architecture(self, launcher: Path, tmp_path: Path) -> None:
        targets = {"sm_75": "sm_75", "portable": "sm_80", "sm_90": "sm_90a", "sm_72": "sm_72"}
        variants = [bundles.variant(arch=arch, ptx_target=target) for arch, target in targets.items()]
        for tactic, variant in enumerate(variants, 1):
            variant["tactic"] = tactic
        bundle = bundles.write(tmp_path, bundles.manifest(*variants))
        wanted = {"sm_90": "sm_90", "sm_80": "portable", "sm_86": "portable", "sm_100": "portable", "sm_75": "sm_75"}
        for arch, expected in wanted.items():
            runs = dry_run(launcher, bundle, arch=arch, tactic="all").runs
            assert [run.launches[0]["arch"] for run in runs] == [expected]
        with pytest.raises(MissingError, match="no variant of call 'call' for sm_70"):
            dry_run(launcher, bundle, arch="sm_70")

    def test_tactics(self, launcher: Path, tmp_path: Path) -> None:
        variants = [bundles.variant(tactic=tactic) for tactic in (4, 2)]
        bundle = bundles.write(tmp_path, bundles.manifest(*variants))
        assert [run.tactic for run in dry_run(launcher, bundle).runs] == [4]
        assert [run.tactic for run in dry_run(launcher, bundle, tactic=2).runs] == [2]
        assert [run.tactic for run in dry_run(launcher, bundle, tactic="all").runs] == [4, 2]
        with pytest.raises(UsageError, match="no call has the tactic 3"):
            dry_run(launcher, bundle, tactic=3)

    def test_variants_of_other_types_and_formats_are_passed_over(self, launcher: Path, tmp_path: Path) -> None:
        others = {"dtypes": ["fp16", "fp16"], "tactic": 1}, {"formats": ["linear", "hwc"], "tactic": 2}
        variants = [bundles.variant(**other) for other in others] + [bundles.variant(tactic=3)]
        bundle = bundles.write(tmp_path, bundles.manifest(*variants))
        assert [run.tactic for run in dry_run(launcher, bundle, tactic="all").runs] == [3]

    @pytest.mark.parametrize(
        ("shapes", "message"),
        [
            ({"x": (5, 7)}, r"'x' must have shape \(5, 8\), not \(5, 7\)"),
            ({"x": (5,)}, "has 2 dimensions"),
            ({"x": (5000, 8)}, "N = 5000 of input 'x' is not within the profile's 0 to 4096"),
            ({"z": (5, 8)}, "no input 'z'"),
            ({"y": (5, 8)}, "no input 'y'"),
        ],
    )
    def test_wrong_shapes(self, launcher: Path, tmp_path: Path, shapes: Any, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            dry_run(launcher, bundles.write(tmp_path, bundles.manifest()), shapes=shapes)

    def test_a_symbol_in_two_inputs_is_one_dimension(self, launcher: Path, tmp_path: Path) -> None:
        inputs = [bundles.tensor(name, "input", ["N", 8]) for name in ("x", "z")]
        tensors = [*inputs, bundles.tensor("y", "output", [1])]
        call = {"name": "call", "plugin": "p", "attributes": {}, "inputs": ["x", "z"], "outputs": ["y"]}
        variant = bundles.variant(parameters=["ptr", "ptr", "i32", "ptr"])
        bundle = bundles.write(tmp_path, bundles.manifest(variant, tensors=tensors, calls=[call]))
        with pytest.raises(UsageError, match="N is 3 in one input and 4 in 'z'"):
            dry_run(launcher, bundle, shapes={"x": (3, 8), "z": (4, 8)})
        assert dry_run(launcher, bundle, shapes={"x": (3, 8)}).report["tensors"][1]["shape"] == [3, 8]

    def test_outside_the_profile_on_request(self, launcher: Path, tmp_path: Path) -> None:
        bundle = bundles.write(tmp_path, bundles.manifest())
        result = dry_run(launcher, bundle, shapes={"x": (5000, 8)}, unchecked_profile=True)
        assert result.report["symbols"] == {"N": 5000}
        with pytest.raises(DefinitionError, match="extra argument 4000000000 does not fit an int32"):
            dry_run(launcher, bundle, shapes={"x": (500_000_000, 8)}, unchecked_profile=True)


DTYPES: dict[str, Any] = {
    "fp32": np.float32,
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "fp8": ml_dtypes.float8_e4m3fn,
    "int8": np.int8,
    "uint8": np.uint8,
    "int32": np.int32,
    "int64": np.int64,
    "bool": np.bool_,
}


def expected_random(dtype: str, seed: int, count: int, indices: int) -> np.ndarray[Any, Any]:
    """random.h's rule, written again."""
    state, outputs = seed, []
    mask = 2**64 - 1

    def step(state: int) -> tuple[int, int]:
        state = z = (state + 0x9E3779B97F4A7C15) & mask
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
        return state, z ^ z >> 31

    _, state = step(state)
    for _ in range(count):
        state, value = step(state)
        outputs.append(value)
    significand = {"fp32": 24, "fp16": 11, "bf16": 8, "fp8": 4}.get(dtype)
    if significand:
        numbers: list[float] = [(u >> (64 - significand)) / 2 ** (significand - 1) - 1 for u in outputs]
    else:
        rules = {"bool": lambda u: u >> 63, "uint8": lambda u: u >> 60, "int8": lambda u: (u >> 60) - 8}
        numbers = [rules.get(dtype, lambda u: (u >> 60) % indices)(u) for u in outputs]
    return np.array(numbers).astype(DTYPES[dtype])


class TestArrays:
    @staticmethod
    def bundle(path: Path, dtype: str) -> Path:
        tensors = [bundles.tensor("x", "input", ["N", 8], dtype), bundles.tensor("y", "output", ["N", 8], dtype)]
        return bundles.write(path, bundles.manifest(bundles.variant(dtypes=[dtype, dtype]), tensors=tensors))

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_random_data(self, launcher: Path, tmp_path: Path, dtype: str) -> None:
        result = dry_run(launcher, self.bundle(tmp_path, dtype), shapes={"x": (500, 8)}, seed=9, save_inputs=True)
        data = result.inputs["x"]
        assert data.dtype == DTYPES[dtype]
        assert data.shape == (500, 8)
        # The least extent is 8: an integer of 32 or 64 bits may be an index of any dimension.
        np.testing.assert_array_equal(data.ravel(), expected_random(dtype, 9, 4000, indices=8))

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_round_trip(self, launcher: Path, tmp_path: Path, dtype: str) -> None:
        array = np.random.default_rng(1).integers(0, 2, (6, 8)).astype(DTYPES[dtype])
        result = dry_run(
            launcher, self.bundle(tmp_path / "b", dtype), inputs={"x": array}, save_inputs=True, output_dir=tmp_path
        )
        assert (tmp_path / "x.npy").stat().st_size == 128 + array.nbytes  # NumPy aligns the data to 64 bytes
        assert result.report["symbols"] == {"N": 6}
        assert result.inputs["x"].tobytes() == array.tobytes()

    @pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
    def test_versions(self, launcher: Path, tmp_path: Path, version: tuple[int, int]) -> None:
        array = np.arange(16, dtype=np.float32).reshape(2, 8)
        with (tmp_path / "x.npy").open("wb") as file:
            np.lib.format.write_array(file, array, version=version)
        bundle = self.bundle(tmp_path / "bundle", "fp32")
        result = dry_run(launcher, bundle, inputs={"x": tmp_path / "x.npy"}, save_inputs=True)
        np.testing.assert_array_equal(result.inputs["x"], array)

    @pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 4), (2, 3, 4)])
    def test_ranks(self, launcher: Path, tmp_path: Path, shape: tuple[int, ...]) -> None:
        tensors = [bundles.tensor("x", "input", list(shape)), bundles.tensor("y", "output", [1])]
        variant = bundles.variant(extra_args=[0], launch={**bundles.variant()["launch"], "grid_x": 1})
        bundle = bundles.write(tmp_path, bundles.manifest(variant, tensors=tensors, symbols={}))
        array = np.random.default_rng(1).random(shape).astype(np.float32)
        result = dry_run(launcher, bundle, inputs={"x": array}, shapes={}, save_inputs=True)
        np.testing.assert_array_equal(result.inputs["x"], array)
        assert dry_run(launcher, bundle, shapes={"x": shape}).passed

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.zeros((2, 8)), "NumPy type '<f8', the input is fp32"),
            (np.zeros((2, 8), ">f4"), "'>f4'"),
            (np.zeros((8, 2), np.float32).T, "Fortran order"),
            (np.zeros((2, 9), np.float32), "must have shape"),
            (np.zeros((2, 8), [("a", "<f4")]), "not the header of a plain NumPy array"),
        ],
    )
    def test_wrong_arrays(self, launcher: Path, tmp_path: Path, array: Any, message: str) -> None:
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(UsageError, match=message):
            dry_run(launcher, self.bundle(tmp_path / "bundle", "fp32"), inputs={"x": tmp_path / "x.npy"})

    @pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw + b"0", lambda raw: raw[:70]])
    def test_damaged_files(self, launcher: Path, tmp_path: Path, change: Any) -> None:
        np.save(tmp_path / "x.npy", np.zeros((2, 8), np.float32))
        (tmp_path / "x.npy").write_bytes(change((tmp_path / "x.npy").read_bytes()))
        with pytest.raises(UsageError, match="cut off"):
            dry_run(launcher, self.bundle(tmp_path / "bundle", "fp32"), inputs={"x": tmp_path / "x.npy"})

    def test_missing_file(self, launcher: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"no\.npy: No such file"):
            dry_run(launcher, self.bundle(tmp_path, "fp32"), inputs={"x": tmp_path / "no.npy"})

    def test_what_is_no_file(self, launcher: Path, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")  # must not wait for a writer
        bundle = self.bundle(tmp_path / "bundle", "fp32")
        for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
            with pytest.raises(UsageError, match="not a regular file"):
                dry_run(launcher, bundle, inputs={"x": path})


class TestProgram:
    def test_one_json_object_and_no_python(self, launcher: Path, tmp_path: Path) -> None:
        bundle = bundles.write(tmp_path, bundles.manifest())
        done = subprocess.run([launcher, bundle, "--dry-run"], env={}, capture_output=True, text=True, check=True)
        report = json.loads(done.stdout)
        assert (report["schema"], report["status"]) == ("aotfactory.launch/1", "passed")
        assert "libc.so.6" in report["libraries"]
        assert not [name for name in report["libraries"] if "python" in name or "nvinfer" in name or "cuda" in name]

    def test_without_a_driver(self, launcher: Path, tmp_path: Path) -> None:
        """Whatever this machine has: an empty library of that name comes first on the search path."""
        (tmp_path / "libcuda.so.1").write_bytes(b"")
        bundle = bundles.write(tmp_path / "bundle", bundles.manifest())
        env = {"LD_LIBRARY_PATH": str(tmp_path)}
        done = subprocess.run([launcher, bundle], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert "error: no CUDA driver on this machine" in done.stderr
        assert json.loads(done.stdout)["exit_code"] == 3

    @pytest.mark.parametrize(
        "arguments",
        [[], ["--no-such"], ["B", "--tactic", "two"], ["B", "--input", "x"], ["B", "--shape", "x=1y2"],
         ["B", "--shape", "x=1x-2"], ["B", "--shape", "x=9999999999"], ["B", "--shape", "x=1", "--shape", "x=2"],
         ["B", "--iterations", "0"], ["B", "--save-inputs"], ["B", "--at", "middle"], ["B", "--device", "-1", "C"]],
    )  # fmt: skip
    def test_usage(self, launcher: Path, tmp_path: Path, arguments: list[str]) -> None:
        bundle = bundles.write(tmp_path, bundles.manifest())
        given = [str(bundle) if text == "B" else text for text in arguments]
        done = subprocess.run([launcher, *given], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert json.loads(done.stdout)["status"] == "error"

    @pytest.mark.parametrize("name", ["x=1", "x", "a=b=c"])
    def test_equals_signs_in_names_and_files(self, launcher: Path, tmp_path: Path, name: str) -> None:
        """The longest name that there is counts: `x=1=f.npy` is input `x=1` of one bundle, `x` of another."""
        content = bundles.manifest()
        content["tensors"][0]["name"] = content["calls"][0]["inputs"][0] = name
        bundle = bundles.write(tmp_path / "bundle", content)
        assert dry_run(launcher, bundle, shapes={name: (4, 8)}).report["symbols"] == {"N": 4}
        file = tmp_path / "1=f.npy"
        np.save(file, np.zeros((3, 8), np.float32))
        assert dry_run(launcher, bundle, inputs={name: file}).report["symbols"] == {"N": 3}
        with pytest.raises(UsageError, match=f"no input 'z'; the inputs are '{name}'"):
            dry_run(launcher, bundle, shapes={"z": (4, 8)})

    def test_paths_that_are_no_text(self, launcher: Path) -> None:
        done = subprocess.run([launcher, b"/no/\xff\n"], capture_output=True, check=False)
        assert done.returncode == 2
        assert json.loads(done.stdout)["error"].startswith(r"'/no/\xff\x0a' is not a bundle")

    def test_a_crash_is_reported(self, tmp_path: Path) -> None:
        program = tmp_path / "crash"
        program.write_text("#!/bin/sh\nkill -SEGV $$\n")
        program.chmod(0o755)
        with pytest.raises(CheckError, match="died of SIGSEGV"):
            run_launcher(tmp_path, launcher=program)

    def test_digest(self, launcher: Path, tmp_path: Path) -> None:
        """Lengths around SHA-256's padding: a wrong digest would be refused."""
        for extra in range(200):
            text = bundles.entry("copy", ["ptr", "i32", "ptr"]) + "/" * extra
            assert bundles.variant(ptx=text)["sha256"] == hashlib.sha256(text.encode()).hexdigest()
            content = bundles.manifest(*[bundles.variant(ptx=text, id=str(extra))])
            bundles.write(tmp_path, content)
            subprocess.run([launcher, tmp_path, "--dry-run"], capture_output=True, check=True)


def compiler_include() -> Path | None:
    """A folder with cuda.h: a toolkit's, or that of the triton wheel."""
    import triton

    candidates = [Path("/usr/local/cuda/include"), Path(triton.__file__).parent / "backends" / "nvidia" / "include"]
    return next((path for path in candidates if (path / "cuda.h").is_file()), None)


def test_declarations_of_the_driver_api() -> None:
    include = compiler_include()
    if include is None:
        pytest.skip("no cuda.h on this machine")
    check = ROOT / "tests" / "cpp" / "cuda_api_check.cpp"
    command = ["c++", "-std=c++17", "-fsyntax-only", "-I", cmake.SOURCES, "-isystem", include, check]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_fuzz(tmp_path: Path) -> None:
    """10,000 damaged bundles under AddressSanitizer and UndefinedBehaviorSanitizer."""
    subprocess.run(["cmake", "-S", ROOT / "tests" / "fuzz", "-B", tmp_path], check=True)
    subprocess.run(["cmake", "--build", tmp_path, "--parallel", "--target", "bundle_fuzzer"], check=True)
    done = subprocess.run([tmp_path / "bundle_fuzzer", "--cases", "10000"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout)
    assert counts["cases"] == 10000 == counts["accepted"] + counts["rejected"]
    assert counts["accepted"] > 500
    assert counts["rejected"] > 5000
