# SPDX-License-Identifier: Apache-2.0
"""Bundles for plugin libraries: several kernels, workspaces, typed arguments, clusters that the launch states."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from launcher_bundles import entry
from test_bundle import made
from test_bundle_hostile import put

from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.manifest import Bundle
from aotfactory.compiler.variant import LaunchedKernel, Variant, Workspace
from aotfactory.core.arguments import Quotient
from aotfactory.core.errors import DefinitionError
from aotfactory.core.expressions import Constant, parse
from aotfactory.core.limits import LIMITS

PARAMETERS = ("ptr", "i32", "i64", "fp32", "ptr", "ptr", "ptr", "ptr")


def whole(**changes: Any) -> Bundle:
    """One variant with two kernels that share a workspace."""
    bundle = made(tactics=1)
    first = bundle.variants[0]
    shared = {
        "parameters": PARAMETERS,
        "extra_args": (parse("N*8"), parse("N*N"), Quotient(Constant(1), parse("N"))),
    }
    names = {field.name for field in dataclasses.fields(LaunchedKernel)}
    kernel = {name: getattr(first, name) for name in names}
    text = entry("second", [*PARAMETERS])
    second = LaunchedKernel(**{**kernel, **shared, "kernel": "second", "text": text, "spills": 8})
    variant = dataclasses.replace(
        first,
        **shared,
        text=entry(first.kernel, [*PARAMETERS]),
        workspaces=(Workspace(bytes=parse("N*64"), at_most=512),),
        then=(second,),
        cluster_at_launch=(2, 1, 1),
    )
    return dataclasses.replace(bundle, variants=(dataclasses.replace(variant, **changes),), road="library")


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    bundle = whole()
    bundles.write(bundle, tmp_path)
    assert bundles.read(tmp_path) == bundle
    (variant,) = bundle.variants
    assert (
        {path.name for path in tmp_path.glob("*.ptx")} == set(variant.texts) == {*map(variant.file_of, variant.kernels)}
    )
    assert len(variant.texts) == 2
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    bundles.write_once(bundle, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_cluster_that_the_ptx_states_is_kept(tmp_path: Path) -> None:
    bundle = whole(cluster=(2, 1, 1), cluster_at_launch=None)
    bundles.write(bundle, tmp_path)
    assert bundles.read(tmp_path) == bundle
    (entry,) = json.loads((tmp_path / "manifest.json").read_text())["variants"]
    assert entry["cluster"] == [2, 1, 1]
    assert "cluster" not in entry["then"][0]


def test_clusters_whoever_states_them() -> None:
    (variant,) = whole().variants
    assert [kernel.clusters for kernel in variant.kernels] == [(2, 1, 1), (1, 1, 1)]
    assert dataclasses.replace(variant, cluster_at_launch=None, cluster=(4, 1, 1)).clusters == (4, 1, 1)


PLAIN = {"workspaces": (), "then": (), "cluster_at_launch": None}


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({"parameters": ("ptr", "i32", "ptr")}, False),
        ({"parameters": ("ptr", "i64", "ptr")}, True),
        ({"parameters": ("ptr", "fp32", "ptr")}, True),
        ({"workspaces": (Workspace(bytes=Constant(1), at_most=1),)}, True),
        ({"then": whole().variants[0].then}, True),
        ({"cluster_at_launch": (2, 1, 1)}, True),
        ({"cluster": (2, 1, 1)}, False),
        ({"cluster": (8, 1, 1)}, False),
        ({"cluster": (4, 4, 1)}, True),
    ],
)
def test_what_takes_a_library(changes: dict[str, Any], needed: bool) -> None:
    variant = dataclasses.replace(made().variants[0], **PLAIN)
    assert dataclasses.replace(variant, **changes).needs_library is needed


def test_all_expressions_are_changed_and_listed() -> None:
    (variant,) = whole().variants

    def names(found: Variant) -> set[str]:
        return {symbol for expr in found.expressions for symbol in expr.symbols}

    assert names(variant) == {"N"}
    other = variant.with_expressions(lambda expr: parse(str(expr).replace("N", "M")))
    assert names(other) == {"M"}
    assert len(other.expressions) == len(variant.expressions) == 2 * 7 + 2 * 4 + 1
    assert other.with_expressions(lambda expr: parse(str(expr).replace("M", "N"))) == variant


DAMAGE = {
    "a road that has none of it": (
        lambda d: d.pop("road"),
        "it needs a plugin library, but the bundle does not say so",
    ),
    "a workspace without a pointer": (put([], "variants", 0, "workspaces"), "each output and each workspace"),
    "an argument too many": (put(["N"] * 4, "variants", 0, "extra_args"), "each output and each workspace"),
    "an int32 that is a quotient": (
        put([["quotient", 1, "N"], "N", ["quotient", 1, "N"]], "variants", 0, "extra_args"),
        r"an i32 argument that is \(1\) / \(N\)",
    ),
    "an fp32 that is none": (put(["N", "N", "N"], "variants", 0, "extra_args"), "an fp32 argument that is N"),
    "an unknown dimension in the second kernel": (
        put("Q", "variants", 0, "then", 0, "launch", "grid_x"),
        "dimension Q, which is not in",
    ),
    "an unknown dimension of a workspace": (put("Q", "variants", 0, "workspaces", 0, "bytes"), "dimension Q"),
    "a second kernel of other parameters": (
        put(["ptr"] * 8, "variants", 0, "then", 0, "parameters"),
        "an ptr argument that is ",
    ),
    "a second kernel of another text": (put("0" * 64, "variants", 0, "then", 0, "sha256"), "SHA-256 differs"),
    "a cluster that is too large": (
        put([3, 6, 1], "variants", 0, "cluster_at_launch"),
        "a cluster of more than 16 blocks",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_told(case: str, tmp_path: Path) -> None:
    change, message = DAMAGE[case]
    bundles.write(whole(), tmp_path)
    manifest = tmp_path / "manifest.json"
    data = json.loads(manifest.read_text())
    change(data)
    manifest.write_text(json.dumps(data))
    with pytest.raises(DefinitionError, match=message):
        bundles.read(tmp_path)


def test_the_second_kernels_file_is_named_by_its_content(tmp_path: Path) -> None:
    bundles.write(whole(), tmp_path)
    manifest = tmp_path / "manifest.json"
    data = json.loads(manifest.read_text())
    old = data["variants"][0]["then"][0]["ptx"]
    new = old[: -len("01234567.ptx")] + "01234567.ptx"
    (tmp_path / old).rename(tmp_path / new)
    data["variants"][0]["then"][0]["ptx"] = new
    manifest.write_text(json.dumps(data))
    with pytest.raises(DefinitionError, match=f"{new} is not the name of its content: {old}"):
        bundles.read(tmp_path)


def test_the_largest_cluster(tmp_path: Path) -> None:
    bundle = whole(cluster_at_launch=(2, 2, LIMITS["cluster"] // 4))
    bundles.write(bundle, tmp_path / "largest")
    assert bundles.read(tmp_path / "largest") == bundle
    with pytest.raises(DefinitionError, match=f"a cluster of more than {LIMITS['cluster']} blocks"):
        bundles.write(whole(cluster_at_launch=(3, 6, 1)), tmp_path / "larger")
    assert not (tmp_path / "larger").exists()
