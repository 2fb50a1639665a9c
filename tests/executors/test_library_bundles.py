# SPDX-License-Identifier: Apache-2.0
"""Bundles for plugin libraries: several kernels, workspaces, int64 and fp32 arguments, clusters at launch.

The launcher runs them on the tests' own driver, and answers as Python does, to damaged ones too.
"""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import launcher_bundles as hand
import numpy as np
import pytest

from aotfactory.compiler import bundle as bundles
from aotfactory.core.arguments import Quotient, from_json
from aotfactory.core.errors import DefinitionError
from aotfactory.executors.native.launcher import build_launcher

pytestmark = pytest.mark.launcher

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def launcher() -> Path:
    return build_launcher()


def launch(launcher: Path, bundle: Path, *options: str, driver: Path | None = None) -> tuple[int, dict[str, Any], str]:
    env = {"LD_LIBRARY_PATH": str(driver)} if driver else {}
    command = [launcher, bundle, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr


def test_both_kernels_run(launcher: Path, fake_driver: Path, tmp_path: Path) -> None:
    path = hand.write(tmp_path / "sample.aot", hand.own_names(hand.in_a_row()))
    array = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", array)
    options = ("--input", f"x={tmp_path / 'x.npy'}", "--output-dir", str(tmp_path / "out"), "--timing")
    code, report, said = launch(launcher, path, *options, driver=fake_driver)
    assert code == 0, (report, said)
    (run,) = report["runs"]
    assert [c for c in run["checks"] if c["status"] != "passed"] == []
    assert [launched["kernel"] for launched in run["launches"]] == ["sums", "minus_mean"]
    assert [launched["workspaces"] for launched in run["launches"]] == [[200], [200]]
    assert run["launches"][1]["extra_args"] == [400, 0.125]
    assert run["timing"]["launches"] == 2
    expected = array - array.sum(1, keepdims=True, dtype=np.float32) / 8
    np.testing.assert_allclose(np.load(tmp_path / "out" / "y.npy"), expected, rtol=1e-5, atol=1e-6)


def test_a_kernel_that_reads_what_none_wrote(launcher: Path, fake_driver: Path, tmp_path: Path) -> None:
    """The workspace is poisoned: without the first kernel the second one's results depend on it."""
    content = hand.in_a_row()
    (variant,) = content["variants"]
    nothing = {"kernel": "nothing", "text": hand.entry("nothing", variant["parameters"])}
    variant |= {**nothing, **hand.digest(nothing["text"])}
    path = hand.write(tmp_path / "sample.aot", hand.own_names(content))
    code, report, said = launch(launcher, path, driver=fake_driver)
    assert code == 1, said
    failed = [c for c in report["runs"][0]["checks"] if c["status"] == "failed"]
    assert [c["name"] for c in failed] == ["repeatable"]


def test_a_store_behind_the_workspace(launcher: Path, fake_driver: Path, tmp_path: Path) -> None:
    content = hand.in_a_row()
    (variant,) = content["variants"]
    parameters = ["ptr", "i32", "ptr", "ptr"]
    variant["then"] += [hand.later("behind_workspace", parameters, [["prod", "N", 8]])]
    path = hand.write(tmp_path / "sample.aot", hand.own_names(content))
    code, report, _ = launch(launcher, path, driver=fake_driver)
    assert code == 1
    failed = [(c["name"], c["subject"]) for c in report["runs"][0]["checks"] if c["status"] == "failed"]
    assert failed == [("guard", "workspace 0")]


@pytest.mark.parametrize("rows", [2, 8])
def test_a_cluster_that_the_launch_states(rows: int, launcher: Path, fake_driver: Path, tmp_path: Path) -> None:
    """Of more than 8 blocks, after the driver was asked to allow it."""
    launched = hand.launch(grid_x=4, grid_y=8)
    variant = hand.variant(kernel="cluster_of", cluster_at_launch=[2, rows, 1], launch=launched)
    path = hand.write(tmp_path / "sample.aot", hand.own_names(hand.manifest(variant, road="library")))
    code, _, said = launch(launcher, path, "--output-dir", str(tmp_path / "out"), driver=fake_driver)
    assert code == 0, said
    assert (np.load(tmp_path / "out" / "y.npy") == 2 * rows).all()


@pytest.mark.parametrize("stated", ["cluster", "cluster_at_launch"])
@pytest.mark.parametrize("road", ["library", None])
def test_a_cluster_of_sixteen_takes_a_library(stated: str, road: str | None, launcher: Path, tmp_path: Path) -> None:
    variant = hand.variant(launch=hand.launch(grid_x=16), **{stated: [16, 1, 1]})
    content = hand.manifest(variant, road=road) if road else hand.manifest(variant)
    path = hand.write(tmp_path / "sample.aot", hand.own_names(content))
    code, _, said = launch(launcher, path, "--dry-run")
    assert code == (0 if road else 5), said
    if road:
        assert bundles.read(path).variants[0].needs_library
    else:
        with pytest.raises(DefinitionError, match="needs a plugin library"):
            bundles.read(path)


@pytest.mark.parametrize("n", [1, 3, 7, 4093, 4096])
def test_arguments_are_the_same_in_both_languages(n: int, launcher: Path, tmp_path: Path) -> None:
    wide = ["prod", ["prod", "N", 2**38], "N"]
    quotients = [["quotient", "N", 3], ["quotient", ["prod", "N", 2**50], 7], ["quotient", 1, ["prod", "N", 2**50]]]
    parameters = ["ptr", "i64", "fp32", "fp32", "fp32", "ptr", "ptr"]
    content = hand.in_a_row(then=[hand.later("minus_mean", parameters, [wide, *quotients])])
    path = hand.write(tmp_path / "sample.aot", hand.own_names(content))
    code, report, said = launch(launcher, path, "--dry-run", "--shape", f"x={n}x8")
    assert code == 0, said
    values = [argument.evaluate({"N": n}) for argument in bundles.read(path).variants[0].then[0].extra_args]
    assert report["runs"][0]["launches"][1]["extra_args"] == values


def then(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["variants"][0]["then"][0]
    return found


def variant_of(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["variants"][0]
    return found


DAMAGED: dict[str, Change] = {
    "no road": lambda c: c.pop("road"),
    "another road": lambda c: c.update(road="aot"),
    "a workspace too many": lambda c: variant_of(c)["workspaces"].append({"bytes": 4, "at_most": 4}),
    "no workspace": lambda c: variant_of(c).pop("workspaces"),
    "a workspace without a bound": lambda c: variant_of(c)["workspaces"][0].pop("at_most"),
    "a negative bound": lambda c: variant_of(c)["workspaces"][0].update(at_most=-1),
    "a workspace of an unknown symbol": lambda c: variant_of(c)["workspaces"][0].update(bytes="M"),
    "seventeen workspaces": lambda c: variant_of(c).update(workspaces=[{"bytes": 4, "at_most": 4}] * 17),
    "a quotient for an int64": lambda c: then(c).update(parameters=["ptr", "fp32", "fp32", "ptr", "ptr"]),
    "an expression for an fp32": lambda c: then(c)["extra_args"].__setitem__(1, "N"),
    "a quotient of three": lambda c: then(c)["extra_args"].__setitem__(1, ["quotient", "N", 1, 2]),
    "a quotient in a quotient": lambda c: then(c)["extra_args"].__setitem__(1, ["quotient", ["quotient", 1, 2], 2]),
    "a quotient as a grid": lambda c: then(c)["launch"].update(grid_x=["quotient", "N", 1]),
    "an unknown type": lambda c: then(c).update(parameters=["ptr", "i64", "fp64", "ptr", "ptr"]),
    "a parameter that is not passed": lambda c: then(c)["parameters"].append("ptr"),
    "a later kernel without a hash": lambda c: then(c).pop("sha256"),
    "a later kernel of other PTX": lambda c: then(c).update(sha256="0" * 64),
    "a later kernel elsewhere": lambda c: then(c).update(ptx="../sums.ptx"),
    "a later kernel that is not in the PTX": lambda c: then(c).update(kernel="other"),
    "sixteen later kernels": lambda c: variant_of(c).update(then=[then(c)] * 16),
    "later kernels that are none": lambda c: variant_of(c).update(then={"kernel": "sums"}),
    "a cluster of thirty-two": lambda c: then(c).update(cluster_at_launch=[4, 8, 1]),
    "a cluster of seventeen in the PTX": lambda c: then(c).update(cluster=[17, 1, 1]),
    "a cluster of none": lambda c: then(c).update(cluster_at_launch=[0, 1, 1]),
    "a flat cluster": lambda c: then(c).update(cluster_at_launch=[2, 1]),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_ones_are_refused_by_both(damage: str, launcher: Path, tmp_path: Path) -> None:
    content = hand.own_names(copy.deepcopy(hand.in_a_row()))
    DAMAGED[damage](content)
    path = hand.write(tmp_path / "sample.aot", content)
    code, _, said = launch(launcher, path, "--dry-run")
    assert code == 5, said
    if damage != "a later kernel that is not in the PTX":  # Python reads no PTX here
        with pytest.raises(DefinitionError):
            bundles.read(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a division by zero", lambda c: then(c)["extra_args"].__setitem__(1, ["quotient", 1, "N"])),
        ("a negative workspace", lambda c: variant_of(c)["workspaces"][0].update(bytes=["sub", "N", 5])),
        ("half a cluster", lambda c: then(c).update(cluster_at_launch=[2, 1, 1])),
    ],
)
def test_values_that_cannot_be(name: str, change: Change, launcher: Path, tmp_path: Path) -> None:
    content = hand.own_names(hand.in_a_row())
    change(content)
    path = hand.write(tmp_path / "sample.aot", content)
    code, _, said = launch(launcher, path, "--dry-run", "--shape", "x=0x8")
    assert (code != 0) == (name != "half a cluster"), said
    code, _, said = launch(launcher, path, "--dry-run", "--shape", "x=3x8")
    assert (code != 0) == (name != "a division by zero"), said


def test_written_and_read_again(tmp_path: Path) -> None:
    made = bundles.read(hand.write(tmp_path / "sample.aot", hand.own_names(hand.in_a_row())))
    assert made.road == "library"
    (variant,) = made.variants
    assert variant.needs_library
    rows = ["max", "N", 1]
    assert variant.then[0].extra_args[1] == from_json(["quotient", rows, ["prod", rows, 8]])
    assert isinstance(variant.then[0].extra_args[1], Quotient)
    bundles.write(made, tmp_path / "again.aot")
    assert bundles.read(tmp_path / "again.aot") == made
    assert {p.name for p in (tmp_path / "again.aot").iterdir()} == {"manifest.json", *variant.texts}
