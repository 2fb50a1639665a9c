# SPDX-License-Identifier: Apache-2.0
"""What a plugin library carries: calls as bundles of their own, alike ones once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import launcher_bundles as hand
import pytest

from aotfactory.compiler import bundle as bundles
from aotfactory.compiler.manifest import Bundle
from aotfactory.core.errors import LibraryError
from aotfactory.core.expressions import from_json
from aotfactory.core.network import Range
from aotfactory.plan.library import library_document

CALL = {"plugin": "test::copy", "attributes": {}}


def bundle(tmp_path: Path, content: hand.Manifest, name: str = "sample") -> Bundle:
    content["name"] = name
    return bundles.read(hand.write(tmp_path / f"{name}.aot", hand.own_names(content)))


def chain(*shapes: Any, last_dim: Any = 8) -> hand.Manifest:
    """x -> t -> y, two copies; the shape of t is `shapes[1]`."""
    x, t, y = (*shapes, shapes[-1])[:3]
    return hand.manifest(
        hand.variant("a"),
        hand.variant("b", kernel="copy2"),
        tensors=[hand.tensor("x", "input", x), hand.tensor("t", "internal", t), hand.tensor("y", "output", y)],
        calls=[
            {**CALL, "name": "a", "inputs": ["x"], "outputs": ["t"]},
            {**CALL, "name": "b", "inputs": ["t"], "outputs": ["y"]},
        ],
    )


def test_calls_become_bundles_of_their_own(tmp_path: Path) -> None:
    document = library_document([bundle(tmp_path, chain(["N", 8], ["N", 16]))])
    assert document.plugins == ("test::copy",)
    first, second = document.parts
    assert [t.role for t in second.network.tensors] == ["input", "output"]
    assert [t.name for t in second.network.tensors] == ["t", "y"]
    assert first.network.ranges == second.network.ranges == {"N": Range(min=0, opt=100, max=4096)}
    parts = json.loads(document.text())["parts"]
    assert [list(part["ptx"]) for part in parts] == [[v.ptx for v in p.variants] for p in document.parts]


def test_calls_that_are_alike_are_carried_once(tmp_path: Path) -> None:
    assert len(library_document([bundle(tmp_path, chain(["N", 8], ["N", 8]))]).parts) == 1


def test_the_same_bundle_twice_is_carried_once(tmp_path: Path) -> None:
    both = [bundle(tmp_path, hand.manifest(), name) for name in ("one", "two")]
    assert len(library_document(both).parts) == 1


def test_a_dimension_that_only_stands_inside_another_gets_a_name(tmp_path: Path) -> None:
    """A call's input is N // 2 long, and its launch depends on that alone: TensorRT shows it no N."""
    half = ["floor_div", "N", 2]
    content = chain(["N", 8], [half, 8])
    content["variants"][1]["launch"]["grid_x"] = ["ceil_div", ["prod", half, 8], 1024]
    content["variants"][1]["extra_args"] = [["prod", half, 8]]
    second = library_document([bundle(tmp_path, content)]).parts[1]
    assert second.network.ranges == {"input0_0": Range(min=0, opt=50, max=2048)}
    assert second.variants[0].extra_args == (from_json(["prod", "input0_0", 8]),)
    assert [t.shape[0] for t in second.network.tensors] == [from_json("input0_0")] * 2


def test_a_dimension_that_the_call_cannot_see_is_refused(tmp_path: Path) -> None:
    content = chain(["N", 8], [["floor_div", "N", 2], 8])
    with pytest.raises(LibraryError, match="call b: dimension N cannot be found out"):
        library_document([bundle(tmp_path, content)])


def test_other_kernels_for_the_same_call_are_refused(tmp_path: Path) -> None:
    other = hand.manifest(hand.variant(extra_args=[["prod", 8, "N"]]))
    both = [bundle(tmp_path, hand.manifest(), "one"), bundle(tmp_path, other, "two")]
    with pytest.raises(LibraryError, match="one and two: test::copy is there twice"):
        library_document(both)


def test_another_version_of_the_plugin_is_refused(tmp_path: Path) -> None:
    other = hand.manifest()
    other["calls"][0]["attributes"] = {"scale": {"type": "float", "value": 2.0}}
    both = [bundle(tmp_path, hand.manifest(), "one"), bundle(tmp_path, other, "two")]
    with pytest.raises(LibraryError, match="one and two: test::copy has other attributes"):
        library_document(both)


def test_attributes_of_other_values_are_other_parts(tmp_path: Path) -> None:
    found = []
    for value in (1, 2):
        content = hand.manifest()
        content["calls"][0]["attributes"] = {"scale": {"type": "int", "value": value}}
        found.append(bundle(tmp_path, content, f"scale{value}"))
    assert len(library_document(found).parts) == 2
