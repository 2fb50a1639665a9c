# SPDX-License-Identifier: Apache-2.0
"""The commands that run an artifact, as a user calls them."""

import json

import launcher_bundles
import numpy as np
import pytest

import aotfactory
from aotfactory.core import cuda

HAS_GPU = cuda.cuda_device_count() > 0
without_gpu = pytest.mark.skipif(HAS_GPU, reason="there is a GPU")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    out = tmp_path_factory.mktemp("engines")
    made = aotfactory.compile("circ_pad", shape="1x2x5x7", arch="portable", check_time=0.1, out=out)
    assert not made.failed
    return made.path


@pytest.mark.launcher
def test_dry_run_evaluates_without_a_gpu(run, bundle):
    done = run("run", str(bundle), "--dry-run", "--format", "json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["schema"] == "aotfactory.launch/1"
    assert report["runs"][0]["launches"][0]["grid"] == [1, 1, 1]
    text = run("run", str(bundle), "--dry-run", "--tactic", "2")
    assert "circ_pad.portable.fp32-fp32.t2: grid 1 x 1 x 1" in text.out


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
def test_a_machine_without_a_driver_is_told_so(run, bundle, command):
    done = run(command, str(bundle))
    assert done.code == 3
    assert "error: no CUDA driver on this machine" in done.err
    assert done.out == ""


def test_validate_prints_every_check(run, bundle):
    done = run("validate", str(bundle), "--executor", "interpreter", "--check-time", "0.1", "--format", "json")
    assert done.code == 0, done.err
    checks = json.loads(done.out)["checks"]
    assert {c["name"] for c in checks} == {"interpreter"}
    assert {c["status"] for c in checks} == {"passed"}
    text = run("validate", str(bundle), "--executor", "interpreter", "--check-time", "0.1")
    assert "interpreter circ_pad.portable.fp32-fp32" in text.out


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
def test_wrong_usage_exits_with_2(run, bundle, arguments, message):
    done = run(*(str(bundle) if a == "BUNDLE" else a for a in arguments))
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.launcher
def test_an_input_of_the_wrong_type_is_refused(run, bundle, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 2, 5, 7)))
    done = run("run", str(bundle), "--input", f"x={tmp_path / 'x.npy'}", "--dry-run")
    assert done.code == 2
    assert "fp32" in done.err


@pytest.mark.gpu
@pytest.mark.launcher
def test_run_writes_what_numpy_expects(run, bundle, tmp_path):
    x = np.arange(70, dtype=np.float32).reshape(1, 2, 5, 7)
    np.save(tmp_path / "x.npy", x)
    done = run("run", str(bundle), "--input", f"x={tmp_path / 'x.npy'}", "--output-dir", str(tmp_path / "out"))
    assert done.code == 0, done.err
    expected = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="wrap")
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "y.npy"), expected)


@pytest.mark.gpu
@pytest.mark.launcher
def test_validate_and_bench_on_a_gpu(run, bundle):
    done = run("validate", str(bundle), "--format", "json")
    assert done.code == 0, done.err
    checks = json.loads(done.out)["checks"]
    assert {c["name"] for c in checks} == {"interpreter", "launcher", "python-free"}
    assert {c["status"] for c in checks} == {"passed"}
    report = json.loads(run("bench", str(bundle), "--format", "json", "--iterations", "5").out)
    assert all(run["timing"]["ratio_to_copy"] > 0 for run in report["runs"])
