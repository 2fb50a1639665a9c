# SPDX-License-Identifier: Apache-2.0
"""The commands that run an artifact, as a user calls them."""

import json
import subprocess
import sys

import launcher_bundles
import numpy as np
import pytest

from aotfactory.core import cuda

HAS_GPU = cuda.cuda_device_count() > 0
without_gpu = pytest.mark.skipif(HAS_GPU, reason="there is a GPU")


def _run(*arguments):
    command = [sys.executable, "-c", "from aotfactory.cli.main import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    out = tmp_path_factory.mktemp("engines")
    done = _run("compile", "circ_pad", "--shape", "1x2x5x7", "--arch", "portable", "--check-time", "0.1", "--out", out)
    assert done.returncode == 0, done.stderr
    return out / "circ_pad.aot"


@pytest.mark.launcher
def test_dry_run_evaluates_without_a_gpu(bundle):
    done = _run("run", bundle, "--dry-run", "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == "aotfactory.launch/1"
    assert report["runs"][0]["launches"][0]["grid"] == [1, 1, 1]
    text = _run("run", bundle, "--dry-run", "--tactic", "2")
    assert "circ_pad.portable.fp32-fp32.t2: grid 1 x 1 x 1" in text.stdout


@pytest.mark.launcher
def test_json_names_the_files_that_are_kept(tmp_path, fake_driver, monkeypatch, run):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(fake_driver))
    copy = launcher_bundles.variant()
    named = {**copy, "ptx": f"{copy['id']}.{copy['sha256'][:8]}.ptx"}
    bundle = launcher_bundles.write(tmp_path / "sample.aot", launcher_bundles.manifest(named))
    kept = tmp_path / "outputs"
    for options, file in (((), None), (("--output-dir", str(kept)), str(kept / "y.npy"))):
        done = run("run", str(bundle), "--format", "json", *options)
        assert done.code == 0, done.err
        (output,) = json.loads(done.out)["runs"][0]["outputs"]
        assert (output["name"], output["shape"], output["file"]) == ("y", [100, 8], file)
    assert np.load(kept / "y.npy").shape == (100, 8)
    assert "y: float32 100x8" in run("run", str(bundle)).out


@pytest.mark.launcher
@without_gpu
@pytest.mark.parametrize("command", ["run", "bench"])
def test_a_machine_without_a_driver_is_told_so(bundle, command):
    done = _run(command, bundle)
    assert done.returncode == 3
    assert "error: no CUDA driver on this machine" in done.stderr
    assert done.stdout == ""


def test_validate_prints_every_check(bundle):
    done = _run("validate", bundle, "--executor", "interpreter", "--check-time", "0.1", "--format", "json")
    assert done.returncode == 0, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert {c["name"] for c in checks} == {"interpreter"}
    assert {c["status"] for c in checks} == {"passed"}
    text = _run("validate", bundle, "--executor", "interpreter", "--check-time", "0.1")
    assert "interpreter circ_pad.portable.fp32-fp32.t1: ok" in text.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.aot"], "nowhere.aot is not a bundle"),
        (["bench", "nowhere.aot"], "nowhere.aot is not a bundle"),
        (["run", "BUNDLE", "--input", "x.npy"], "does not say which input"),
        (["run", "BUNDLE", "--shape", "1;2"], "'1;2' is not a shape"),
        (["validate", "nowhere.aot"], "nowhere.aot is not a bundle"),
        (["validate", "BUNDLE", "--executor", "abacus"], "abacus"),
        (["bench", "BUNDLE", "--iterations", "0"], "iterations"),
    ],
)
def test_wrong_usage_exits_with_2(bundle, arguments, message):
    done = _run(*(str(bundle) if a == "BUNDLE" else a for a in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.launcher
def test_an_input_of_the_wrong_type_is_refused(bundle, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 2, 5, 7)))
    done = _run("run", bundle, "--input", f"x={tmp_path / 'x.npy'}", "--dry-run")
    assert done.returncode == 2
    assert "fp32" in done.stderr


@pytest.mark.gpu
@pytest.mark.launcher
def test_run_writes_what_numpy_expects(bundle, tmp_path):
    x = np.arange(70, dtype=np.float32).reshape(1, 2, 5, 7)
    np.save(tmp_path / "x.npy", x)
    done = _run("run", bundle, "--input", f"x={tmp_path / 'x.npy'}", "--output-dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    expected = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="wrap")
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "y.npy"), expected)


@pytest.mark.gpu
@pytest.mark.launcher
def test_validate_and_bench_on_a_gpu(bundle):
    done = _run("validate", bundle, "--format", "json")
    assert done.returncode == 0, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert {c["name"] for c in checks} == {"interpreter", "launcher", "python-free"}
    assert {c["status"] for c in checks} == {"passed"}
    report = json.loads(_run("bench", bundle, "--format", "json", "--iterations", "5").stdout)
    assert all(run["timing"]["ratio_to_copy"] > 0 for run in report["runs"])
